//! Who is in charge, by which clock, and of what: revisions of the manifests, the lease, one controller after the other.

use std::time::Duration;

use evenkeel::{
    action::Action,
    spec::{File, validate},
};

use crate::{defect::Defect, driver::Sim, mind::Mind};

impl Sim {
    /// A new revision. One that is refused changes nothing; one that has nothing of the stack lets go of it.
    pub fn declare(&mut self, text: &str) {
        if text == self.text {
            return;
        }
        self.revision += 1;
        self.text = text.to_owned();
        let file = File::new("manifest.yaml", text.as_bytes().to_vec());
        let stacks = match validate::load(&format!("r{}", self.revision), vec![file]) {
            Ok(stacks) => stacks,
            Err(problems) => {
                self.invalid = true;
                return self.say(format_args!("(refused: {})", problems.first().map_or("", |it| it.message.as_str())));
            }
        };
        self.invalid = false;
        match stacks.into_values().next() {
            Some(desired) => {
                let before = std::mem::replace(&mut self.desired, desired);
                self.before = Some(before).filter(|_| self.defect == Some(Defect::OldRevision) && self.dice.one_in(2));
                self.mind.blank = false;
                self.mind.facts.failures.clear();
            }
            None => {
                self.say("(the stack is not declared any more)");
                self.replace_mind();
                self.mind.blank = true;
            }
        }
        self.mind.wakes = self.real.now;
    }

    /// Tells what is declared now.
    pub fn tell_declared(&mut self) {
        if !self.telling {
            return;
        }
        let layer = &self.desired.stack.layers[0];
        let (count, of) = (layer.instances.count, layer.instances.instance_type.clone());
        let images = self.desired.apps.iter().flat_map(|app| &app.containers).map(|container| container.image.as_str());
        let images = images.collect::<Vec<_>>().join(" ");
        self.say(format_args!("(edited: {count} of {of}, {images})"));
    }

    /// Whether what is declared is not what anybody wants for long.
    pub fn is_odd(&self) -> bool {
        self.invalid || self.mind.blank || self.desired.stack.suspend || self.desired.apps.is_empty()
    }

    /// The controller is asked to end, and another one is begun at once: it has no lease before the first has ended.
    pub fn hand_over(&mut self) {
        self.say("(another controller begins, and this one is asked to end)");
        self.leaves_at = Some(self.real.now + 8_000);
        self.another = true;
    }

    /// Whoever was asked to end begins nothing more, and is gone once everything under way has ended, or its patience.
    pub fn leaves(&mut self) -> bool {
        let Some(at) = self.leaves_at else { return false };
        if self.mind.running.is_empty() || at <= self.real.now {
            self.replace_mind();
            self.say("(it has ended, and the other one has the lease)");
            return false;
        }
        true
    }

    /// A pass of a controller that does not ask for the lease.
    pub fn rival(&mut self) {
        let mind = std::mem::replace(&mut self.mind, Mind::at_first());
        self.has_lease = false;
        self.pass();
        self.has_lease = true;
        self.mind = mind;
    }

    /// Whose hand it is: nobody's who has no lease, and no older revision's than one that was applied.
    pub fn judge_hand(&mut self, action: &Action, revision: &str) {
        if !self.has_lease {
            self.real.violate(format!("{action}, without the lease"));
        }
        let revision = revision.trim_start_matches('r').parse().expect("rN");
        if revision < self.applied {
            self.real.violate(format!("{action}, from revision {revision}, after {}", self.applied));
        }
        self.applied = revision;
    }

    /// How far the controller's clock is from the true one.
    pub fn off(&self) -> (Duration, bool) {
        (Duration::from_millis(self.mind.skew.unsigned_abs()), self.mind.skew < 0)
    }
}
