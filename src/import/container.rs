//! One entry of `deploy.<app>.containers`.

use std::ops::Range;

use super::{
    cursor::{Map, Reader},
    job,
    json::{Data, Entry, Node},
    note::Kind,
    notify, secrets,
    volumes::DataVolumes,
    yaml::{Part, Yaml},
};
use crate::spec::interpolate::{Names, Problem, interpolate};

/// What there is around a container.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) reader: Reader<'a>,
    /// The stack's name.
    pub(super) stack: &'a str,
    /// The app's name, as the manifest has it.
    pub(super) app: &'a str,
    /// Where the app stands in the JSON: `deploy.shop`.
    pub(super) at: &'a str,
    pub(super) volumes: &'a DataVolumes,
}

/// A container as it is declared.
pub(super) struct Container {
    pub(super) name: String,
    pub(super) part: Part,
    /// Where it asks for the variables of the app's database.
    pub(super) database: Option<Range<usize>>,
}

/// When a container is replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Deploy {
    Auto,
    Manual,
    Cron,
}

pub(super) fn read(context: Context<'_>, entry: &Entry) -> Option<Container> {
    let reader = context.reader;
    let map = reader.map(&entry.value, "a container")?;
    let place = |entry: &Entry| reader.place(&entry.value.span);
    let mut parts = vec![Part::text("name", entry.key.as_str()).from(reader.place(&entry.key_span))];
    let (deploy, part) = deploy(context, &map, &entry.key)?;
    parts.push(part);
    parts.extend(image(context, &map, entry));
    replicas(context, &map, deploy, &mut parts);
    job::read(context, &map, deploy, entry, &mut parts);
    let mut database = None;
    if let Some(wish) = map.get("database")
        && reader.boolean(&wish.value) == Some(true)
    {
        database = Some(wish.key_span.clone());
        parts.push(Part::word("database", true).from(place(wish)));
    }
    parts.extend(mounts(context, &map));
    for (key, to) in [("links", "links"), ("ports", "ports")] {
        let Some(list) = map.get(key) else { continue };
        if key == "ports" && deploy == Deploy::Cron {
            unheard(context, &mut parts, list, "a job publishes no ports, and did not then");
            continue;
        }
        parts.extend(words(reader, list, to, key));
    }
    if let Some(hostname) = map.get("hostname") {
        match deploy {
            Deploy::Cron => unheard(context, &mut parts, hostname, "a job had the hostname that Docker gave it"),
            _ => parts.extend(reader.word(&hostname.value).map(|it| Part::text("hostname", it).from(place(hostname)))),
        }
    }
    parts.extend(map.get("entrypoint").and_then(|it| entrypoint(reader, it)));
    parts.extend(map.get("command").and_then(|it| command(reader, it)));
    if let Some(entry) = map.get("migration") {
        migration(context, entry, deploy, &mut parts);
    }
    parts.extend(environment(context, &map, &entry.key));
    notify::read(context, &map, deploy, &entry.key, &mut parts);
    let unknown = reader.finish(&map, &format!("{}.containers.{}.", context.at, entry.key));
    let part = Part::item(Yaml::Block(parts)).from(reader.place(&entry.key_span)).remark(unknown);
    Some(Container { name: entry.key.clone(), part, database })
}

/// A key that means nothing to such a container: noted above its name.
pub(super) fn unheard(context: Context<'_>, parts: &mut [Part], entry: &Entry, why: &str) {
    let remark = context.reader.note(Kind::LeftOut, &entry.key_span, format!("`{}`: {why}", entry.key));
    if let Some(name) = parts.first_mut() {
        *name = name.clone().remark([remark]);
    }
}

fn deploy(context: Context<'_>, map: &Map<'_>, name: &str) -> Option<(Deploy, Part)> {
    let reader = context.reader;
    let Some(entry) = map.get("deploy") else {
        let message = format!(
            "the container `{name}` has no `deploy`, and was never started on account of that: taken as `auto`. Take the \
             container out if it is not to run"
        );
        let remark = reader.note(Kind::Decide, map.span, message);
        return Some((Deploy::Auto, Part::text("deploy", "auto").remark([remark])));
    };
    let known = [("auto", Deploy::Auto), ("manual", Deploy::Manual), ("cron", Deploy::Cron)];
    let word = reader.word(&entry.value)?;
    match known.iter().find(|(known, _)| *known == word) {
        Some((word, deploy)) => Some((*deploy, Part::text("deploy", *word).from(reader.place(&entry.value.span)))),
        None => {
            let help = crate::spec::problem::suggest(&word, &known.map(|(word, _)| word));
            reader.tell(&entry.value.span, format!("`{word}` is no way to deploy"), Some(help))
        }
    }
}

