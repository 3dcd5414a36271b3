//! Options of one container that contradict each other.

use super::app::Checker;
use crate::spec::{
    App, Problem,
    decode::Declared,
    interpolate::{Names, interpolate},
    volume::Mount,
};

/// What an app declares for all its containers.
pub(super) fn of_app(declared: &Declared<App>, problems: &mut Vec<Problem>) {
    let sample = Names { public_ip: "192.0.2.1", app_name: "app0", opsworks: "stack-host1" };
    for (name, value) in declared.value.logging.iter().flat_map(|logging| &logging.options) {
        if let Err(problem) = interpolate(value, &sample) {
            let path = format!("spec/logging/options/{name}");
            problems.push(declared.problem(&path, problem.to_string(), None));
        }
    }
}

impl Checker<'_> {
    pub(super) fn options(&mut self) {
        let options = &self.container.options;
        for (name, value) in &options.labels {
            self.filled(&format!("labels/{name}"), value);
        }
        for (name, value) in options.logging.iter().flat_map(|logging| &logging.options) {
            self.filled(&format!("logging/options/{name}"), value);
        }
        let path = |text: &String| match Mount::parse(text) {
            Ok(Mount::Anonymous(path) | Mount::Named { path, .. }) => Some(path),
            Ok(Mount::Bind(text)) => text.split(':').nth(1).map(str::to_owned),
            Err(_) => None,
        };
        let mounted: Vec<Option<String>> = self.container.volumes.iter().map(path).collect();
        for twice in options.tmpfs.keys() {
            if let Some(at) = mounted.iter().position(|path| path.as_ref() == Some(twice)) {
                let help = Some("a path is either a volume or in memory".to_owned());
                self.tell(&format!("volumes/{at}"), format!("`{twice}` is in `tmpfs` as well"), help);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{STACK, app, loaded, problems};

    #[test]
    fn a_path_is_a_volume_or_in_memory() {
        let container = |volume: &str| format!("name: a, image: x, tmpfs: [/tmp, /run], volumes: [\"{volume}\"]");
        for volume in ["/run", "/srv:/run", "cache:/run:ro"] {
            let told = problems(&[&container(volume)]);
            assert_eq!(told, ["`/run` is in `tmpfs` as well (a path is either a volume or in memory)"], "{volume}");
        }
        assert_eq!(problems(&[&container("/run/x")]), Vec::<String>::new());
    }

    #[test]
    fn what_stands_in_braces_in_a_log_option_is_known() {
        let container =
            |tag: &str| format!("name: a, image: x, logging: {{driver: syslog, options: {{tag: \"{tag}\"}}}}");
        assert_eq!(problems(&[&container("%{app_name}")]), Vec::<String>::new());
        assert!(problems(&[&container("%{app_nam}")])[0].starts_with("unknown name %{app_nam}"));
        let app = app("a", &["name: a, image: x"]);
        let app = app.replace("  containers", "  logging: {driver: syslog, options: {tag: \"50%\"}}\n  containers");
        assert_eq!(loaded(&format!("{STACK}{app}")).unwrap_err(), ["f:18:44: a percent sign must be written %%"]);
    }

    #[test]
    fn what_stands_in_braces_in_a_label_is_known() {
        assert_eq!(problems(&["name: a, image: x, labels: {a: \"%{app_name}\"}"]), Vec::<String>::new());
        let told = problems(&["name: a, image: x, labels: {a: \"50%\"}"]);
        assert_eq!(told, ["a percent sign must be written %%"]);
    }
}
