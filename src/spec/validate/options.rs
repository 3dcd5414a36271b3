//! Options of one container that contradict each other.

use super::app::Checker;
use crate::spec::volume::Mount;

impl Checker<'_> {
    pub(super) fn options(&mut self) {
        let options = &self.container.options;
        for (name, value) in &options.labels {
            self.filled(&format!("labels/{name}"), value);
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
    use super::super::tests::problems;

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
    fn what_stands_in_braces_in_a_label_is_known() {
        assert_eq!(problems(&["name: a, image: x, labels: {a: \"%{app_name}\"}"]), Vec::<String>::new());
        let told = problems(&["name: a, image: x, labels: {a: \"50%\"}"]);
        assert_eq!(told, ["a percent sign must be written %%"]);
    }
}
