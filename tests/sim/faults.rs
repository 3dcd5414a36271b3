//! What goes wrong, whoever is the provider.

use std::collections::BTreeMap;

use evenkeel::world::{ContainerSeen, State};

use crate::{
    driver::Sim,
    real::Fate,
    scene::{Scene, edited},
    watch::live,
};

pub fn a_host(sim: &mut Sim) -> Option<(String, Option<String>)> {
    let hosts: Vec<_> = live(&sim.real).iter().map(|i| (i.hostname.clone(), i.ec2_id.clone())).collect();
    if hosts.is_empty() {
        return None;
    }
    let at = sim.dice.below(hosts.len() as u64) as usize;
    Some(hosts[at].clone())
}

/// One fault, or one change of mind.
pub fn inject(sim: &mut Sim, scene: Scene) {
    let now = sim.real.now;
    match sim.dice.below(17) {
        0 => sim.crash(),
        1 | 2 => {
            sim.haze.cloud_lag = sim.dice.between(0, 9_000);
            sim.haze.balancer_lag = sim.dice.between(0, 9_000);
            sim.haze.until = now + sim.dice.between(5_000, 40_000);
            sim.say("(reads from the past)");
        }
        3 => {
            let part = sim.dice.of(&["stack", "layers", "instances", "apps", "attached", "balancers"]).to_owned();
            sim.say(format_args!("({part} cannot be read)"));
            sim.haze.blind.insert(part);
            sim.haze.refused = sim.dice.one_in(2);
            sim.haze.until = sim.haze.until.max(now + sim.dice.between(3_000, 30_000));
        }
        4 | 5 => {
            let Some((hostname, ec2_id)) = a_host(sim) else { return };
            let what = match sim.dice.below(6) {
                0 => "layer".to_owned(),
                1 => "app".to_owned(),
                2 => "stack".to_owned(),
                3 => hostname,
                _ => ec2_id.unwrap_or(hostname),
            };
            sim.say(format_args!("(one read misses {what})"));
            sim.haze.flicker = Some(what);
        }
        6 => {
            let Some((hostname, _)) = a_host(sim) else { return };
            let name = sim.dice.of(&["redis0", "app0", "app1", "worker0", "haproxy0", "nginx0"]).to_owned();
            let removed = sim.dice.one_in(2);
            if sim.real.engine(&hostname).is_some_and(|e| e.containers.contains_key(&name)) {
                sim.say(format_args!("({hostname}/{name} {})", if removed { "is removed by hand" } else { "dies" }));
                sim.real.kill(&hostname, &name, removed);
            }
        }
        7 => {
            let Some((hostname, Some(ec2_id))) = a_host(sim) else { return };
            deregister(sim, &hostname, &ec2_id);
        }
        8 => {
            let Some((hostname, Some(ec2_id))) = a_host(sim) else { return };
            let until = now + sim.dice.between(20_000, 150_000);
            sim.say(format_args!("({hostname} will be stuck registering or draining)"));
            sim.real.stuck.insert(ec2_id, until);
        }
        9 => {
            let Some((hostname, _)) = a_host(sim) else { return };
            let until = now + sim.dice.between(2_000, 60_000);
            sim.say(format_args!("(the engine of {hostname} hangs)"));
            sim.real.hung.insert(hostname, until);
        }
        10 | 11 => {
            let name = if scene == Scene::Lone { "app" } else { sim.dice.of(&["app", "redis", "nginx", "worker"]) };
            let image = format!("{name}:{}", sim.dice.between(2, 3));
            let all = [Fate::Unhealthy, Fate::Hangs, Fate::Exits, Fate::Slow, Fate::Dies];
            let fate = all[sim.dice.below(5) as usize];
            sim.say(format_args!("({image}: {fate:?})"));
            sim.real.fates.insert(image, fate);
        }
        12 => {
            let Some((hostname, _)) = a_host(sim) else { return };
            if sim.real.instances().iter().any(|i| i.hostname == hostname && i.status == "online") {
                sim.say(format_args!("({hostname} is lost)"));
                sim.real.lose_instance(&hostname);
            }
        }
        13 => suspend(sim),
        14 => empty(sim, scene),
        _ => edit(sim, scene),
    }
}

pub fn suspend(sim: &mut Sim) {
    let text = sim.text.replace("  region:", "  suspend: true\n  region:");
    if !sim.text.contains("suspend") {
        sim.declare(&text);
        sim.say("(suspended)");
    }
}

pub fn empty(sim: &mut Sim, scene: Scene) {
    let stack = scene.text().split("---").next().unwrap_or_default().to_owned();
    sim.declare(&stack);
    sim.say("(nothing is declared)");
}

pub fn edit(sim: &mut Sim, scene: Scene) {
    let text = edited(sim, scene);
    sim.declare(&text);
    sim.tell_declared();
}

pub fn deregister(sim: &mut Sim, hostname: &str, ec2_id: &str) {
    sim.say(format_args!("({hostname} is deregistered by hand)"));
    sim.real.excuse(hostname);
    let balancers: Vec<String> = sim.real.balancers().map(|(name, _)| name.clone()).collect();
    for balancer in balancers {
        if let Some(targets) = sim.real.targets_mut(&balancer) {
            targets.remove(ec2_id);
        }
    }
    sim.real.drain_began.retain(|(_, id), _| *id != ec2_id);
}

/// A container that is not ours on every instance.
pub fn strangers(sim: &mut Sim) {
    let hosts: Vec<String> = sim.real.instances().iter().map(|i| i.hostname.clone()).collect();
    for hostname in hosts {
        let foreign = ContainerSeen {
            id: format!("foreign-{hostname}"),
            labels: BTreeMap::new(),
            state: State::Running,
            image: "foreign".into(),
            image_id: "foreign".into(),
            restarts: 0,
            health: None,
            started_at: None,
            finished_at: None,
            says: BTreeMap::new(),
            secrets: BTreeMap::new(),
            last_words: None,
        };
        if let Some(engine) = sim.real.engine_mut(&hostname) {
            engine.containers.insert("theirs".into(), foreign);
        }
    }
}
