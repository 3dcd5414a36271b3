//! How much room there is on the disks of the instances.
//!
//! A container is asked for that, which costs more than a look: so only every few minutes, and before and after what
//! changes it much.

use std::time::Duration;

use tokio::time::Instant;

use super::{Picture, containers_on};
use crate::{
    action::{Action, EngineAction, Node},
    plan::{Facts, fleet},
    ports::Room,
    spec::{Desired, Layer, image::pinned},
    world::{Disk, Observed},
};

/// How old an answer may be.
const EVERY: Duration = Duration::from_secs(5 * 60);
/// The same while an image is to be pulled.
const BEFORE_A_PULL: Duration = Duration::from_secs(10);
/// The same while nobody could tell.
const UNTOLD: Duration = Duration::from_secs(60);

impl Picture {
    /// Adds the disks to what was seen of the engines.
    pub(super) async fn ask_for_room(&mut self, desired: &Desired, facts: &Facts, seen: &mut Observed) {
        let engines = &seen.engines;
        self.disks.retain(|hostname, _| engines.contains_key(hostname));
        let answers = self.engines.iter().filter(|(_, look)| look.seen.known().is_some()).map(|(node, _)| node);
        let due: Vec<Node> = answers.filter(|node| self.is_due(desired, facts, node)).cloned().collect();
        let asked = due.iter().map(|node| async { (node.hostname.clone(), self.ports.engines.disk(node).await) });
        for (hostname, disk) in futures_util::future::join_all(asked).await {
            self.disks.insert(hostname, (Instant::now(), disk));
        }
        for (hostname, engine) in &mut seen.engines {
            if let Some(engine) = engine.known_mut() {
                engine.disk = self.disks.get(hostname).and_then(|(_, disk)| *disk);
            }
        }
    }

    fn is_due(&self, desired: &Desired, facts: &Facts, node: &Node) -> bool {
        let Some((at, disk)) = self.disks.get(&node.hostname) else { return true };
        let age = match disk {
            Some(_) if !self.lacks_an_image(desired, facts, node) => EVERY,
            Some(_) => BEFORE_A_PULL,
            None => UNTOLD,
        };
        at.elapsed() >= age
    }

    /// An image of a release that is on record is not on the engine.
    fn lacks_an_image(&self, desired: &Desired, facts: &Facts, node: &Node) -> bool {
        let Some(engine) = self.engines.get(node).and_then(|look| look.seen.known()) else { return false };
        containers_on(desired, node).any(|(app, container)| {
            let released = facts.releases.get(&(app.name.clone(), container.name.clone()));
            released.is_some_and(|one| !engine.images.contains_key(&pinned(&one.release.image, &one.release.digest)))
        })
    }

    /// What was there before it counts no more; and where nobody could tell, what was just started may.
    pub(super) fn touch_disk(&mut self, action: &Action) {
        let Action::Engine { node, what } = action else { return };
        let is_told = self.disks.get(&node.hostname).is_some_and(|(_, disk)| disk.is_some());
        let counts_no_more = match what {
            EngineAction::Pull { .. } | EngineAction::RemoveImage { .. } => true,
            EngineAction::Start { .. } => !is_told,
            _ => false,
        };
        if counts_no_more {
            self.disks.remove(&node.hostname);
        }
    }

    /// What a pull on an instance may take.
    pub(super) fn room(&self, desired: &Desired, hostname: &str) -> Option<Room> {
        let Disk { total, free } = self.disks.get(hostname)?.1?;
        let is_of = |layer: &&Layer| fleet::index_in(layer, hostname).is_some();
        let layer = desired.stack.layers.iter().find(is_of)?;
        Some(Room { free, reserve: layer.upkeep.reserve.of(total) })
    }
}
