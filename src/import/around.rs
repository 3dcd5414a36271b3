//! What stands beside `deploy` in a Stack JSON.

use super::{
    cursor::{Map, Reader},
    json::Entry,
    note::Kind,
    secrets,
    yaml::{Part, Yaml},
};
use crate::spec::{image::DOCKER_HUB, problem::list, registry::ecr_region};

/// What becomes of it.
#[derive(Default)]
pub(super) struct Around {
    /// Entries of `registries`.
    pub(super) registries: Vec<Part>,
    /// `logging` of every app.
    pub(super) logging: Option<Part>,
    /// `tags` of the stack.
    pub(super) tags: Option<Part>,
    /// What is nowhere in the manifests.
    pub(super) remarks: Vec<String>,
}

pub(super) fn read(reader: Reader<'_>, map: &Map<'_>, stack: &str, given: bool) -> Around {
    let mut around = Around::default();
    if let Some(entry) = map.get("docker") {
        docker(reader, entry, stack, &mut around);
    }
    if let Some(entry) = map.get("logrotate") {
        logrotate(reader, entry, &mut around);
    }
    if let Some(entry) = map.get("aws-tag") {
        tags(reader, entry, given, &mut around);
    }
    around
}

fn docker(reader: Reader<'_>, entry: &Entry, stack: &str, around: &mut Around) {
    let Some(docker) = reader.map(&entry.value, "`docker`") else { return };
    if let Some(registries) = docker.get("registries")
        && let Some(hosts) = reader.map(&registries.value, "`docker.registries`")
    {
        let mut read: Vec<String> = Vec::new();
        for host in hosts.entries {
            let Some((name, part)) = registry(reader, host, stack, around) else { continue };
            if read.contains(&name) {
                let message = format!("the registry `{name}` has a login already: the first one counts");
                around.remarks.push(reader.note(Kind::Decide, &host.key_span, message));
                continue;
            }
            read.push(name);
            around.registries.push(part);
        }
    }
    if let Some(exec) = docker.get("exec") {
        let message =
            "`docker.exec` was for one run of the recipe `docker::exec`: what is run by hand is declared nowhere";
        around.remarks.push(reader.note(Kind::Replaced, &exec.key_span, message));
    }
    around.remarks.extend(reader.finish(&docker, "docker."));
}

/// A registry's host, and its login.
fn registry(reader: Reader<'_>, entry: &Entry, stack: &str, around: &mut Around) -> Option<(String, Part)> {
    let at = format!("docker.registries.{}", entry.key);
    let map = reader.map(&entry.value, "a registry's login")?;
    let (username, password) = (map.get("username"), map.get("password"));
    // Logins had to have an address once; registries never looked at it.
    map.get("email");
    around.remarks.extend(reader.finish(&map, &format!("{at}.")));
    let text = |entry: Option<&Entry>| match entry {
        Some(entry) => reader.text(&entry.value),
        None => Some(String::new()),
    };
    let (user, word) = (text(username)?, text(password)?);
    if user.is_empty() && word.is_empty() {
        let message = format!("`{at}` has neither user nor password: whoever has none pulls without");
        around.remarks.push(reader.note(Kind::LeftOut, &entry.key_span, message));
        return None;
    }
    if user.is_empty() || word.is_empty() {
        let missing = if user.is_empty() { "username" } else { "password" };
        let message =
            format!("`{at}` has no `{missing}`: nobody signs in without, so images are pulled without a login");
        around.remarks.push(reader.note(Kind::Decide, &entry.key_span, message));
        return None;
    }
    let host = host(&entry.key);
    if ecr_region(&host).is_some() {
        let message = format!("`{at}` is a registry of ECR: its images are pulled with the stack's own credentials");
        around.remarks.push(reader.note(Kind::Replaced, &entry.key_span, message));
        return None;
    }
    let parameter = secrets::parameter(&[stack, "registry", &host.replace(':', "-")]);
    let message = format!(
        "the password for {host} stands here in plain text: keep it in Parameter Store, and write `password: {{ssm: {parameter}}}`. \
         It goes along with each pull, and is written on no instance"
    );
    let remark = reader.note(Kind::Decide, &entry.key_span, message);
    let place = |entry: Option<&Entry>| entry.map(|entry| reader.place(&entry.value.span));
    let part = |key: &str, text: String, entry: Option<&Entry>| {
        let part = Part::text(key, text);
        match place(entry) {
            Some(place) => part.from(place),
            None => part,
        }
    };
    let login = vec![part("username", user, username), part("password", word, password)];
    let part = Part::new(host.as_str(), Yaml::Map(login)).from(reader.place(&entry.key_span)).remark([remark]);
    Some((host, part))
}

