//! What the Docker engines of a stack go by.

use sha2::{Digest, Sha256};

use super::interpolate::slug;

/// What a part of a DNS name may be long. Source: RFC 1035, section 2.3.4.
const LABEL: usize = 63;

/// The name that the certificate of a stack's engines is for. It stands for the stack and not for an address, because
/// the certificate is made before there is one; nobody looks it up.
pub fn engine_name(stack: &str) -> String {
    format!("{}.docker.evenkeel", engine_label(stack))
}

/// The SSM parameter that holds the certificate, the key and the authority of a stack's engines.
pub fn engine_parameter(stack: &str) -> String {
    format!("/evenkeel/{}/docker", engine_label(stack))
}

/// The stack's name as a part of a DNS name.
pub fn engine_label(stack: &str) -> String {
    let label = slug(stack);
    if label.len() <= LABEL {
        return label;
    }
    let hash: String = Sha256::digest(stack).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{hash}", &label[..LABEL - 9])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_go_by_their_stack() {
        assert_eq!(engine_name("shop"), "shop.docker.evenkeel");
        assert_eq!(engine_name("My Shop, Ltd."), "my-shop-ltd.docker.evenkeel");
        assert_eq!(engine_parameter("shop"), "/evenkeel/shop/docker");
    }

    #[test]
    fn a_long_name_is_shortened_and_stays_its_own() {
        let (one, other) = ("s".repeat(80), "s".repeat(81));
        assert_eq!(engine_label(&one).len(), 63);
        assert_ne!(engine_label(&one), engine_label(&other));
        assert_eq!(engine_label(&"s".repeat(63)), "s".repeat(63));
    }
}
