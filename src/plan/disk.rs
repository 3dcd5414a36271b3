//! Room on the disks of the instances: which old images go, and whether there is room for what is to be pulled.
//!
//! An image is Evenkeel's own when every name that it goes by is that of a release on record: others have whoever gave
//! them another name, and stay. Of its own, those go that no container on the engine is made from and no declared
//! container is to be made from: beyond a number or an age as a matter of course, and any of them, the one that was used
//! longest ago first, where room is needed.
//!
//! What an image takes is only known once it is somewhere: that is what it takes on another instance, else what the
//! release before it takes. Where no container can tell how much is free, the engine is the first to say that the disk
//! is full.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{
    Facts, Plan,
    facts::{Failure, Released},
    resolve::Known,
};
use crate::{
    action::{Action, EngineAction, Node},
    spec::{
        Layer,
        image::{self, familiar, pinned},
        stack::Provider,
        upkeep::in_words,
    },
    status::{Condition, Kind},
    world::{Class, Disk, Engine, ImageSeen, Observed},
};

/// Where the engine keeps its images, as the volumes of a layer name it.
const DATA_ROOT: &str = "/var/lib/docker";

/// So much more, or a tenth more, is clearly more. What a pull that was given up leaves behind is cleared away later, and is
/// never more than was free when it was begun.
const MORE: u64 = 32 << 20;

/// An engine of a layer whose disk is looked after.
pub(super) struct Place<'a> {
    pub(super) known: &'a Known<'a>,
    pub(super) layer: &'a Layer,
    pub(super) hostname: &'a str,
    pub(super) engine: &'a Engine,
}

/// Whether there is room for an image.
pub(super) enum Room {
    /// There is, as far as can be told.
    Enough,
    /// There will be: these make way, one after the other.
    Soon {
        /// What makes way.
        actions: Vec<EngineAction>,
        /// What is waited for.
        on: String,
    },
    /// There is not, and nothing more can make way.
    Lacks {
        /// What could not make way.
        stuck: Vec<EngineAction>,
        /// What a person should know.
        condition: Condition,
        /// Only the engine says so: it may do otherwise by now.
        may_retry: bool,
    },
}

/// An image of ours that nothing needs.
struct Old {
    image: String,
    /// How many releases of its container came after it.
    rank: usize,
    /// Until when it was used.
    used: Timestamp,
}

/// What an image takes, as far as can be told.
struct Size {
    bytes: u64,
    /// What it takes as much as.
    like: String,
}

