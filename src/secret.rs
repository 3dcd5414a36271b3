//! A value that is shown to nobody, and what it is compared by.

use std::{fmt, sync::OnceLock};

use ring::{hmac, rand::SystemRandom};
use secrecy::{ExposeSecret, SecretString};
use serde::{Serialize, Serializer};

/// What stands in place of a value.
const HIDDEN: &str = "***";

/// Shorter than this, a value is found in texts that have nothing to do with it.
const TELLTALE: usize = 4;

/// A value that is shown to nobody: it has no `Display`, its `Debug` tells nothing, it cannot be serialised, and its
/// memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes the value in.
    pub fn new(value: impl Into<String>) -> Secret {
        Secret(value.into().into())
    }

    /// The value itself: only for whom it is meant.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What it is compared by.
    pub fn seal(&self) -> Sealed {
        let tag = hmac::sign(key(), self.expose().as_bytes());
        let mut sealed = [0; 16];
        sealed.copy_from_slice(&tag.as_ref()[..16]);
        Sealed(sealed)
    }

    /// The text without the value, wherever it stands in it.
    pub fn hide(&self, text: &str) -> String {
        match self.expose().trim() {
            value if value.len() < TELLTALE => text.to_owned(),
            value => text.replace(value, HIDDEN),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({HIDDEN})")
    }
}

/// The keyed hash of a [`Secret`]: equal for equal values, and tells nothing else of them.
///
/// The key is this process's own, made at random and kept nowhere, and no hash leaves the process: what a container was
/// given is read from its engine and hashed anew. So there is nothing to guess a value from, and nothing to lose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sealed([u8; 16]);

impl Sealed {
    /// In hexadecimal digits, to be hashed with others.
    pub(crate) fn digits(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({HIDDEN})")
    }
}

impl Serialize for Sealed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

fn key() -> &'static hmac::Key {
    static KEY: OnceLock<hmac::Key> = OnceLock::new();
    KEY.get_or_init(|| match hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()) {
        Ok(key) => key,
        // No TLS connection would come about either.
        Err(_) => panic!("the system gives no random numbers"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_and_its_seal_show_nothing() {
        let secret = Secret::new("hunter2");
        let shown = format!("{secret:?} {:?} {}", secret.seal(), serde_json::to_string(&secret.seal()).unwrap());
        assert_eq!(shown, r#"Secret(***) Sealed(***) "***""#);
    }

    #[test]
    fn equal_values_have_equal_seals_and_others_have_others() {
        assert_eq!(Secret::new("a").seal(), Secret::new("a").seal());
        assert_ne!(Secret::new("a").seal(), Secret::new("b").seal());
    }

    #[test]
    fn a_value_is_hidden_wherever_it_stands_unless_it_is_too_short_to_tell() {
        assert_eq!(Secret::new("hunter2\n").hide("a hunter2 and hunter2b"), "a *** and ***b");
        assert_eq!(Secret::new("a").hide("a and b"), "a and b");
    }
}
