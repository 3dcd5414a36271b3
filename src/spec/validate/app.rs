//! One app by itself: its strings, ports, volumes and names.

use crate::spec::{
    App, Container, Port, Problem,
    app::DataSource,
    container::Way,
    decode::Declared,
    health::Probe,
    interpolate::{self, KNOWN, Names, interpolate},
    network::Network,
    problem::nearest,
    volume::Mount,
};

/// Everything that can be said of an app without knowing the others.
pub(super) fn check(declared: &Declared<App>, problems: &mut Vec<Problem>) {
    super::options::of_app(declared, problems);
    let containers = &declared.value.containers;
    for (i, container) in containers.iter().enumerate() {
        let at = format!("spec/containers/{i}");
        let first = containers[..i].iter().position(|other| other.name == container.name);
        if let Some(first) = first.filter(|_| !container.name.is_empty()) {
            let help =
                format!("the first one is at {}", declared.whereabouts(&format!("spec/containers/{first}/name")));
            let message = format!("the container `{}` is declared twice", container.name);
            problems.push(declared.problem(&format!("{at}/name"), message, Some(help)));
        }
        let mut checker = Checker { declared, container, at, problems };
        checker.env_from(containers);
        checker.database();
        checker.strings();
        checker.ports();
        checker.volumes();
        checker.strategy(containers);
        checker.options();
        checker.network(containers);
    }
}

/// What `%{…}` stands for while a manifest is checked; `app_name` is the container's key, as everywhere but in
/// `hostname` and `command`.
pub(super) fn sample(container: &Container) -> Names<'_> {
    Names { public_ip: "192.0.2.1", app_name: &container.name, opsworks: "stack-host1" }
}

pub(super) struct Checker<'a> {
    pub(super) declared: &'a Declared<App>,
    pub(super) container: &'a Container,
    at: String,
    problems: &'a mut Vec<Problem>,
}

impl Checker<'_> {
    pub(super) fn tell(&mut self, path: &str, message: impl Into<String>, help: Option<String>) {
        let problem = self.declared.problem(&format!("{}/{path}", self.at), message, help);
        self.problems.push(problem);
    }

    fn env_from(&mut self, containers: &[Container]) {
        let Some(name) = self.container.env_from.as_deref() else { return };
        if name == self.container.name {
            self.tell("envFrom", "a container cannot take its environment from itself", None);
        } else if !self.declared.broken && containers.iter().all(|other| other.name != name) {
            let names: Vec<&str> = containers
                .iter()
                .map(|other| other.name.as_str())
                .filter(|name| *name != self.container.name)
                .collect();
            let help = super::suggestion(name, &names, "the app has no other container");
            self.tell("envFrom", format!("the app has no container `{name}`"), Some(help));
        }
    }

    /// The app has to say which database is meant.
    fn database(&mut self) {
        if self.declared.broken || self.container.database.as_ref().is_none_or(|variables| !variables.is_empty()) {
            return;
        }
        let help = "give the app `dataSource: {rds: IDENTIFIER, database: NAME, password: {ssm: /path}}`".to_owned();
        let message = match &self.declared.value.data_source {
            Some(DataSource::Opsworks { .. }) => "OpsWorks tells nobody the address of a server of its own",
            Some(DataSource::Rds { database: None, .. }) => "the app's `dataSource` does not say which `database`",
            Some(DataSource::Rds { .. }) => "the app's `dataSource` has no `password`",
            None => "the app has no `dataSource`",
        };
        self.tell("database", message, Some(help));
    }

    /// Fills in `%{…}` with samples; what cannot be filled in is told.
    pub(super) fn filled(&mut self, path: &str, text: &str) -> Option<String> {
        match interpolate(text, &sample(self.container)) {
            Ok(filled) => Some(filled),
            Err(problem) => {
                let help = match &problem {
                    interpolate::Problem::UnknownName(name) => {
                        nearest(name, KNOWN).map(|near| format!("did you mean `%{{{near}}}`?"))
                    }
                    _ => None,
                };
                self.tell(path, problem.to_string(), help);
                None
            }
        }
    }

    fn strings(&mut self) {
        let container = self.container;
        if let Some(hostname) = &container.hostname
            && let Some(filled) = self.filled("hostname", hostname)
        {
            let fine = filled.len() <= 63
                && filled.starts_with(|c: char| c.is_ascii_alphanumeric())
                && filled.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
            if !fine {
                self.tell("hostname", format!("`{hostname}` is not a hostname"), None);
            }
        }
        for (i, word) in container.command.iter().flatten().enumerate() {
            let before = self.problems.len();
            self.filled(&format!("command/{i}"), word);
            if self.problems.len() > before {
                break;
            }
        }
        for (i, word) in container.migration.iter().flat_map(|migration| migration.command.iter().enumerate()) {
            self.filled(&format!("migration/{i}"), word);
        }
        for (name, text) in container.env.iter().filter_map(|(name, value)| Some((name, value.text()?))) {
            self.filled(&format!("env/{name}"), text);
        }
        if let Some(Probe::Unix { socket, .. }) = container.health_check.as_ref().map(|check| &check.probe) {
            self.filled("healthCheck/unix", socket);
        }
    }

    fn ports(&mut self) {
        for (i, text) in self.container.ports.iter().enumerate() {
            let place = format!("ports/{i}");
            let Some(filled) = self.filled(&place, text) else { continue };
            match Port::parse(&filled) {
                Ok(port) if port.host_port.is_some() && self.container.replicas > 1 => {
                    let message = format!(
                        "{} replicas on one host cannot all publish the host's port {}",
                        self.container.replicas,
                        port.host_port.unwrap_or_default()
                    );
                    let help = "publish the container's port alone, or put a proxy container in front".to_owned();
                    self.tell(&place, message, Some(help));
                }
                Ok(_) => {}
                Err(problem) => {
                    let help = "ports are written `80`, `80:8080`, `127.0.0.1:80:8080` or `53:53/udp`".to_owned();
                    self.tell(&place, problem, Some(help));
                }
            }
        }
    }

    /// Two containers of it are there for a while.
    fn strategy(&mut self, containers: &[Container]) {
        if self.container.strategy != Some(Way::StartFirst) {
            return;
        }
        let help = Some("leave `strategy` out, and the way that loses no request is chosen".to_owned());
        if let Some(port) =
            self.container.ports.iter().find(|port| Port::parse(port).is_ok_and(|it| it.host_port.is_some()))
        {
            let message = format!("the old and the new container cannot both publish `{port}`");
            return self.tell("strategy", message, help);
        }
        if self.declared.value.network_of(self.container) == Network::Host {
            let message = "the old and the new container cannot both have the host's ports (`network: host`)";
            return self.tell("strategy", message, help);
        }
        let is_own =
            |name: &str| self.container.replica_names().any(|own| own == name.split(':').next().unwrap_or(name));
        let uses = |other: &&Container| other.links.iter().chain(&other.volumes_from).any(|entry| is_own(entry));
        if let Some(other) = containers.iter().find(uses) {
            let message = format!("`{}` uses it, and would be left with the old container, which goes", other.name);
            self.tell("strategy", message, help);
        }
    }

    fn volumes(&mut self) {
        for (i, text) in self.container.volumes.iter().enumerate() {
            let place = format!("volumes/{i}");
            let Some(filled) = self.filled(&place, text) else { continue };
            if let Err(problem) = Mount::parse(&filled) {
                let help = "volumes are written `/path`, `name:/path` or `/host/path:/path:ro`".to_owned();
                self.tell(&place, problem, Some(help));
            }
        }
    }
}