fn image(context: Context<'_>, map: &Map<'_>, entry: &Entry) -> Vec<Part> {
    let reader = context.reader;
    let mut parts = Vec::new();
    match map.get("image") {
        Some(image) => {
            if let Some(word) = reader.word(&image.value) {
                parts.push(Part::text("image", word).from(reader.place(&image.value.span)));
            }
        }
        None => {
            let near = map.near("image").map(|near| format!("is `{}` meant to be `image`?", near.key));
            reader.tell::<()>(&entry.key_span, format!("the container `{}` needs `image`", entry.key), near);
        }
    }
    if let Some(tag) = map.get("tag")
        && let Some(word) = reader.word(&tag.value)
    {
        let written = &reader.file.text[tag.value.span.clone()];
        let remark = (matches!(tag.value.data, Data::Number(_)) && word != written).then(|| {
            let message = format!(
                "the tag {written} is a number, and was pulled as `{word}`: write it in quotes if that is not meant"
            );
            reader.note(Kind::Decide, &tag.value.span, message)
        });
        parts.push(Part::text("tag", word).from(reader.place(&tag.value.span)).remark(remark));
    }
    parts
}

/// How many, and how long until the next one is touched.
fn replicas(context: Context<'_>, map: &Map<'_>, deploy: Deploy, parts: &mut Vec<Part>) {
    let reader = context.reader;
    let (replicas, startup) = (map.get("containers"), map.get("startup_time"));
    if deploy == Deploy::Cron {
        for entry in replicas.into_iter().chain(startup) {
            unheard(context, parts, entry, "a job is one container at a time, and nothing waits for it to be up");
        }
        return;
    }
    if let Some(entry) = replicas
        && let Some(number) = reader.whole(&entry.value)
    {
        parts.push(Part::word("replicas", number).from(reader.place(&entry.value.span)));
    }
    if let Some(entry) = startup
        && let Some(seconds) = reader.whole(&entry.value)
    {
        let message = "`startup_time` was a wait before the next replica was touched; it is now how long each replica must run \
                       before it counts as healthy. Give the container a `healthCheck`, and it is waited for no longer than \
                       need be";
        let remark = reader.note(Kind::Changed, &entry.key_span, message);
        let part = Part::word("startupTime", format!("{seconds}s")).from(reader.place(&entry.value.span));
        parts.push(part.remark([remark]));
    }
}

/// `volumes` and `volumes_from`; what a data volume mounts from the instance is mounted by who takes it.
fn mounts(context: Context<'_>, map: &Map<'_>) -> Vec<Part> {
    let reader = context.reader;
    let own = map.get("volumes").and_then(|entry| reader.words(&entry.value, "volumes")).unwrap_or_default();
    let mut volumes: Vec<Part> =
        own.into_iter().map(|(text, node)| Part::item(Yaml::Text(text)).from(reader.place(&node.span))).collect();
    let mut from = Vec::new();
    let taken = map.get("volumes_from").and_then(|entry| reader.words(&entry.value, "names")).unwrap_or_default();
    for (text, node) in taken {
        let (name, mode) = text.split_once(':').unwrap_or((&text, ""));
        for bind in context.volumes.binds.get(name).into_iter().flatten() {
            let read_only = mode == "ro" && bind.matches(':').count() == 1;
            let bind = if read_only { format!("{bind}:ro") } else { bind.clone() };
            volumes.push(Part::item(Yaml::Text(bind)).from(reader.place(&node.span)));
        }
        if !context.volumes.only_binds.contains(name) {
            from.push(Part::item(Yaml::Text(text)).from(reader.place(&node.span)));
        }
    }
    let filled = [("volumes", volumes), ("volumesFrom", from)].into_iter().filter(|(_, items)| !items.is_empty());
    filled.map(|(key, items)| Part::new(key, Yaml::List(items))).collect()
}

fn words(reader: Reader<'_>, entry: &Entry, to: &str, what: &str) -> Option<Part> {
    let words = reader.words(&entry.value, what)?;
    let items = words.into_iter().map(|(text, node)| Part::item(Yaml::Text(text)).from(reader.place(&node.span)));
    let items: Vec<Part> = items.collect();
    (!items.is_empty()).then(|| Part::new(to, Yaml::List(items)).from(reader.place(&entry.value.span)))
}

/// One word, as `docker run --entrypoint` takes it; a list is taken as it is.
fn entrypoint(reader: Reader<'_>, entry: &Entry) -> Option<Part> {
    let place = reader.place(&entry.value.span);
    if matches!(entry.value.data, Data::List(_)) {
        return words(reader, entry, "entrypoint", "arguments");
    }
    let text = reader.text(&entry.value)?;
    match text.as_str() {
        "" => None,
        // A manifest's text is split as a shell would.
        _ if text.contains(|c: char| c.is_whitespace() || "'\"\\".contains(c)) => {
            Some(Part::texts("entrypoint", [text]).from(place))
        }
        _ => Some(Part::text("entrypoint", text).from(place)),
    }
}