impl Place<'_> {
    /// Whether there is room for an image that is to be pulled.
    pub(super) fn room(&self, image: &str) -> Room {
        let size = self.size_of(image);
        let refusal = self.refusal(image);
        let (why, may_retry) = match (self.engine.disk, refusal) {
            (Some(disk), _) if !self.fits(disk, size.as_ref()) => (self.lacks(disk, size), false),
            (_, Some(said)) => (said, true),
            _ => return Room::Enough,
        };
        let mut actions = Vec::new();
        for old in self.olds() {
            let what = EngineAction::RemoveImage { image: old.image };
            let is_stuck = self.known.facts.failures.contains_key(&format!("{}: {what}", self.hostname));
            actions.push(what);
            if !is_stuck {
                let on = format!("room for image {}: {why}", image::shown(image));
                return Room::Soon { actions, on };
            }
        }
        let message = format!(
            "no room for {}: {why}. {}. What runs goes on, and none of it is replaced anywhere until there is room: {}",
            image::shown(image),
            self.others(),
            self.advice()
        );
        let condition = Condition { kind: Kind::NoRoom, subject: self.hostname.to_owned(), message };
        Room::Lacks { stuck: actions, condition, may_retry }
    }

    /// What the engine said when it had no room for an image, as long as that stands.
    fn refusal(&self, image: &str) -> Option<String> {
        let failure = self.known.facts.failures.get(&pull_key(self.hostname, image))?;
        (failure.trouble.class == Class::NoRoom).then(|| failure.trouble.message.clone())
    }

    fn fits(&self, disk: Disk, size: Option<&Size>) -> bool {
        disk.free >= self.layer.upkeep.reserve.of(disk.total).saturating_add(size.map_or(1, Size::need))
    }

    fn lacks(&self, disk: Disk, size: Option<Size>) -> String {
        let reserve = in_words(self.layer.upkeep.reserve.of(disk.total));
        let free = format!("{} of {} are free", in_words(disk.free), in_words(disk.total));
        match size {
            Some(size) => format!(
                "{free}, of which {reserve} are to stay free (docker.disk.reserve), and about {} are needed (as large \
                 as {}, and half as much again while it is unpacked)",
                in_words(size.need()),
                size.like
            ),
            None => format!("{free}, and {reserve} are to stay free (docker.disk.reserve)"),
        }
    }

    /// What is on the disk and cannot make way.
    fn others(&self) -> String {
        let own = self.names();
        let (ours, foreign): (Vec<&ImageSeen>, Vec<&ImageSeen>) =
            self.engine.stored.values().partition(|image| is_own(image, &own));
        let size = foreign.iter().fold(0_u64, |sum, image| sum.saturating_add(image.size));
        let foreign = match foreign.len() {
            0 => String::new(),
            count => format!("; of others there are {count}, which take up to {}", in_words(size)),
        };
        format!("No image can make way any more: of those that Evenkeel pulled all {} are needed{foreign}", ours.len())
    }

    /// What makes room. OpsWorks gives a larger volume to new instances alone.
    fn advice(&self) -> String {
        let volume = self.layer.volumes.iter().find(|volume| volume.mount_point == DATA_ROOT);
        match (volume, self.known.desired.stack.provider) {
            (Some(volume), Provider::Ec2) => format!(
                "raise the `size` of the volume at {DATA_ROOT} (now {}GiB), or remove what is not needed from it",
                volume.size_gib
            ),
            (Some(volume), Provider::Opsworks) => format!(
                "remove what is not needed from the volume at {DATA_ROOT}, or grow it by hand; new instances have a \
                 larger one once its `size` is raised (now {}GiB)",
                volume.size_gib
            ),
            (None, _) => {
                format!("remove what is not needed from the instance's disk, or declare a volume at {DATA_ROOT}")
            }
        }
    }

    /// An image takes as much as it does on another instance; one that is nowhere, as much as the release before it.
    fn size_of(&self, image: &str) -> Option<Size> {
        let stored = |name: &str| {
            self.known.engines.iter().find_map(|(hostname, engine)| {
                let found = engine.stored.values().find(|image| image.names.contains(name))?;
                Some((*hostname, found.size))
            })
        };
        if let Some((hostname, bytes)) = stored(&familiar(image)) {
            return Some(Size { bytes, like: format!("it is on {hostname}") });
        }
        let history = &self.known.facts.history;
        let is_it = |one: &Released| pinned(&one.release.image, &one.release.digest) == image;
        let owner = history.iter().rev().find(|one| is_it(one))?;
        let of_it = |one: &&Released| {
            (&one.release.app, &one.release.container) == (&owner.release.app, &owner.release.container) && !is_it(one)
        };
        history.iter().rev().filter(of_it).find_map(|one| {
            let before = pinned(&one.release.image, &one.release.digest);
            let (_, bytes) = stored(&familiar(&before))?;
            Some(Size { bytes, like: format!("{} before it", image::shown(&before)) })
        })
    }

    /// The names of every release on record.
    fn names(&self) -> BTreeSet<String> {
        let name = |one: &Released| familiar(&pinned(&one.release.image, &one.release.digest));
        self.known.facts.history.iter().map(name).collect()
    }

    /// The images of ours that nothing needs, the one that was used longest ago first.
    fn olds(&self) -> Vec<Old> {
        let (own, needed) = (self.names(), self.needed());
        let mut olds = self.earlier();
        olds.retain(|old| {
            let name = familiar(&old.image);
            let seen = self.engine.stored.iter().find(|(_, image)| image.names.contains(&name));
            seen.is_some_and(|(id, image)| !needed.contains(id.as_str()) && is_own(image, &own))
        });
        olds.sort_by(|a, b| (a.used, &a.image).cmp(&(b.used, &b.image)));
        olds
    }

    /// The ids of the images that a container on the engine is made from, or is to be.
    fn needed(&self) -> BTreeSet<&str> {
        let Known { desired, facts, .. } = *self.known;
        let here = desired.apps.iter().filter(|app| app.is_docker() && app.layer == self.layer.short_name);
        let declared = here.flat_map(|app| app.containers.iter().map(move |container| (app, container)));
        let wanted = declared.flat_map(|(app, container)| {
            let released = facts.releases.get(&(app.name.clone(), container.name.clone()));
            let fixed = released.map(|one| pinned(&one.release.image, &one.release.digest));
            fixed.into_iter().chain([container.image.clone()])
        });
        let is_there = |image: String| self.engine.images.get(&image).map(String::as_str);
        let made_from = self.engine.containers.values().map(|container| container.image_id.as_str());
        made_from.chain(wanted.filter_map(is_there)).collect()
    }

    /// Every release on record but the current ones: of each image, how it was used last.
    fn earlier(&self) -> Vec<Old> {
        let Known { desired, facts, now, .. } = *self.known;
        let mut of_each: BTreeMap<(&str, &str), Vec<&Released>> = BTreeMap::new();
        for one in &facts.history {
            of_each.entry((&one.release.app, &one.release.container)).or_default().push(one);
        }
        let is_declared = |app: &str, container: &str| {
            let here = desired.apps.iter().filter(|it| it.is_docker() && it.layer == self.layer.short_name);
            here.filter(|it| it.name == app).any(|it| it.containers.iter().any(|one| one.name == container))
        };
        let mut last: BTreeMap<String, Old> = BTreeMap::new();
        for ((app, container), releases) in of_each {
            // The newest first, each with the time at which the next one took its place.
            let current = is_declared(app, container);
            let newest = releases.last().map(|one| if current { now } else { one.since });
            let until = newest.into_iter().chain(releases.iter().rev().map(|one| one.since));
            let mut ranks: Vec<String> = Vec::new();
            for (one, used) in releases.iter().rev().zip(until) {
                let image = pinned(&one.release.image, &one.release.digest);
                let rank = ranks.iter().position(|it| *it == image).unwrap_or_else(|| {
                    ranks.push(image.clone());
                    ranks.len() - 1
                }) + usize::from(!current);
                let old = last.entry(image.clone()).or_insert(Old { image, rank, used });
                (old.rank, old.used) = (old.rank.min(rank), old.used.max(used));
            }
        }
        // What an operator goes back to is about to be the current one.
        let backs: BTreeSet<String> =
            facts.wishes.iter().filter_map(|wish| wish.back()).map(|back| pinned(&back.image, &back.digest)).collect();
        last.into_values().filter(|old| old.rank > 0 && !backs.contains(&old.image)).collect()
    }

    /// What goes as a matter of course: by number and by age, and whatever could go once the disk is nearly full, except
    /// the release that is the first to be gone back to.
    pub(super) fn tidy(&self) -> Vec<EngineAction> {
        let upkeep = &self.layer.upkeep;
        let is_filling = self.engine.disk.is_some_and(|disk| disk.used_percent() >= upkeep.warn_at);
        let keep = usize::try_from(upkeep.keep).unwrap_or(usize::MAX);
        let keep = if is_filling { keep.min(1) } else { keep };
        let is_over =
            |old: &Old| old.rank > keep || self.known.now.duration_since(old.used).unsigned_abs() > upkeep.max_age;
        let over = self.olds().into_iter().filter(is_over);
        over.map(|old| EngineAction::RemoveImage { image: old.image }).collect()
    }

    /// That the disk is nearly full.
    pub(super) fn warning(&self) -> Option<Condition> {
        let disk = self.engine.disk?;
        let used = disk.used_percent();
        (used >= self.layer.upkeep.warn_at).then(|| Condition {
            kind: Kind::DiskFilling,
            subject: self.hostname.to_owned(),
            message: format!(
                "{used}% of the disk under its images and containers is in use, {} of {} are free \
                 (docker.disk.warnAt: {}%). Look for what grows there, logs and volumes for instance; {}",
                in_words(disk.free),
                in_words(disk.total),
                self.layer.upkeep.warn_at,
                self.advice()
            ),
        })
    }
}

