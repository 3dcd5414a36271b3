//! Where a run begins, and what is declared in it.

use crate::{EC2, SHOP, driver::Sim};

/// Where a run begins and what is declared at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scene {
    /// Two instances, one of which serves at any time.
    Shop,
    /// Three, two of which may be out; the worker starts first.
    Three,
    /// One instance whose replicas are swapped in place.
    Lone,
    /// Two, from nothing at all.
    Fresh,
    /// The shop on EC2 behind a target group; volumes are taken over.
    Ec2Shop,
    /// Three on EC2, two of which may be out.
    Ec2Three,
    /// Two on EC2, from nothing at all.
    Ec2Fresh,
    /// Two on EC2 that are to be replaced; volumes are taken over.
    Ec2Refresh,
}

/// What an edit chooses.
struct Choice {
    web: u64,
    instance_type: &'static str,
    ami: u64,
    count: u64,
    group: u64,
    gib: u64,
}

impl Scene {
    pub const ALL: [Scene; 8] = [
        Scene::Shop,
        Scene::Three,
        Scene::Lone,
        Scene::Fresh,
        Scene::Ec2Shop,
        Scene::Ec2Three,
        Scene::Ec2Fresh,
        Scene::Ec2Refresh,
    ];

    pub fn of(seed: u64) -> Scene {
        [
            Scene::Ec2Refresh,
            Scene::Three,
            Scene::Ec2Shop,
            Scene::Shop,
            Scene::Ec2Three,
            Scene::Lone,
            Scene::Ec2Fresh,
            Scene::Fresh,
        ][(seed % 8) as usize]
    }

    pub fn is_fresh(self) -> bool {
        matches!(self, Scene::Fresh | Scene::Ec2Fresh)
    }

    pub fn on_ec2(self) -> bool {
        matches!(self, Scene::Ec2Shop | Scene::Ec2Three | Scene::Ec2Fresh | Scene::Ec2Refresh)
    }

    pub fn text(self) -> String {
        let migrating = || SHOP.replace("healthCheck: {exec: up}}", "healthCheck: {exec: up}, migration: migrate}");
        match self {
            Scene::Shop => SHOP.to_owned(),
            Scene::Fresh => migrating(),
            Scene::Three => {
                let starts_first = migrating().replace("traffic: false", "strategy: startFirst");
                starts_first.replace("count: 2", "count: 3").replace("maxUnavailable: 1", "maxUnavailable: 2")
            }
            Scene::Lone => SHOP.replace("count: 2", "count: 1"),
            Scene::Ec2Shop => {
                let (stack, _) = EC2.split_once("---\n").expect("two documents");
                let migrating = migrating();
                let (_, app) = migrating.split_once("---\n").expect("two documents");
                let stack = stack.replace("reuse: false", "reuse: true");
                format!("{}---\n{app}", stack.replace("name: hello", "name: shop"))
            }
            // What is silent for long is so within the length of a run.
            Scene::Ec2Three => EC2
                .replace("count: 2", "count: 3")
                .replace("maxUnavailable: 1", "maxUnavailable: 2")
                .replace("healAfter: 5m", "healAfter: 2m"),
            Scene::Ec2Fresh => EC2.to_owned(),
            Scene::Ec2Refresh => EC2.replace("reuse: false", "reuse: true"),
        }
    }

    /// What is declared in the end, of which nothing has failed before.
    pub fn last(self) -> String {
        if self == Scene::Lone {
            return self.text().replace("\"app:1\"", "\"app:4\"");
        }
        let text = self.text().replace(":1\"", ":4\"");
        match self {
            // Everything that is launched is launched for good.
            Scene::Ec2Fresh => text,
            _ => text.replace("t3.small", "t3.xlarge").replace("120GiB", "140GiB"),
        }
    }

    fn with(self, choice: &Choice) -> String {
        let count = self.text().split("count: ").nth(1).and_then(|rest| rest.get(..1)).expect("a count").to_owned();
        self.text()
            .replace("t3.small", choice.instance_type)
            .replace("ami-00000001", &format!("ami-0000000{}", choice.ami))
            .replace(&format!("count: {count}"), &format!("count: {}", choice.count))
            .replace("sg-1", &format!("sg-{}", choice.group))
            .replace("120GiB", &format!("{}GiB", choice.gib))
            .replace("\"web:1\"", &format!("\"web:{}\"", choice.web))
    }
}

/// A new revision of what is declared.
pub fn edited(sim: &mut Sim, scene: Scene) -> String {
    let text = if sim.real.on_ec2() { edited_stack(sim, scene) } else { scene.text() };
    let number = sim.dice.between(1, 3).to_string();
    let to = |text: String, name: &str| text.replace(&format!("\"{name}:1\""), &format!("\"{name}:{number}\""));
    if scene == Scene::Lone {
        return to(text, "app");
    }
    match sim.dice.below(8) {
        0 => to(text, "app"),
        1 => to(text, "redis"),
        2 => to(to(to(text, "app"), "redis"), "nginx"),
        3 => to(to(text, "haproxy"), "worker"),
        4 => to(text, "nginx"),
        5 => text,
        6 => to(text, "worker"),
        _ => to(to(text, "app"), "worker"),
    }
}

/// Another type, image, number of instances, security group, size of the volumes: some of it.
fn edited_stack(sim: &mut Sim, scene: Scene) -> String {
    let dice = &mut sim.dice;
    let count = if scene == Scene::Ec2Three { 3 } else { 2 };
    let often = if scene == Scene::Ec2Refresh { 2 } else { 5 };
    let mut choice = Choice { web: dice.between(1, 3), instance_type: "t3.small", ami: 1, count, group: 1, gib: 120 };
    if dice.one_in(often) {
        choice.instance_type = "t3.large";
    }
    if dice.one_in(often * 2) {
        choice.ami = dice.between(2, 3);
    }
    if dice.one_in(4) {
        choice.count = dice.between(2, count + 1);
    }
    if dice.one_in(8) {
        choice.group = 2;
    }
    if dice.one_in(8) {
        choice.gib = 130;
    }
    scene.with(&choice)
}
