//! Which of the wanted images an engine has.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::ImageSummary;

/// The wanted references that are present, with the id of each.
pub(super) fn present(wanted: &BTreeSet<String>, images: &[ImageSummary]) -> BTreeMap<String, String> {
    let mut ids = BTreeMap::new();
    for image in images {
        for name in image.repo_tags.iter().chain(&image.repo_digests).chain([&image.id]) {
            ids.insert(familiar(name), &image.id);
        }
    }
    wanted.iter().filter_map(|name| Some((name.clone(), (*ids.get(&familiar(name))?).clone()))).collect()
}

/// The name under which an engine lists an image: without Docker Hub's host, with `latest` where there is no tag,
/// and without the tag where there is a digest.
pub(super) fn familiar(name: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_found_under_every_way_of_writing_its_name() {
        let image = ImageSummary {
            id: "sha256:1".into(),
            repo_tags: vec!["app:1.2".into(), "registry.example.com:5000/app:latest".into(), "<none>:<none>".into()],
            repo_digests: vec!["team/app@sha256:d".into()],
            ..ImageSummary::default()
        };
        let there = [
            "app:1.2",
            "docker.io/library/app:1.2",
            "registry.example.com:5000/app",
            "registry.example.com:5000/app:latest",
            "team/app@sha256:d",
            "docker.io/team/app:7@sha256:d",
            "sha256:1",
        ];
        let missing = ["app:1.3", "app", "registry.example.com:5000/app:1", "team/app@sha256:e"];
        let wanted = there.iter().chain(&missing).map(ToString::to_string).collect();
        let found = present(&wanted, &[image]);
        assert_eq!(found.keys().map(String::as_str).collect::<BTreeSet<_>>(), there.into());
        assert!(found.values().all(|id| id == "sha256:1"));
    }
}
