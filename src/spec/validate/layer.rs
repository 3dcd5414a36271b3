//! All apps of one layer: their containers live on the same engines.

use std::collections::{BTreeMap, BTreeSet};

use super::app::sample;
use crate::spec::{
    App, Container, Port, Problem, decode::Declared, interpolate::interpolate, network::Network, problem::nearest,
};

/// One container of the layer, and where it is declared.
#[derive(Clone, Copy)]
struct Member<'a> {
    declared: &'a Declared<App>,
    container: &'a Container,
    index: usize,
}

impl Member<'_> {
    fn path(&self, rest: &str) -> String {
        format!("spec/containers/{}/{rest}", self.index)
    }

    fn problem(&self, rest: &str, message: String, help: Option<String>) -> Problem {
        self.declared.problem(&self.path(rest), message, help)
    }

    fn network(&self) -> Network {
        self.declared.value.network_of(self.container)
    }

    fn whereabouts(&self, rest: &str) -> String {
        self.declared.whereabouts(&self.path(rest))
    }
}

/// Names, host ports, links and shared volumes of a layer's apps.
pub(super) fn check(apps: &[&Declared<App>], incomplete: bool, problems: &mut Vec<Problem>) {
    let docker: Vec<_> = apps.iter().filter(|declared| declared.broken || declared.value.is_docker()).collect();
    let incomplete = incomplete || docker.iter().any(|declared| declared.broken);
    let members: Vec<Member<'_>> = docker
        .iter()
        .flat_map(|declared| {
            let containers = declared.value.containers.iter().enumerate();
            containers.filter(|(_, container)| !container.name.is_empty()).map(|(index, container)| Member {
                declared,
                container,
                index,
            })
        })
        .collect();
    let replicas = replicas(&members, problems);
    host_ports(&members, problems);
    let mut layer = Layer { members: &members, replicas, incomplete, edges: BTreeMap::new() };
    for from in 0..members.len() {
        layer.links(from, problems);
        layer.volumes_from(from, problems);
    }
    layer.cycles(problems);
}

