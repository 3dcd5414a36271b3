//! What goes wrong with the controller itself, its clock, its source of manifests, the registry and the pace of engines;
//! and what operators ask for in the middle of it.

use crate::{driver::Sim, faults::a_host};

/// One of it.
pub fn inject(sim: &mut Sim) {
    let now = sim.real.now;
    match sim.dice.below(13) {
        0 => sim.hand_over(),
        1 => {
            let by = if sim.dice.one_in(2) { sim.dice.between(1, 20) } else { sim.dice.between(60, 900) };
            let forward = sim.dice.one_in(2);
            sim.say(format_args!("(the clock jumps {} by {by}s)", if forward { "forward" } else { "back" }));
            let by = i64::try_from(by).expect("seconds") * 1_000;
            sim.skew = if forward { by } else { -by };
            if sim.dice.one_in(2) {
                sim.crash();
            }
        }
        2 => {
            // A key that nobody knows: the whole revision is refused.
            let text = sim.text.replace("  region:", "  regoin: eu-west-1\n  region:");
            sim.declare(&text);
            if sim.dice.one_in(3) {
                sim.crash();
            }
        }
        3 => {
            sim.declare("");
        }
        4 => {
            sim.real.registry_down = now + sim.dice.between(10_000, 120_000);
            sim.say("(the registry gives no answer)");
        }
        5 => {
            let Some((hostname, _)) = a_host(sim) else { return };
            let until = now + sim.dice.between(10_000, 90_000);
            sim.say(format_args!("(the engine of {hostname} is slow)"));
            sim.slow.insert(hostname, until);
        }
        6 => {
            let rest = sim.dice.between(0, 1);
            sim.say("(one read misses a page)");
            sim.haze.page = usize::try_from(rest).ok();
        }
        7 => {
            sim.storm_until = now + sim.dice.between(10_000, 60_000);
            sim.say("(AWS refuses, or gives no answer)");
        }
        8 | 9 => sim.whim(),
        _ => sim.registry_fault(),
    }
}
