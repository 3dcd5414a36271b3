//! The images that an engine has, and which of them are wanted.

use std::collections::{BTreeMap, BTreeSet};

use bollard::models::ImageSummary;

use crate::{spec::image::familiar, world::ImageSeen};

/// Every image, by its id.
pub(super) fn stored(images: &[ImageSummary]) -> BTreeMap<String, ImageSeen> {
    let seen = |image: &ImageSummary| {
        let names = image.repo_tags.iter().chain(&image.repo_digests).filter(|name| !name.starts_with("<none>"));
        ImageSeen { names: names.map(|name| familiar(name)).collect(), size: image.size.try_into().unwrap_or_default() }
    };
    images.iter().map(|image| (image.id.clone(), seen(image))).collect()
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_lost_its_names_has_none() {
        let image = |id: &str, tags: &[&str], digests: &[&str], size| ImageSummary {
            id: id.into(),
            repo_tags: tags.iter().map(ToString::to_string).collect(),
            repo_digests: digests.iter().map(ToString::to_string).collect(),
            size,
            ..ImageSummary::default()
        };
        let seen = stored(&[
            image("1", &["<none>:<none>"], &["<none>@<none>"], -1),
            image("2", &[], &["docker.io/library/app@sha256:d"], 7),
        ]);
        assert_eq!(seen["1"], ImageSeen::default());
        assert_eq!(seen["2"], ImageSeen { names: ["app@sha256:d".to_owned()].into(), size: 7 });
    }

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
