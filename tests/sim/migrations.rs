//! Migrations: each ends some time after it was begun, and none is begun that must not be.

use evenkeel::{
    spec::image,
    world::{ContainerSeen, State},
};

use crate::{
    dice::Dice,
    engines::{Change, Fate},
    real::Real,
    watch::live,
};

/// The label that tells which migration a container is.
pub const MIGRATION: &str = "evenkeel.migration";

impl Real {
    /// One was started.
    pub fn migrates(&mut self, container: &ContainerSeen, dice: &mut Dice) {
        let key = &container.labels[MIGRATION];
        // What went down with its instance before anybody took note of it cannot be known.
        let is_known = |id: &String| self.recorded.contains(key) || live(self).iter().any(|it| it.id == *id);
        if self.migrated.get(key).is_some_and(is_known) {
            self.violate(format!("the migration {key} of {} was run before", container.image));
        }
        let engines = self.world.seen.engines.iter().filter_map(|(host, engine)| Some((host, engine.known()?)));
        let running = engines.filter(|(host, _)| self.is_up(host)).flat_map(|(_, engine)| engine.containers.values());
        let at_once = running.filter(|c| c.labels.contains_key(MIGRATION) && c.state == State::Running).count();
        if at_once > 1 {
            self.violate(format!("{at_once} migrations run at once"));
        }
        let fails = self.fates.get(image::tagged(&container.image)) == Some(&Fate::Exits);
        let change = if fails { Change::Exit } else { Change::Finish };
        self.changes.insert(container.id.clone(), (self.now + dice.between(1_000, 20_000), change));
    }
}