/// `https://index.docker.io/v1/`, as `docker login` took it, is `docker.io` in the name of an image.
fn host(written: &str) -> String {
    let rest = written.split_once("://").map_or(written, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default().to_lowercase();
    match host.as_str() {
        "" | "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" | "hub.docker.com" => {
            DOCKER_HUB.to_owned()
        }
        _ => host,
    }
}

fn logrotate(reader: Reader<'_>, entry: &Entry, around: &mut Around) {
    let Some(map) = reader.map(&entry.value, "`logrotate`") else { return };
    let mut remarks = Vec::new();
    if let Some(forwarder) = map.get("forwarder")
        && let Some(name) = reader.text(&forwarder.value)
    {
        let message = format!(
            "`logrotate.forwarder`: Docker rotates its logs by itself, and `{name}` need not be started again for it. It was daily, \
             7 kept, compressed; it is by size, 7 kept"
        );
        remarks.push(reader.note(Kind::Replaced, &forwarder.key_span, message));
    }
    remarks.extend(reader.finish(&map, "logrotate."));
    let rotation = vec![Part::word("maxSize", "10MiB"), Part::word("maxFiles", 7)];
    around.logging =
        Some(Part::new("logging", Yaml::Map(rotation)).from(reader.place(&entry.key_span)).remark(remarks));
}

/// `given`: the stack stands in a manifest already, and is printed as it is.
fn tags(reader: Reader<'_>, entry: &Entry, given: bool, around: &mut Around) {
    let Some(map) = reader.map(&entry.value, "`aws-tag`") else { return };
    if let Some(entry) = map.get("tags") {
        let Some(tags) = reader.map(&entry.value, "`aws-tag.tags`") else { return };
        let names: Vec<&str> = tags.entries.iter().map(|tag| tag.key.as_str()).collect();
        if given && !names.is_empty() {
            let message = format!("`aws-tag.tags`: add the tags {} to `tags` of the stack", list(&names));
            around.remarks.push(reader.note(Kind::Decide, &entry.key_span, message));
        } else if !names.is_empty() {
            let told = tags.entries.iter().filter_map(|tag| {
                Some(Part::text(&tag.key, reader.text(&tag.value)?).from(reader.place(&tag.value.span)))
            });
            let message = "`aws-tag.tags` were put on instances when the recipe was run; they are kept true now, and are on \
                           the EBS volumes too";
            let remark = reader.note(Kind::Changed, &entry.key_span, message);
            let part = Part::new("tags", Yaml::Map(told.collect())).from(reader.place(&entry.key_span));
            around.tags = Some(part.remark([remark]));
        }
    }
    around.remarks.extend(reader.finish(&map, "aws-tag."));
}

/// `manual`: containers that were deployed by hand at once with the others. `apps`: each with the names of its containers.
pub(super) fn manual(reader: Reader<'_>, map: &Map<'_>, apps: &[(String, Vec<String>)]) -> Vec<String> {
    let Some(entry) = map.get("manual") else { return Vec::new() };
    let names = reader.words(&entry.value, "names of containers").unwrap_or_default();
    let noted = names.into_iter().map(|(name, node)| {
        let app = apps.iter().find(|(_, containers)| containers.contains(&name));
        match app {
            Some((app, _)) => {
                let message =
                    format!("`manual`: to have `{name}` replaced this once, say `evenkeel deploy '{app}/{name}'`");
                reader.note(Kind::Replaced, &node.span, message)
            }
            None => reader.note(Kind::LeftOut, &node.span, format!("`manual`: no app has a container `{name}`")),
        }
    });
    noted.collect()
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn a_registry_goes_by_the_host_that_its_images_have() {
        for (written, meant) in [
            ("quay.io", "quay.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("", "docker.io"),
            ("Registry.example.com:5000", "registry.example.com:5000"),
            ("http://registry.example.com/v2/", "registry.example.com"),
        ] {
            assert_eq!(host(written), meant, "{written}");
        }
    }
}
