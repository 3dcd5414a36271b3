//! Image references: `host:5000/path/name:tag@sha256:…`.

/// Joins an image with a tag that is given beside it; `latest` is filled in where there is neither tag nor digest.
///
/// # Errors
/// What is wrong with the reference, for people.
pub fn reference(image: &str, tag: Option<&str>) -> Result<String, String> {
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    let slash = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, own_tag) = match rest[slash..].find(':') {
        Some(at) => (&rest[..slash + at], Some(&rest[slash + at + 1..])),
        None => (rest, None),
    };
    check_name(name)?;
    if let Some(digest) = digest {
        check_digest(digest)?;
    }
    for tag in own_tag.iter().chain(tag.iter()) {
        check_tag(tag)?;
    }
    match (own_tag, tag) {
        (Some(own), Some(tag)) if own != tag => {
            Err(format!("the image carries the tag `{own}`, and `tag` says `{tag}`: give one of them"))
        }
        (None, Some(tag)) if digest.is_some() => {
            Err(format!("the image is fixed by its digest, and `tag` says `{tag}`: give one of them"))
        }
        (Some(_), _) => Ok(image.to_owned()),
        (None, Some(tag)) => Ok(format!("{image}:{tag}")),
        (None, None) if digest.is_some() => Ok(image.to_owned()),
        (None, None) => Ok(format!("{image}:latest")),
    }
}

/// The digest that a reference is fixed to, if it is.
pub fn digest(reference: &str) -> Option<&str> {
    reference.split_once('@').map(|(_, digest)| digest)
}

/// The reference as it was declared, without the digest that it was fixed to later.
pub fn tagged(reference: &str) -> &str {
    reference.split_once('@').map_or(reference, |(tagged, _)| tagged)
}

/// The reference, fixed to a digest. The engine goes by the digest alone; the tag stays to be read.
pub fn pinned(reference: &str, digest: &str) -> String {
    format!("{reference}@{digest}")
}

/// For people: `app:1.2 (sha256:0123456789ab)`.
pub fn shown(reference: &str) -> String {
    match reference.split_once('@') {
        Some((tagged, digest)) => format!("{tagged} ({})", short(digest)),
        None => reference.to_owned(),
    }
}

/// The beginning of a digest, which tells it from others.
pub fn short(digest: &str) -> &str {
    let end = digest.find(':').map_or(digest.len(), |at| at + 13);
    digest.get(..end).unwrap_or(digest)
}

/// The registry that a reference is in, by its host.
pub fn registry(reference: &str) -> &str {
    match reference.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => DOCKER_HUB,
    }
}

/// The registry of images without a host.
pub const DOCKER_HUB: &str = "docker.io";

/// The name under which an engine lists an image: without Docker Hub's host, with `latest` where there is no tag,
/// and without the tag where there is a digest.
pub fn familiar(name: &str) -> String {
    let name = ["docker.io/library/", "index.docker.io/library/", "docker.io/", "index.docker.io/"]
        .iter()
        .find_map(|host| name.strip_prefix(host))
        .unwrap_or(name);
    match name.split_once('@') {
        Some((name, digest)) => format!("{}@{digest}", split_tag(name).0),
        None if name.starts_with("sha256:") => name.to_owned(),
        None => {
            let (repository, tag) = split_tag(name);
            format!("{repository}:{}", tag.unwrap_or("latest"))
        }
    }
}

/// A colon in the last part of the path begins a tag; one before it, a registry's port.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (name, None),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let mut parts: Vec<&str> = name.split('/').collect();
    let is_host = |part: &str| part.contains(['.', ':']) || part == "localhost";
    if parts.len() > 1 && is_host(parts[0]) {
        let host = parts.remove(0);
        let (address, port) = host.split_once(':').unwrap_or((host, "0"));
        let fine = !address.is_empty() && address.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c));
        if !fine || port.parse::<u16>().is_err() {
            return Err(format!("`{host}` is not a registry's host"));
        }
    }
    for part in parts {
        if part.chars().any(|c| c.is_ascii_uppercase()) {
            return Err(format!("`{name}` is not an image's name: it must be in lower case"));
        }
        let fine = part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c));
        if !fine || !part.starts_with(|c: char| c.is_ascii_alphanumeric()) || part.ends_with(['.', '_', '-']) {
            return Err(format!("`{name}` is not an image's name"));
        }
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), String> {
    let fine = tag.len() <= 128
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if fine { Ok(()) } else { Err(format!("`{tag}` is not an image's tag")) }
}

fn check_digest(digest: &str) -> Result<(), String> {
    let fine = digest.split_once(':').is_some_and(|(algorithm, hash)| {
        !algorithm.is_empty() && hash.len() >= 32 && hash.chars().all(|c| c.is_ascii_hexdigit())
    });
    if fine { Ok(()) } else { Err(format!("`{digest}` is not an image's digest (`sha256:…`)")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn an_image_without_a_tag_is_the_latest() {
        assert_eq!(reference("redis", None).unwrap(), "redis:latest");
        assert_eq!(reference("host:5000/x", None).unwrap(), "host:5000/x:latest");
        assert_eq!(reference("registry.example.com/a/b-c", None).unwrap(), "registry.example.com/a/b-c:latest");
    }

    #[test]
    fn a_reference_that_was_fixed_to_a_digest_can_still_be_read() {
        let fixed = pinned("host:5000/x:1.2", DIGEST);
        assert_eq!(reference(&fixed, None).unwrap(), fixed);
        assert_eq!((tagged(&fixed), digest(&fixed)), ("host:5000/x:1.2", Some(DIGEST)));
        assert_eq!(shown(&fixed), "host:5000/x:1.2 (sha256:0123456789ab)");
        assert_eq!((shown("x:1"), digest("x:1"), short("sha256:1")), ("x:1".to_owned(), None, "sha256:1"));
    }

    #[test]
    fn an_image_without_a_host_is_on_docker_hub() {
        for (image, host) in [("redis:7", DOCKER_HUB), ("team/app:1", DOCKER_HUB), ("localhost/x:1", "localhost")] {
            assert_eq!(registry(image), host);
        }
        assert_eq!(registry("registry.example.com/a/b:1"), "registry.example.com");
        assert_eq!(registry("host:5000/x:1"), "host:5000");
    }

    #[test]
    fn a_tag_may_stand_in_the_image_or_beside_it() {
        assert_eq!(reference("redis:7", None).unwrap(), "redis:7");
        assert_eq!(reference("host:5000/x", Some("1.10")).unwrap(), "host:5000/x:1.10");
        assert_eq!(reference("redis:7", Some("7")).unwrap(), "redis:7");
        assert!(reference("redis:7", Some("8")).unwrap_err().contains("give one of them"));
    }

    #[test]
    fn a_digest_needs_no_tag() {
        let image = format!("host:5000/x@{DIGEST}");
        assert_eq!(reference(&image, None).unwrap(), image);
        let both = format!("x:1@{DIGEST}");
        assert_eq!(reference(&both, None).unwrap(), both);
        assert!(reference(&image, Some("1")).is_err());
    }

    #[test]
    fn what_docker_would_refuse_is_refused() {
        for image in ["", "/x", "x/", "a b", "App", "x:", "x:a b", "x@sha256:1", "host:port/x", "-x", "x//y", "ü"] {
            assert!(reference(image, None).is_err(), "{image}");
        }
    }
}
