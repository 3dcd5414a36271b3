//! Which containers a name means, on the engines themselves.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::future::join_all;

use super::{
    operate::{Found, Subject},
    reach::Opening,
};
use crate::{
    action::Node,
    docker::Engines,
    plan::render::label,
    ports,
    world::{ContainerSeen, Seen, State},
};

/// Whose containers, and where.
#[derive(Debug, clap::Args)]
pub struct Whose {
    /// Of a container's name with its index (APP/web1) that replica alone is meant.
    #[command(flatten)]
    subject: Subject,
    /// On this instance alone, by its hostname.
    #[arg(long, value_name = "HOSTNAME")]
    instance: Option<String>,
    #[command(flatten)]
    opening: Opening,
}

/// One container.
#[derive(Debug, Clone)]
pub struct Replica {
    /// Where it is.
    pub node: Node,
    /// Its name there.
    pub name: String,
    /// Its id.
    pub id: String,
    /// It runs.
    pub runs: bool,
    /// It is in a place of its own, not kept aside, a migration or a run of a job.
    pub serves: bool,
}

/// What was found, and what opens it.
pub struct Replicas {
    /// What the controller wrote down.
    pub found: Found,
    /// The engines.
    pub engines: Arc<Engines>,
    whose: Option<u32>,
    nodes: Vec<Node>,
}

impl Whose {
    /// Finds where to ask.
    ///
    /// # Errors
    /// One message for the person who called it.
    pub fn find(&self) -> Result<Replicas, String> {
        let (found, whose) = self.subject.find_replica()?;
        let status = found.status();
        let instances = &status.instances;
        let hostnames = || instances.iter().map(|one| one.hostname.as_str()).collect::<Vec<_>>().join(", ");
        if let Some(name) = self.instance.as_ref().filter(|name| !instances.iter().any(|one| one.hostname == **name)) {
            return Err(format!("stack {} has no instance {name}, but {}", status.stack, hostnames()));
        }
        let meant = instances.iter().filter(|one| self.instance.as_ref().is_none_or(|name| one.hostname == *name));
        let nodes: Vec<Node> = meant.filter_map(|one| one.node.clone()).collect();
        if nodes.is_empty() {
            return Err(format!("no instance of stack {} is up: evenkeel status tells why", status.stack));
        }
        let store = self.subject.store()?;
        let engines = Arc::new(self.opening.engines(Arc::new(store)));
        Ok(Replicas { found, engines, whose, nodes })
    }
}

impl Replicas {
    /// The containers that are meant, by instance and name, and why others may be missing.
    pub async fn look(&self) -> (Vec<Replica>, Vec<String>) {
        let images = BTreeSet::new();
        let looks = join_all(self.nodes.iter().map(|node| ports::Engines::look(&*self.engines, node, &images))).await;
        let (mut replicas, mut troubles) = (Vec::new(), Vec::new());
        for (node, look) in self.nodes.iter().zip(looks) {
            match look {
                Seen::Known(engine) => {
                    let meant = engine.containers.iter().filter(|(_, container)| self.means(container));
                    replicas.extend(meant.map(|(name, container)| {
                        Replica {
                            node: node.clone(),
                            name: name.clone(),
                            id: container.id.clone(),
                            runs: container.state == State::Running,
                            serves: container
                                .labels
                                .get(label::CONTAINER)
                                .zip(container.labels.get(label::INDEX))
                                .is_some_and(|(key, index)| *name == format!("{key}{index}")),
                        }
                    }));
                }
                Seen::Unknown(trouble) => troubles.push(trouble.message),
            }
        }
        (replicas, troubles)
    }

    fn means(&self, container: &ContainerSeen) -> bool {
        let is = |label: &str, value: &str| container.labels.get(label).is_some_and(|found| found == value);
        is(label::STACK, &self.found.status().stack)
            && is(label::APP, &self.found.app().name)
            && self.found.container().is_none_or(|meant| is(label::CONTAINER, &meant.name))
            && self.whose.is_none_or(|index| is(label::INDEX, &index.to_string()))
    }

    /// What was looked for, in words.
    pub fn words(&self) -> String {
        let app = &self.found.app().name;
        match (self.found.container(), self.whose) {
            (Some(container), Some(index)) => format!("{app}/{}{index}", container.name),
            (Some(container), None) => format!("{app}/{}", container.name),
            (None, _) => app.clone(),
        }
    }
}
