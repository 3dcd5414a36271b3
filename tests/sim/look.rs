//! How a look at the world can mislead: what gives no answer, what is told as it was, what one read misses.

use std::collections::BTreeSet;

use evenkeel::world::{Class, Observed, Rest, Seen, Trouble};

use crate::{
    driver::Sim,
    real::{Ms, refuse},
};

/// What a look misses, or is told wrongly.
#[derive(Clone, Default)]
pub struct Haze {
    pub cloud_lag: Ms,
    /// On EC2, of the volumes, which are another call.
    pub volume_lag: Ms,
    pub balancer_lag: Ms,
    pub until: Ms,
    /// Parts that give no answer: `stack`, `layers`, `instances`, `apps`, `attached`, `databases`, `balancers`; on EC2 `instances`,
    /// `volumes`, `subnets`, `images`, `balancers`.
    pub blind: BTreeSet<String>,
    /// What gives no answer refuses one: access denied.
    pub refused: bool,
    /// The next look misses this one thing.
    pub flicker: Option<String>,
    /// The last look missed something: the next one sees it again. That something is gone is taken from two looks.
    missed: bool,
    /// The next look gets so many of each list, and takes them for all.
    pub page: Option<usize>,
}

/// A part of what the provider tells gives no answer.
fn blind(rest: &mut Rest, part: &str, trouble: &Trouble) {
    match rest {
        Rest::OpsWorks(cloud) => match part {
            "stack" => cloud.stack = Seen::Unknown(trouble.clone()),
            "layers" => cloud.layers = Seen::Unknown(trouble.clone()),
            "apps" => cloud.apps = Seen::Unknown(trouble.clone()),
            "databases" => cloud.databases = Seen::Unknown(trouble.clone()),
            _ => cloud.attached = Seen::Unknown(trouble.clone()),
        },
        Rest::Ec2(cloud) => match part {
            "volumes" => cloud.volumes = Seen::Unknown(trouble.clone()),
            "subnets" => cloud.subnets = Seen::Unknown(trouble.clone()),
            _ => cloud.images.values_mut().for_each(|image| *image = Seen::Unknown(trouble.clone())),
        },
    }
}

/// One thing is not told.
fn miss(rest: &mut Rest, what: &str) {
    match rest {
        Rest::OpsWorks(cloud) => match what {
            "layer" => cloud.layers.known_mut().into_iter().for_each(Vec::clear),
            "app" => cloud.apps.known_mut().into_iter().for_each(Vec::clear),
            "stack" => {
                if let Some(stack) = cloud.stack.known_mut() {
                    *stack = None;
                }
            }
            _ => {}
        },
        Rest::Ec2(cloud) => {
            cloud.volumes.known_mut().into_iter().for_each(|all| all.retain(|volume| volume.id != what));
        }
    }
}

impl Sim {
    /// What the controller is told now.
    pub fn look(&mut self) -> Observed {
        if self.real.now >= self.haze.until {
            self.haze.cloud_lag = 0;
            self.haze.volume_lag = 0;
            self.haze.balancer_lag = 0;
            self.haze.blind.clear();
        }
        let (cloud, volumes, balancers) = (self.haze.cloud_lag, self.haze.volume_lag, self.haze.balancer_lag);
        self.real.clear_sight =
            (cloud, volumes, balancers) == (0, 0, 0) && self.haze.flicker.is_none() && self.haze.page.is_none();
        let mut seen = self.real.look(&self.desired, cloud, volumes, balancers);
        self.misses_twice_never();
        let class = if self.haze.refused { Class::Terminal } else { Class::Transient };
        let trouble = || refuse(class, "no answer");
        for part in &self.haze.blind {
            match part.as_str() {
                "instances" => seen.provided.instances = Seen::Unknown(trouble()),
                "balancers" => seen.balancers.values_mut().for_each(|b| *b = Seen::Unknown(trouble())),
                part => blind(&mut seen.provided.rest, part, &trouble()),
            }
        }
        if let Some(what) = self.haze.flicker.take() {
            if let Some(instances) = seen.provided.instances.known_mut() {
                instances.retain(|i| i.hostname != what);
            }
            for balancer in seen.balancers.values_mut().filter_map(Seen::known_mut) {
                balancer.targets.retain(|id, _| *id != what);
            }
            miss(&mut seen.provided.rest, &what);
        }
        // Of what a controller has never seen it cannot know that it is missing.
        if let Some(most) = self.haze.page.take().filter(|_| self.mind.last_cloud.is_some()) {
            if let Some(instances) = seen.provided.instances.known_mut() {
                instances.truncate(most);
            }
            if let Some(volumes) = seen.provided.ec2_mut().and_then(|cloud| cloud.volumes.known_mut()) {
                volumes.truncate(most);
            }
        }
        // As `observe.rs` does: what AWS does not answer is told as it was, but not when it is refused.
        let answered = seen.provided.unanswered().is_none();
        match &self.mind.last_cloud {
            _ if answered => self.mind.last_cloud = Some(seen.provided.clone()),
            Some(before) if class != Class::Terminal => {
                seen.provided = before.clone();
                seen.stale = Some(trouble());
            }
            _ => {}
        }
        seen
    }

    /// What the last look missed the next one sees again.
    fn misses_twice_never(&mut self) {
        let misses = self.haze.flicker.is_some() || self.haze.page.is_some();
        if misses && self.haze.missed {
            (self.haze.flicker, self.haze.page) = (None, None);
        }
        self.haze.missed = misses && !self.haze.missed;
    }
}
