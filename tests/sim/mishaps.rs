//! What goes wrong on EC2.

use crate::{
    driver::Sim,
    faults::{a_host, deregister, edit, empty, suspend},
    real::{Fate, is_live},
    scene::Scene,
    watch::live,
};

/// An instance that is there.
fn an_instance(sim: &mut Sim) -> Option<(String, String)> {
    let all: Vec<_> = live(&sim.real).iter().map(|i| (i.id.clone(), i.hostname.clone())).collect();
    if all.is_empty() {
        return None;
    }
    let at = sim.dice.below(all.len() as u64) as usize;
    Some(all[at].clone())
}

/// One fault, or one change of mind.
pub fn inject(sim: &mut Sim, scene: Scene) {
    let now = sim.real.now;
    match sim.dice.below(24) {
        0 | 1 => sim.crash(),
        2..=4 => {
            sim.haze.cloud_lag = sim.dice.between(0, 30_000);
            sim.haze.volume_lag = if sim.dice.one_in(2) { sim.haze.cloud_lag } else { sim.dice.between(0, 30_000) };
            sim.haze.balancer_lag = sim.dice.between(0, 9_000);
            sim.haze.until = now + sim.dice.between(5_000, 60_000);
            sim.say("(reads from the past)");
        }
        5 => {
            let part = sim.dice.of(&["instances", "volumes", "subnets", "images", "balancers"]).to_owned();
            sim.say(format_args!("({part} cannot be read)"));
            sim.haze.blind.insert(part);
            sim.haze.refused = sim.dice.one_in(2);
            sim.haze.until = sim.haze.until.max(now + sim.dice.between(3_000, 60_000));
        }
        6 | 7 => {
            let Some((id, hostname)) = an_instance(sim) else { return };
            let volume = sim.real.volumes().last().map(|volume| volume.id.clone());
            let what = match sim.dice.below(3) {
                0 => volume.unwrap_or(id),
                1 => hostname,
                _ => id,
            };
            sim.say(format_args!("(one read misses {what})"));
            sim.haze.flicker = Some(what);
        }
        8 => {
            let Some((hostname, Some(ec2_id))) = a_host(sim) else { return };
            if sim.dice.one_in(2) {
                let until = now + sim.dice.between(20_000, 150_000);
                sim.say(format_args!("({hostname} will be stuck registering or draining)"));
                sim.real.stuck.insert(ec2_id, until);
            } else {
                deregister(sim, &hostname, &ec2_id);
            }
        }
        9 | 10 => {
            let Some((_, hostname)) = an_instance(sim) else { return };
            let until = now + if sim.dice.one_in(2) { sim.dice.between(2_000, 60_000) } else { 500_000 };
            let frozen = sim.dice.one_in(3);
            let what = if frozen { "is frozen" } else { "has a silent engine" };
            sim.say(format_args!("({hostname} {what} for {}s)", (until - now) / 1000));
            if frozen {
                sim.real.excuse(&hostname);
                sim.real.cloud.frozen.insert(hostname.clone(), until);
            }
            sim.real.hung.insert(hostname, until);
        }
        11 => {
            let until = now + if sim.dice.one_in(2) { sim.dice.between(2_000, 60_000) } else { 500_000 };
            sim.say(format_args!("(no engine can be reached for {}s)", (until - now) / 1000));
            sim.real.cloud.dark = until;
        }
        12 | 13 => {
            let image = format!("web:{}", sim.dice.between(2, 3));
            let name = sim.dice.of(&["app", "redis", "nginx", "worker"]);
            let image = if scene == Scene::Ec2Shop { format!("{name}:{}", sim.dice.between(2, 3)) } else { image };
            let all = [Fate::Unhealthy, Fate::Hangs, Fate::Exits, Fate::Slow, Fate::Dies];
            let fate = all[sim.dice.below(5) as usize];
            sim.say(format_args!("({image}: {fate:?})"));
            sim.real.fates.insert(image, fate);
        }
        14 | 15 => {
            let Some((id, hostname)) = an_instance(sim) else { return };
            sim.say(format_args!("({hostname} is terminated by hand)"));
            sim.real.terminate_by_hand(&id, &mut sim.dice);
        }
        16 => {
            let Some((id, hostname)) = an_instance(sim) else { return };
            sim.say(format_args!("({hostname} is stopped by hand)"));
            sim.real.stop_by_hand(&id, &mut sim.dice);
        }
        17 => {
            let Some((id, hostname)) = an_instance(sim) else { return };
            let until = now + sim.dice.between(30_000, 600_000);
            sim.say(format_args!("(EC2 says that {hostname} is impaired, for {}s)", (until - now) / 1000));
            let (_, end) = sim.real.cloud.impaired.entry(id).or_insert((now, until));
            *end = until.max(*end);
        }
        18 => {
            let Some((id, hostname)) = an_instance(sim) else { return };
            sim.say(format_args!("(a volume of {hostname} is detached by hand)"));
            sim.real.detach_by_hand(&id);
        }
        19 => {
            let zone = sim.dice.of(&["zone-a", "zone-b"]).to_owned();
            let until = now + sim.dice.between(30_000, 300_000);
            sim.say(format_args!("({zone} is full)"));
            sim.real.cloud.full.insert(zone, until);
        }
        20 => {
            sim.storm_until = now + sim.dice.between(10_000, 60_000);
            sim.say("(AWS refuses, or gives no answer)");
        }
        21 => {
            let Some((_, hostname)) = an_instance(sim) else { return };
            let names = sim.real.engine(&hostname).map(|engine| {
                let live = engine.containers.iter().filter(|(_, container)| is_live(container));
                live.map(|(name, _)| name.clone()).collect::<Vec<_>>()
            });
            let Some(name) = names.and_then(|names| names.first().cloned()) else { return };
            let removed = sim.dice.one_in(2);
            sim.say(format_args!("({hostname}/{name} {})", if removed { "is removed by hand" } else { "dies" }));
            sim.real.kill(&hostname, &name, removed);
        }
        22 if sim.dice.one_in(4) => suspend(sim),
        22 if sim.dice.one_in(4) => empty(sim, scene),
        _ => edit(sim, scene),
    }
}

/// Nothing goes wrong any more, and people do what the conditions ask them for.
pub fn peace(sim: &mut Sim) {
    sim.storm_until = 0;
    sim.real.cloud.dark = 0;
    sim.real.cloud.full.clear();
    sim.real.cloud.frozen.clear();
    let now = sim.real.now;
    for (_, until) in sim.real.cloud.impaired.values_mut() {
        *until = now.min(*until);
    }
    let broken: Vec<String> =
        live(&sim.real).iter().map(|i| i.id.clone()).filter(|id| sim.real.lacks_a_volume(id)).collect();
    for id in broken {
        sim.say(format_args!("({id} lacks a volume, and is terminated by hand)"));
        sim.real.terminate_by_hand(&id, &mut sim.dice);
    }
}
