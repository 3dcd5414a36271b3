//! Asking a registry, through an engine, which image a tag stands for.
//!
//! `GET /distribution/{name}/json` answers with the digest that the engine itself would pull, with its own
//! certificates and mirrors. Source: "Get image information from the registry" of the Docker Engine API.

use std::time::Duration;

use bollard::errors::Error;

use super::{
    login::{self, credentials},
    transport::Transport,
    trouble,
};
use crate::{
    action::Node,
    ports::Login,
    spec::image::{self, familiar},
    world::{Class, Fault, Seen, Trouble},
};

/// How long the engine may take in all.
const LIMIT: Duration = Duration::from_secs(15);
/// How long it may wait for the registry.
const PATIENCE: Duration = Duration::from_secs(8);

pub(super) async fn digest(
    transport: &Transport,
    node: &Node,
    image: &str,
    login: Option<&Login>,
) -> Result<Seen<String>, Trouble> {
    transport
        .within(node, LIMIT, |client| async move {
            let name = familiar(image);
            let asked = client.docker.inspect_registry_image(&name, login.map(|login| credentials(image, login)));
            let Ok(answer) = tokio::time::timeout(PATIENCE, asked).await else {
                return Ok(Seen::Unknown(hangs(node, image)));
            };
            match answer {
                Ok(found) => Ok(read(image, found.descriptor.digest)),
                Err(Error::DockerResponseServerError { status_code, message }) => {
                    Ok(Seen::Unknown(refused(image, login.is_some(), status_code, &message)))
                }
                Err(error) => Err(trouble::of(node, &error)),
            }
        })
        .await
}

fn read(image: &str, digest: Option<String>) -> Seen<String> {
    match digest.filter(|digest| image::reference(&image::pinned(image, digest), None).is_ok()) {
        Some(digest) => Seen::Known(digest),
        None => Seen::Unknown(Trouble {
            class: Class::Transient,
            message: format!("{} tells no digest of {image}", image::registry(image)),
        }),
    }
}

fn hangs(node: &Node, image: &str) -> Trouble {
    let (registry, host) = (image::registry(image), &node.hostname);
    let message = format!("no answer from {registry} within {}s, asked through {host}", PATIENCE.as_secs());
    Trouble { class: Class::Transient, message }
}

/// The registry's refusal, in the engine's words: its status tells little, the words tell what to do.
fn refused(image: &str, named: bool, status: u16, words: &str) -> Trouble {
    let has = |parts: &[&str]| parts.iter().any(|part| words.to_lowercase().contains(part));
    let (status, advice) = if has(&["toomanyrequests", "too many requests", "rate limit"]) {
        (429, "the registry asks for fewer requests")
    } else if has(&["manifest unknown", "name unknown", "no such image", "not found"]) {
        (404, "push that tag, or correct the image in the manifest")
    } else if has(&["unauthorized", "denied", "authentication required", "no basic auth credentials"]) {
        (401, login::advice(named))
    } else {
        // The engine tells whatever it could not get as a fault of its own.
        (status.max(500), "check that the instances reach the registry")
    };
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    Trouble {
        class: Class::of(Fault::Answer { code: "", status }),
        message: format!("no image {image} from {}: {words}; {advice}", image::registry(image)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_decide_whether_the_registry_has_no_such_image_or_cannot_be_asked() {
        let class = |status, words| refused("r.example.com/app:1", false, status, words).class;
        assert_eq!(class(404, "manifest unknown: manifest unknown"), Class::Terminal);
        assert_eq!(class(403, "errors:\ndenied: requested access to the resource is denied\n"), Class::Terminal);
        assert_eq!(class(401, "unauthorized: authentication required"), Class::Terminal);
        assert_eq!(class(429, "toomanyrequests: You have reached your pull rate limit"), Class::Throttled);
        assert_eq!(class(500, "Get \"https://r/v2/\": dial tcp: lookup r: no such host"), Class::Transient);
        assert_eq!(class(400, "Get \"https://r/v2/\": dial tcp 10.0.0.9:443: connection refused"), Class::Transient);
    }

    #[test]
    fn a_refusal_says_which_registry_and_what_to_do() {
        let said = refused("r.example.com/app:1", false, 404, "errors:\nmanifest unknown\n").message;
        assert_eq!(
            said,
            "no image r.example.com/app:1 from r.example.com: errors: manifest unknown; push that tag, or correct the \
             image in the manifest"
        );
    }

    #[test]
    fn an_answer_without_a_digest_is_none() {
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(read("app:1", Some(digest.clone())), Seen::Known(digest));
        for bad in [None, Some(String::new()), Some("sha256:x".to_owned())] {
            assert!(read("app:1", bad).known().is_none());
        }
    }
}
