//! The registry: it has every tag that is declared; tags move, and it does not always answer.

use std::collections::BTreeMap;

use evenkeel::{
    action::{Release, Wish, WishKind},
    plan::Released,
    spec::{Desired, image},
    world::{Class, Seen},
};

use crate::{
    dice::Dice,
    driver::Sim,
    real::{Real, refuse},
    trial::{first_digest, operator::Operator},
};

/// See the module.
#[derive(Clone, Default)]
pub struct Registry {
    /// How often a tag was moved.
    moved: BTreeMap<String, u64>,
}

impl Registry {
    /// What a tag stands for.
    pub fn digest(&self, image: &str) -> String {
        match self.moved.get(image) {
            Some(times) => first_digest(&format!("{image} {times}")),
            None => first_digest(image),
        }
    }

    pub fn move_tag(&mut self, image: &str) {
        *self.moved.entry(image.to_owned()).or_default() += 1;
    }
}

impl Real {
    /// What it says of every tag that is declared: nothing before an engine can ask it.
    pub fn registry(&self, desired: &Desired, asked: bool) -> BTreeMap<String, Seen<String>> {
        if !asked {
            return BTreeMap::new();
        }
        let images = desired.apps.iter().flat_map(|app| &app.containers).map(|container| &container.image);
        let says = |image: &String| match self.registry_down > self.now {
            true => Seen::Unknown(refuse(Class::Transient, "the registry does not answer")),
            false => Seen::Known(self.registry.digest(image)),
        };
        images.map(|image| (image.clone(), says(image))).collect()
    }
}

impl Sim {
    /// A release is on record: a crash does not lose it.
    pub fn put_on_record(&mut self, release: &Release) {
        let key = (release.app.clone(), release.container.clone());
        self.operator.record(release, self.real.clock());
        self.releases.insert(key, Released { release: release.clone(), since: self.real.clock() });
    }

    /// Something befalls the registry, or what is on record.
    pub fn registry_fault(&mut self) {
        match self.dice.below(3) {
            0 => {
                self.releases.clear();
                self.migrated.clear();
                self.operator = Operator::default();
                self.note_wishes();
                // Only what is kept on an instance tells of it now.
                self.real.migrated.clear();
                self.real.recorded.clear();
                self.say("(the store is lost: no release is on record)");
            }
            _ => {
                let images: Vec<String> =
                    self.desired.apps.iter().flat_map(|app| &app.containers).map(|c| c.image.clone()).collect();
                if images.is_empty() {
                    return;
                }
                let image = images[usize::try_from(self.dice.below(images.len() as u64)).unwrap_or(0)].clone();
                self.real.registry.move_tag(&image);
                self.say(format!("(the tag {image} moves)"));
            }
        }
    }

    /// Somebody asks for something.
    pub fn ask(&mut self, word: &str, subject: &str) {
        // As soon as it is seen, and not when the next try is due.
        self.mind.facts.failures.clear();
        self.mind.wakes = self.mind.wakes.min(self.real.now + 1_000);
        let now = self.real.clock();
        if self.operator.ask(word, subject, &self.desired, now).is_ok() {
            self.say(format_args!("(asked: {word} {subject})"));
            self.note_wishes();
        }
    }

    pub fn note_wishes(&mut self) {
        let paused = self.operator.wishes.iter().filter(|wish| wish.kind == WishKind::Pause);
        self.real.paused = paused.map(|wish| wish.app.clone()).collect();
        let back = |wish: &Wish| Some((wish.container.clone()?, wish.back()?.image.clone()));
        self.real.backs = self.operator.wishes.iter().filter_map(back).collect();
    }

    /// Somebody asks for anything at all.
    pub fn whim(&mut self) {
        let apps = &self.desired.apps;
        let names: Vec<(String, Vec<String>)> = apps
            .iter()
            .map(|app| (app.name.clone(), app.containers.iter().map(|c| c.name.clone()).collect()))
            .collect();
        if names.is_empty() {
            return;
        }
        let pick = |dice: &mut Dice, len: usize| usize::try_from(dice.below(len as u64)).unwrap_or(0);
        let (app, containers) = &names[pick(&mut self.dice, names.len())];
        let word = ["deploy", "rollback", "pause", "resume"][pick(&mut self.dice, 4)];
        let of_one = matches!(word, "deploy" | "rollback") && !containers.is_empty() && self.dice.one_in(2);
        let subject =
            if of_one { format!("{app}/{}", containers[pick(&mut self.dice, containers.len())]) } else { app.clone() };
        self.ask(word, &subject);
    }

    /// Nobody asks for anything any more, but for what is declared.
    pub fn go_on(&mut self) {
        let apps: Vec<String> = self.desired.apps.iter().map(|app| app.name.clone()).collect();
        self.operator.wishes.retain(|wish| apps.contains(&wish.app));
        let backs: Vec<String> =
            self.operator.wishes.iter().filter(|wish| wish.word() == "rollback").map(Wish::subject).collect();
        for subject in backs {
            self.ask("deploy", &subject);
        }
        for app in apps {
            self.ask("resume", &app);
            self.ask("deploy", &app);
        }
    }

    /// The image is what is declared, and what that tag stands for.
    pub fn is_as_declared(&self, declared: &str, image: &str) -> bool {
        image::tagged(image) == declared && image::digest(image) == Some(self.real.registry.digest(declared).as_str())
    }
}