impl Facts {
    /// A pull that was refused for want of room is tried again as soon as there is clearly more than when it was begun:
    /// somebody has made some, or what was known then was old.
    pub(super) fn note_room(&mut self, seen: &Observed) {
        self.free.retain(|hostname, _| seen.engines.contains_key(hostname));
        for (hostname, engine) in &seen.engines {
            let Some(free) = engine.known().and_then(|engine| engine.disk).map(|disk| disk.free) else { continue };
            let had = self.free.entry(hostname.clone()).or_insert(free);
            let on = format!("{hostname}: ");
            let lacks =
                |(key, failure): (&String, &Failure)| failure.trouble.class == Class::NoRoom && key.starts_with(&on);
            if !self.failures.iter().any(lacks) {
                *had = free;
            } else if free > had.saturating_add(MORE.max(*had / 10)) {
                *had = free;
                self.made_room(hostname);
            }
        }
    }
}

impl Size {
    /// While it is unpacked, what was downloaded is there as well: less than half of it, as a rule.
    fn need(&self) -> u64 {
        self.bytes.saturating_add(self.bytes / 2)
    }
}

fn is_own(image: &ImageSeen, own: &BTreeSet<String>) -> bool {
    !image.names.is_empty() && image.names.is_subset(own)
}

/// The key of a pull.
fn pull_key(hostname: &str, image: &str) -> String {
    format!("{hostname}: pull {}", image::shown(image))
}

impl Room {
    /// Plans what makes room, or tells that there is none. True when the image can be pulled now.
    pub(super) fn make(&self, plan: &mut Plan, node: &Node, image: &str, facts: &Facts, now: Timestamp) -> bool {
        let on_node = |what: EngineAction| Action::Engine { node: node.clone(), what };
        let (actions, on) = match self {
            Room::Enough => return true,
            Room::Soon { actions, on } => (actions, on.clone()),
            Room::Lacks { stuck, condition, .. } => {
                plan.conditions.push(condition.clone());
                (stuck, format!("room for image {}", image::shown(image)))
            }
        };
        plan.hold(&node.hostname, on, None);
        for what in actions {
            plan.attempt(&node.hostname, on_node(what.clone()), facts, now);
        }
        // What the engine said is not forgotten meanwhile; and as nobody knows better, it is asked again now and then.
        let key = pull_key(&node.hostname, image);
        if let (Room::Lacks { may_retry: true, .. }, Some(failure)) = (self, facts.failures.get(&key))
            && failure.retry_at <= now
        {
            plan.actions.push(on_node(EngineAction::Pull { image: image.to_owned() }));
        }
        plan.wanted.insert(key);
        false
    }
}
