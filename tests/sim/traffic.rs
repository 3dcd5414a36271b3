//! Balancers: targets that come and go, requests, and connections that are kept alive.

use evenkeel::world::{Seen, Target};

use crate::{
    dice::Dice,
    real::{Ms, Real},
};

/// A request in flight, or a connection that is kept alive.
#[derive(Debug, Clone)]
pub struct Flight {
    pub balancer: String,
    pub ec2_id: String,
    pub hostname: String,
    pub ends: Ms,
    /// A connection that is kept alive: so long after one request comes the next, until the balancer or the client
    /// closes it.
    pub every: Option<Ms>,
    /// When its next request comes.
    pub next: Ms,
}

impl Real {
    /// When a target that drains is out: no connection is left, or the balancer closes those that are.
    pub fn drain_ends(&self, (balancer, ec2_id): &(String, String), began: Ms) -> Ms {
        let flights = self.flights.iter().filter(|f| f.balancer == *balancer && f.ec2_id == *ec2_id);
        let last = flights.map(|f| f.ends).max().unwrap_or(0).max(began + 1_000);
        let stuck = self.stuck.get(ec2_id).copied().unwrap_or(0);
        last.min(began + self.elb_drain).max(stuck)
    }

    pub fn forget_target(&mut self, ec2_id: &str) {
        for balancer in self.world.seen.balancers.values_mut().filter_map(Seen::known_mut) {
            balancer.targets.remove(ec2_id);
        }
        self.flights.retain(|f| f.ec2_id != ec2_id);
        self.ready_at.retain(|(_, id), _| id != ec2_id);
        self.drain_began.retain(|(_, id), _| id != ec2_id);
    }

    /// What balancers do by themselves until now.
    pub fn targets(&mut self, dice: &mut Dice) {
        let ended: Vec<(String, String)> = self
            .drain_began
            .iter()
            .filter(|(key, at)| self.drain_ends(key, **at) <= self.now)
            .map(|(k, _)| k.clone())
            .collect();
        for key in ended {
            self.drain_began.remove(&key);
            self.flights.retain(|f| f.balancer != key.0 || f.ec2_id != key.1);
            self.targets_mut(&key.0).expect("a balancer").remove(&key.1);
        }
        let all: Vec<(String, String, Target)> = self
            .balancers()
            .flat_map(|(name, b)| b.targets.iter().map(|(id, t)| (name.clone(), id.clone(), t.clone())))
            .collect();
        for (balancer, ec2_id, target) in all {
            let Some(hostname) = self.host_of(&ec2_id) else { continue };
            let well = self.is_well(&ec2_id, &hostname);
            let key = (balancer.clone(), ec2_id.clone());
            let stuck = self.stuck.contains_key(&ec2_id);
            match target {
                Target::OutOfService(_) if well && !stuck => {
                    let wait = self.now + dice.between(1_000, 5_000);
                    if *self.ready_at.entry(key.clone()).or_insert(wait) <= self.now {
                        self.ready_at.remove(&key);
                        self.sick_since.remove(&hostname);
                        self.targets_mut(&balancer).expect("a balancer").insert(ec2_id, Target::InService);
                    }
                }
                Target::InService if !well => {
                    let since = *self.sick_since.entry(hostname.clone()).or_insert(self.now);
                    if since + 3_000 <= self.now {
                        self.flights.retain(|f| f.balancer != balancer || f.ec2_id != ec2_id);
                        let why = Target::OutOfService("its health check fails".into());
                        self.targets_mut(&balancer).expect("a balancer").insert(ec2_id, why);
                    }
                }
                _ => {
                    self.sick_since.remove(&hostname);
                }
            }
        }
    }

    /// Every balancer sends a request to each target that it really has in service.
    pub fn requests(&mut self, dice: &mut Dice) {
        self.flights.retain(|f| f.ends > self.now);
        self.kept_alive();
        let sent: Vec<(String, String)> = self
            .balancers()
            .flat_map(|(name, b)| {
                b.targets.iter().filter(|(_, t)| **t == Target::InService).map(|(id, _)| (name.clone(), id.clone()))
            })
            .collect();
        for (balancer, ec2_id) in sent {
            let Some(hostname) = self.host_of(&ec2_id) else { continue };
            if !self.is_well(&ec2_id, &hostname) {
                self.lose(&hostname, &format!("a request from {balancer}"));
                continue;
            }
            self.served += 1;
            if dice.one_in(3) {
                let long = if dice.one_in(40) { dice.between(30_000, 120_000) } else { dice.between(50, 6_000) };
                let every = dice.one_in(60).then(|| dice.between(300, 9_000));
                let long = if every.is_some() { dice.between(10_000, 200_000) } else { long };
                let next = self.now + every.unwrap_or(0);
                self.flights.push(Flight { balancer, ec2_id, hostname, ends: self.now + long, every, next });
            }
        }
    }

    /// The next request of each connection that is kept alive; it goes where the connection goes, also to a target that
    /// drains.
    fn kept_alive(&mut self) {
        let now = self.now;
        let mut due = Vec::new();
        for flight in &mut self.flights {
            if let Some(every) = flight.every.filter(|_| flight.next <= now) {
                flight.next = now + every;
                due.push(flight.clone());
            }
        }
        for flight in due {
            if self.is_well(&flight.ec2_id, &flight.hostname) {
                self.served += 1;
            } else if self.may_be_cut(&flight) {
                self.flights.retain(|f| f.balancer != flight.balancer || f.ec2_id != flight.ec2_id);
            } else {
                self.lose(&flight.hostname, &format!("the next request of a connection of {}", flight.balancer));
            }
        }
    }

    /// The drain passed its deadline: that is recorded, and checked where it is stopped.
    fn may_be_cut(&self, flight: &Flight) -> bool {
        let key = (flight.balancer.clone(), flight.ec2_id.clone());
        self.drain_began.get(&key).is_some_and(|began| began + 60_000 <= self.now)
    }

    pub fn lose(&mut self, hostname: &str, what: &str) {
        self.lost += 1;
        if !self.excused.contains_key(hostname) {
            let told: Vec<String> = self
                .engine(hostname)
                .map(|e| e.containers.iter().map(|(n, c)| format!("{n}={:?}/{:?}", c.state, c.health)).collect())
                .unwrap_or_default();
            self.violate(format!("{what} to {hostname} was lost: {}", told.join(" ")));
        }
    }

    /// Whatever is connected to it was cut off by what ended it, and comes back to another one.
    pub fn cut_off(&mut self, hostname: &str) {
        let before = self.flights.len();
        self.flights.retain(|flight| flight.hostname != hostname);
        self.lost += (before - self.flights.len()) as u64;
    }

    pub fn lose_flights(&mut self, hostname: &str) {
        let (lost, kept) = std::mem::take(&mut self.flights).into_iter().partition(|f: &Flight| f.hostname == hostname);
        self.flights = kept;
        let lost: Vec<Flight> = lost;
        if let Some(flight) = lost.first()
            && !self.may_be_cut(flight)
        {
            self.lose(hostname, &format!("a connection of {} in flight", flight.balancer));
        }
    }
}
