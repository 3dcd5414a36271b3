//! Who asks a registry: sent with each pull and question, and left on no instance.

use bollard::auth::DockerCredentials;
use http::{HeaderMap, HeaderValue};

use crate::{ports::Login, spec::image};

/// The header that bears it. Source: "Authentication" of the Docker Engine API.
const HEADER: &str = "x-registry-auth";

pub(super) fn credentials(image: &str, login: &Login) -> DockerCredentials {
    DockerCredentials {
        username: Some(login.username.expose().to_owned()),
        password: Some(login.password.expose().to_owned()),
        serveraddress: Some(image::registry(image).to_owned()),
        ..DockerCredentials::default()
    }
}

/// The engine reads the header as base64url, and takes what it cannot read for no login at all; bollard writes plain
/// base64. The two differ in two characters, which some passwords bring about. It is no header to be shown in a log.
pub(super) fn url_safe(headers: &mut HeaderMap) {
    let Some(header) = headers.get_mut(HEADER) else { return };
    let safe: Vec<u8> = header
        .as_bytes()
        .iter()
        .map(|byte| match byte {
            b'+' => b'-',
            b'/' => b'_',
            other => *other,
        })
        .collect();
    if let Ok(mut safe) = HeaderValue::from_bytes(&safe) {
        safe.set_sensitive(true);
        *header = safe;
    }
}

/// What to do about a registry that does not give an image out.
pub(super) fn advice(named: bool) -> &'static str {
    match named {
        true => "check the username and password in `registries`, and that this user may pull the image",
        false => "check that the image exists, or declare who pulls it in `registries`",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_sent_as_the_engine_reads_it_and_shown_in_no_log() {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_static("ab+/c="));
        url_safe(&mut headers);
        assert_eq!(headers[HEADER], "ab-_c=");
        assert_eq!(format!("{headers:?}"), r#"{"x-registry-auth": Sensitive}"#);
    }
}