/// Which container has a replica of a name.
fn replicas(members: &[Member<'_>], problems: &mut Vec<Problem>) -> BTreeMap<String, usize> {
    let mut replicas = BTreeMap::new();
    for (at, member) in members.iter().enumerate() {
        let mut told = false;
        // The containers of a job's runs are called after it and their times.
        let runs = member.container.cron.iter().map(|_| format!("{}.<time>", member.container.name));
        for name in member.container.replica_names().chain(runs) {
            match replicas.get(&name) {
                Some(&first) => {
                    let other: &Member<'_> = &members[first];
                    // The same name twice in one app is told already.
                    let same =
                        std::ptr::eq(other.declared, member.declared) && other.container.name == member.container.name;
                    if !told && !same {
                        let message = format!("a second container of the layer would be called `{name}`");
                        let help = format!("the first one is at {}", other.whereabouts("name"));
                        problems.push(member.problem("name", message, Some(help)));
                        told = true;
                    }
                }
                None => {
                    replicas.insert(name, at);
                }
            }
        }
    }
    replicas
}

fn host_ports(members: &[Member<'_>], problems: &mut Vec<Problem>) {
    let mut taken: Vec<(Port, Member<'_>, String)> = Vec::new();
    for member in members.iter().filter(|member| member.container.replicas > 0) {
        for (i, text) in member.container.ports.iter().enumerate() {
            let place = format!("ports/{i}");
            let Some(port) = filled(member, text).and_then(|text| Port::parse(&text).ok()) else { continue };
            if let Some((_, first, at)) = taken.iter().find(|(other, ..)| other.collides(&port)) {
                let number = port.host_port.unwrap_or_default();
                let message = format!("the host's port {number}/{} is published twice in the layer", port.protocol);
                let help = format!("the first one is at {}", first.whereabouts(at));
                problems.push(member.problem(&place, message, Some(help)));
            }
            taken.push((port, *member, place));
        }
    }
}

/// The text with `%{…}` filled in; what cannot be filled in is told elsewhere.
fn filled(member: &Member<'_>, text: &str) -> Option<String> {
    interpolate(text, &sample(member.container)).ok()
}

struct Layer<'a> {
    members: &'a [Member<'a>],
    replicas: BTreeMap<String, usize>,
    incomplete: bool,
    /// Which containers need which others, and where that is said.
    edges: BTreeMap<usize, Vec<(usize, String)>>,
}

impl Layer<'_> {
    fn links(&mut self, from: usize, problems: &mut Vec<Problem>) {
        let member = self.members[from];
        for (i, text) in member.container.links.iter().enumerate() {
            let place = format!("links/{i}");
            let Some(text) = filled(&member, text) else { continue };
            let (target, alias) = text.split_once(':').unwrap_or((&text, &text));
            if alias.is_empty() || alias.contains([':', '/', ' ']) {
                let help = Some("links are written `redis0` or `redis0:redis`".to_owned());
                problems.push(member.problem(&place, format!("`{alias}` is not an alias"), help));
                continue;
            }
            match self.replicas.get(target) {
                Some(&to) if to == from => {
                    problems.push(member.problem(&place, "a container cannot be linked to itself".to_owned(), None));
                }
                Some(&to) if self.members[to].network() != Network::Bridge && member.network() == Network::Bridge => {
                    let message = format!("`{target}` is not in the engine's default network, where links are");
                    let help = "declare `network: app` for both, and leave `links` out".to_owned();
                    problems.push(member.problem(&place, message, Some(help)));
                }
                Some(&to) => self.edges.entry(from).or_default().push((to, place)),
                None if self.incomplete => {}
                None => {
                    let message = format!("the layer has no container `{target}`");
                    problems.push(member.problem(&place, message, Some(self.hint(target, []))));
                }
            }
        }
    }

    fn volumes_from(&mut self, from: usize, problems: &mut Vec<Problem>) {
        let member = self.members[from];
        let own = &member.declared.value.data_volumes;
        for (i, text) in member.container.volumes_from.iter().enumerate() {
            let place = format!("volumesFrom/{i}");
            let Some(text) = filled(&member, text) else { continue };
            let (target, mode) = text.split_once(':').unwrap_or((&text, "rw"));
            if !["ro", "rw"].contains(&mode) {
                let help = Some("`:ro` makes the volumes read-only".to_owned());
                problems.push(member.problem(&place, format!("unknown mode `{mode}`"), help));
                continue;
            }
            if own.contains_key(target) {
                continue;
            }
            match self.replicas.get(target) {
                Some(&to) if to == from => {
                    let message = "a container cannot take volumes from itself".to_owned();
                    problems.push(member.problem(&place, message, None));
                }
                Some(&to) => self.edges.entry(from).or_default().push((to, place)),
                None if self.incomplete => {}
                None => {
                    let message =
                        format!("`{target}` is neither a data volume of the app nor a container of the layer");
                    let help = match self.owner(target) {
                        Some(app) => format!("the app `{app}` has it; data volumes belong to one app"),
                        None => self.hint(target, own.keys().map(String::as_str)),
                    };
                    problems.push(member.problem(&place, message, Some(help)));
                }
            }
        }
    }

    /// Another app that has a data volume of that name.
    fn owner(&self, volume: &str) -> Option<&str> {
        let apps = self.members.iter().map(|member| &member.declared.value);
        apps.into_iter().find(|app| app.data_volumes.contains_key(volume)).map(|app| app.name.as_str())
    }

    fn hint<'n>(&'n self, target: &str, volumes: impl IntoIterator<Item = &'n str>) -> String {
        let mut names: Vec<&str> = volumes.into_iter().collect();
        if let Some(member) = self.members.iter().find(|member| member.container.name == target) {
            return match member.container.replicas {
                _ if member.container.cron.is_some() => {
                    format!("`{target}` is run by the clock (`deploy: cron`), and nothing can rely on it to be there")
                }
                0 => format!("`{target}` has no replicas"),
                1 => format!("did you mean `{target}0`? A replica is called by its container and index"),
                n => format!("its replicas are `{target}0` to `{target}{}`: name one", n - 1),
            };
        }
        names.extend(self.replicas.keys().map(String::as_str));
        match nearest(target, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "there are none".to_owned(),
            None => {
                names.truncate(10);
                format!("there are {}", names.join(", "))
            }
        }
    }

    /// Tells the circles of links and shared volumes, each once.
    fn cycles(&self, problems: &mut Vec<Problem>) {
        let mut left: BTreeSet<usize> = self.edges.keys().copied().collect();
        let needs = |from: usize, left: &BTreeSet<usize>| {
            self.edges.get(&from).into_iter().flatten().find(|(to, _)| left.contains(to))
        };
        loop {
            let before = left.len();
            for member in left.clone() {
                if needs(member, &left).is_none() {
                    left.remove(&member);
                }
            }
            if left.len() < before {
                continue;
            }
            // Whatever is left needs something that is left: following that leads round a circle.
            let Some(&start) = left.first() else { return };
            let mut way = vec![start];
            while let Some((to, place)) = way.last().and_then(|at| needs(*at, &left)) {
                if let Some(first) = way.iter().position(|member| member == to) {
                    let name = |member: &usize| self.members[*member].container.name.as_str();
                    let circle: Vec<&str> = way[first..].iter().chain([to]).map(name).collect();
                    let message = format!("a circle of links or shared volumes: {}", circle.join(" → "));
                    let help = Some("nothing in it could be started first".to_owned());
                    let last = way[way.len() - 1];
                    problems.push(self.members[last].problem(place, message, help));
                    break;
                }
                way.push(*to);
            }
            for member in way {
                left.remove(&member);
            }
        }
    }
}
