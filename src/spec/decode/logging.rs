//! `logging` of an app or a container.

use std::collections::BTreeMap;

use super::{cursor::Report, node::Node, quantity};
use crate::spec::logging::Logging;

/// Docker's own files, which it rotates itself.
const FILES: [&str; 2] = ["json-file", "local"];
/// Bytes of one file, and how many are kept, where nothing is said. What was rotated daily and kept for a week is now
/// rotated by size: seven files, each of what a talkative container writes a day.
const MAX_SIZE: u64 = 10 * 1024 * 1024;
const MAX_FILES: u32 = 7;

/// `{maxSize, maxFiles}`, or any `{driver, options}`.
pub(super) fn read(report: &Report<'_>, node: &Node) -> Option<Logging> {
    let map = report.map(node, "`logging`")?;
    let driver = map.optional("driver", driver).unwrap_or_else(|| FILES[0].to_owned());
    let mut options = map.optional("options", options).unwrap_or_default();
    let size = map.optional("maxSize", quantity::bytes).unwrap_or(MAX_SIZE);
    let files = map.optional("maxFiles", |report, node| report.number(node, 1..=1000)).unwrap_or(MAX_FILES);
    map.finish();
    // Docker reads `10m` as ten million bytes here and nowhere else: a plain number means the same everywhere.
    let own = [("maxSize", "max-size", size.to_string()), ("maxFiles", "max-file", files.to_string())];
    for (key, option, value) in own {
        if !FILES.contains(&driver.as_str()) {
            if map.has(key) {
                let help =
                    format!("give its own `options`, or leave `driver` out for Docker's files ({})", FILES.join(", "));
                report.tell::<()>(map.key_span(key), format!("the driver `{driver}` has no `{key}`"), Some(help));
            }
        } else if map.has(key) && options.contains_key(option) {
            report.tell::<()>(map.key_span(key), format!("the option `{option}` says it as well: keep one"), None);
        } else {
            options.entry(option.to_owned()).or_insert(value);
        }
    }
    Some(Logging { driver, options })
}

fn driver(report: &Report<'_>, node: &Node) -> Option<String> {
    let driver = report.word(node)?;
    let fine = !driver.contains(|c: char| c.is_whitespace() || c.is_control());
    if fine { Some(driver) } else { report.expected(node, "a log driver like `json-file` or `syslog`") }
}

fn options(report: &Report<'_>, node: &Node) -> Option<BTreeMap<String, String>> {
    report.table(node, "`options`", |report, entry| {
        if entry.key.trim().is_empty() {
            return report.tell(&entry.key_span, "an option needs a name", None);
        }
        report.text(&entry.value)
    })
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use crate::spec::{App, File};

    /// The app with this `logging`, and with that of its only container; and what is wrong, without places.
    fn read(app: &str, container: &str) -> (App, Vec<String>) {
        let text = format!(
            "apiVersion: evenkeel/v1\nkind: App\nmetadata: {{name: a}}\nspec:\n  stack: s\n  layer: l\n  logging: {app}\n  \
             containers:\n    - {{name: x, image: x, logging: {container}}}\n"
        );
        let (mut documents, problems) = decode(vec![File::new("f", text)]);
        let told = problems.iter().map(ToString::to_string);
        let told = told.map(|problem| problem.splitn(4, ':').nth(3).unwrap().trim().to_owned()).collect();
        (documents.apps.remove(0).value, told)
    }

    fn told(logging: &str) -> String {
        let (_, problems) = read("", logging);
        assert_eq!(problems.len(), 1, "{logging}: {problems:#?}");
        problems[0].clone()
    }

    fn options(logging: &str) -> (String, Vec<(String, String)>) {
        let (app, problems) = read(logging, "");
        assert_eq!(problems, Vec::<String>::new(), "{logging}");
        let logging = app.logging.unwrap();
        (logging.driver, logging.options.into_iter().collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn docker_s_own_files_are_always_rotated_and_seven_are_kept() {
        let week = pairs(&[("max-file", "7"), ("max-size", "10485760")]);
        assert_eq!(options("{}"), ("json-file".into(), week.clone()));
        assert_eq!(options("{driver: local}"), ("local".into(), week));
        let given = pairs(&[("max-file", "3"), ("max-size", "1048576")]);
        assert_eq!(options("{maxSize: 1MiB, maxFiles: 3}"), ("json-file".into(), given));
        let mixed = pairs(&[("compress", "true"), ("max-file", "7"), ("max-size", "50m")]);
        assert_eq!(options("{options: {max-size: 50m, compress: true}}"), ("json-file".into(), mixed));
    }

    #[test]
    fn any_driver_takes_its_own_options_and_nothing_is_added() {
        let given = pairs(&[("syslog-address", "udp://10.0.0.9:514"), ("tag", "%{app_name}")]);
        let text = "{driver: syslog, options: {syslog-address: \"udp://10.0.0.9:514\", tag: \"%{app_name}\"}}";
        assert_eq!(options(text), ("syslog".into(), given));
        assert_eq!(options("{driver: none}"), ("none".into(), vec![]));
    }

    #[test]
    fn a_container_s_own_stands_beside_the_app_s() {
        let (app, problems) = read("{driver: syslog}", "{maxFiles: 2}");
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(app.logging.unwrap().driver, "syslog");
        assert_eq!(app.containers[0].options.logging.as_ref().unwrap().options["max-file"], "2");
        let (app, _) = read("", "");
        assert_eq!((app.logging, app.containers[0].options.logging.clone()), (None, None));
    }

    #[test]
    fn what_cannot_be_is_told() {
        for (logging, said) in [
            ("{driver: syslog, maxSize: 10m}", "the driver `syslog` has no `maxSize`"),
            ("{maxSize: 10m, options: {max-size: 5m}}", "the option `max-size` says it as well: keep one"),
            ("{maxSize: 10}", "write `10MiB`"),
            ("{maxFiles: 0}", "1 to 1000 are allowed"),
            ("{drivr: syslog}", "unknown key `drivr` (did you mean `driver`?)"),
            ("{driver: \"a b\"}", "a log driver like `json-file`"),
            ("{options: [a]}", "`options` (a mapping"),
            ("{options: {a: [b]}}", "expected a text, found a list"),
            ("json-file", "`logging` (a mapping"),
        ] {
            assert!(told(logging).contains(said), "{logging}: {}", told(logging));
        }
    }
}
