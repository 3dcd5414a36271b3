//! Who is still connected to an instance that its load balancers say is out.
//!
//! That is asked of the containers themselves, which takes longer than a look: so only of an instance that is out, and
//! only until the first container of it was stopped. From then on everybody was seen to have gone, or was given up.

use super::Picture;
use crate::{
    action::Node,
    plan::{container::is_ours, fleet, render::label},
    spec::Desired,
    world::{ContainerSeen, Observed, Seen, State},
};

impl Picture {
    /// A container of the instance was stopped.
    pub fn stopped(&mut self, hostname: &str) {
        self.stopped.insert(hostname.to_owned());
    }

    /// Adds the connections to what was seen of the engines of the instances that are out.
    pub(super) async fn ask_who_is_connected(&mut self, desired: &Desired, seen: &mut Observed) {
        let out: Vec<Node> = self.engines.keys().filter(|node| is_out(desired, seen, node)).cloned().collect();
        self.stopped.retain(|hostname| out.iter().any(|node| node.hostname == *hostname));
        for node in out.iter().filter(|node| !self.stopped.contains(&node.hostname)) {
            let Some(engine) = seen.engines.get_mut(&node.hostname).and_then(Seen::known_mut) else { continue };
            let serving = engine.containers.iter().filter(|(_, container)| serves(desired, container));
            let asked = serving.map(|(name, container)| async {
                let count = self.ports.engines.connections(node, &container.id).await;
                Some((name.clone(), count?))
            });
            engine.connections = futures_util::future::join_all(asked).await.into_iter().flatten().collect();
        }
    }
}

fn serves(desired: &Desired, container: &ContainerSeen) -> bool {
    is_ours(container, &desired.stack.name)
        && container.state == State::Running
        && container.labels.get(label::TRAFFIC).is_some_and(|value| value == "true")
}

/// Every load balancer was asked, and none lists it any more.
fn is_out(desired: &Desired, seen: &Observed, node: &Node) -> bool {
    let instances = seen.provided.instances.known();
    let instance = instances.and_then(|all| all.iter().find(|instance| instance.hostname == node.hostname));
    let Some((instance, ec2_id)) = instance.and_then(|it| Some((it, it.ec2_id.as_ref()?))) else { return false };
    let mut balancers = fleet::balancers_of(desired, seen, instance).into_iter().peekable();
    balancers.peek().is_some()
        && balancers.all(|name| {
            let known = seen.balancers.get(name).and_then(Seen::known);
            known.is_some_and(|balancer| !balancer.targets.contains_key(ec2_id))
        })
}