fn command(reader: Reader<'_>, entry: &Entry) -> Option<Part> {
    if matches!(entry.value.data, Data::List(_)) {
        return words(reader, entry, "command", "arguments");
    }
    let text = reader.text(&entry.value)?;
    if text.trim().is_empty() {
        return None;
    }
    let remark = for_a_shell(&text).then(|| reader.note(Kind::Decide, &entry.value.span, SHELL));
    Some(Part::text("command", text).from(reader.place(&entry.value.span)).remark(remark))
}

const SHELL: &str = "no shell reads the command, and what it holds of one (`$`, `|`, `&`, `;`, `<`, `>`, a backtick) is passed \
                     on as it is: write `sh -c '…'` if the container is to interpret it";

/// True when a shell would do more with it than split it.
fn for_a_shell(text: &str) -> bool {
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => drop(characters.next()),
            (None | Some('"'), '$' | '`') => return true,
            (None, '|' | '&' | ';' | '<' | '>') => return true,
            _ => {}
        }
    }
    false
}

/// What runs before the first replica is launched.
fn migration(context: Context<'_>, entry: &Entry, deploy: Deploy, parts: &mut Vec<Part>) {
    let reader = context.reader;
    let Some(text) = reader.text(&entry.value).filter(|text| !text.trim().is_empty()) else { return };
    if deploy != Deploy::Auto {
        return unheard(context, parts, entry, "only containers with `deploy: auto` are migrated for, and were then");
    }
    let message = "the migration runs before anything stops (it ran after replica 0 was killed), so the old containers work with \
                   what it leaves behind: `{command: …, reversible: false}` if the older release cannot come back after it";
    let remark = reader.note(Kind::Changed, &entry.key_span, message);
    parts.push(Part::text("migration", percent(&text)).from(reader.place(&entry.value.span)).remark([remark]));
}

/// Nothing was filled in in a migration: a percent sign that begins nothing is one.
fn percent(text: &str) -> String {
    match interpolate(text, &Names::default()) {
        Err(Problem::StrayPercent) => {
            let mut out = String::new();
            let mut rest = text;
            while let Some(at) = rest.find('%') {
                let after = &rest[at + 1..];
                out.push_str(&rest[..=at]);
                let (double, skip) = if after.starts_with(['%', '{']) { ("", 1) } else { ("%", 0) };
                out.push_str(double);
                out.push_str(&after[..skip]);
                rest = &after[skip..];
            }
            out + rest
        }
        _ => text.to_owned(),
    }
}

fn environment(context: Context<'_>, map: &Map<'_>, container: &str) -> Vec<Part> {
    let reader = context.reader;
    let mut parts = Vec::new();
    if let Some(entry) = map.get("env_from")
        && let Some(name) = reader.word(&entry.value)
    {
        parts.push(Part::text("envFrom", name).from(reader.place(&entry.value.span)));
    }
    if let Some(entry) = map.get("env")
        && let Some(variables) = reader.map(&entry.value, "an environment")
        && !variables.entries.is_empty()
    {
        let all = variables.entries.iter().filter_map(|variable| one_variable(context, variable, container));
        parts.push(Part::new("env", Yaml::Map(all.collect())).from(reader.place(&entry.key_span)));
    }
    parts
}

fn one_variable(context: Context<'_>, variable: &Entry, container: &str) -> Option<Part> {
    let reader = context.reader;
    // Nothing was an empty text in the command line.
    let value = match &variable.value {
        Node { data: Data::Null, .. } => String::new(),
        node => reader.text(node)?,
    };
    let remark = secrets::looks_secret(&variable.key, &value).then(|| {
        let parameter = secrets::parameter(&[context.stack, context.app, &variable.key]);
        let message = format!(
            "`{}` of `{container}` looks like a secret, and stands here in plain text: keep it in Parameter Store, and write \
             `{{ssm: {parameter}}}`",
            variable.key
        );
        reader.note(Kind::Decide, &variable.key_span, message)
    });
    let part = Part::text(&variable.key, value).from(reader.place(&variable.value.span));
    Some(part.remark(remark))
}

#[cfg(test)]
mod tests {
    use super::{for_a_shell, percent};

    #[test]
    fn what_a_shell_would_interpret_is_told_from_what_it_would_only_split() {
        for text in ["echo $HOME", "a && b", "a | b", "a > /dev/null", "echo \"$HOME\"", "`date`"] {
            assert!(for_a_shell(text), "{text}");
        }
        for text in
            ["bundle exec rake", "sh -c 'a && b; echo $HOME'", "echo \"a | b\"", "echo \\$HOME", "-l %{app_name}.sock"]
        {
            assert!(!for_a_shell(text), "{text}");
        }
    }

    #[test]
    fn a_percent_sign_of_a_migration_stays_one() {
        assert_eq!(percent("date +%Y-%m"), "date +%%Y-%%m");
        assert_eq!(percent("100%% %"), "100%% %%");
        assert_eq!(percent("db %{app_name}"), "db %{app_name}");
        assert_eq!(percent("%{app_name} %s"), "%{app_name} %%s");
    }
}
