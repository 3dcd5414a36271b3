//! OpsWorks: stack, layers, apps and attached load balancers as declared, and as many instances.

mod databases;
mod instances;
mod scaling;
mod stack;

use jiff::Timestamp;

pub use stack::{app_settings, layer_settings, stack_settings};

use super::{Facts, Plan};
use crate::{
    spec::Desired,
    world::{Observed, OpsWorks},
};

pub(super) fn plan(
    plan: &mut Plan,
    desired: &Desired,
    cloud: &OpsWorks,
    seen: &Observed,
    facts: &Facts,
    now: Timestamp,
) {
    stack::plan(plan, desired, cloud, seen, facts, now);
    scaling::plan(plan, desired, cloud, seen, facts, now);
    instances::plan(plan, desired, cloud, seen, facts, now);
}
