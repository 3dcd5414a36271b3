//! What EC2 makes of what it is asked for, and what people do there by hand.

use evenkeel::{
    action::{Action, Launch},
    world::{Class, Seen, Trouble},
};

use crate::{
    cloud::{Machine, Sent, is_alive},
    dice::Dice,
    real::{Real, refuse},
};

impl Real {
    /// What the other side makes of an action that only EC2 knows; nothing for any other.
    pub fn ec2_effect(&mut self, action: &Action, dice: &mut Dice) -> Option<Result<(), Trouble>> {
        if !self.on_ec2() {
            return None;
        }
        Some(match action {
            Action::LaunchInstance { launch } => self.launch(action, launch, dice),
            Action::TerminateInstance { id, .. } => {
                if self.by_id(id).is_some_and(is_alive) {
                    self.end(id, dice);
                }
                Ok(())
            }
            Action::StartInstance { id, .. } => self.start(id, dice),
            Action::AttachVolume { id, instance_id, device, .. } => self.attach(id, instance_id, device),
            Action::ModifyVolume { id, volume, .. } => self.modify(action, id, volume.size_gib, dice),
            Action::TagVolume { id, .. } => {
                self.world.carry_out(action);
                let now = self.now;
                self.cloud.tagged.entry(id.clone()).or_insert(now);
                Ok(())
            }
            Action::TagInstance { id, .. } | Action::SetSecurityGroups { id, .. } => {
                if self.by_id(id).is_none() {
                    return Some(Err(refuse(Class::Terminal, "InvalidInstanceID.NotFound")));
                }
                self.world.carry_out(action);
                Ok(())
            }
            Action::Register { ec2_id, .. } if self.by_id(ec2_id).is_none_or(|i| i.status != "running") => {
                Err(refuse(Class::Terminal, "InvalidTarget: it is not in a valid state"))
            }
            _ => return None,
        })
    }

    fn launch(&mut self, action: &Action, launch: &Launch, dice: &mut Dice) -> Result<(), Trouble> {
        if let Some(sent) = self.cloud.tokens.get(&launch.token) {
            if self.by_id(&sent.id).is_some_and(is_alive) {
                return Ok(());
            }
            return Err(refuse(Class::TokenSpent, "the token stands for an instance that has ended"));
        }
        if self.cloud.full.contains_key(&launch.zone) {
            return Err(refuse(Class::Terminal, "InsufficientInstanceCapacity"));
        }
        self.world.carry_out(action);
        self.world.now = self.clock();
        self.cloud.addresses += 1;
        let address = format!("10.0.{}.{}", self.cloud.addresses / 250, self.cloud.addresses % 250 + 1);
        let instance = self.instances_mut().last_mut().expect("it was launched");
        instance.private_ip = Some(address.clone());
        instance.public_ip = Some(address);
        let id = instance.id.clone();
        let devices = instance.launched.as_mut().map(|launched| std::mem::take(&mut launched.devices));
        let mounts = launch.user_data.split("mounts=(").nth(1).and_then(|rest| rest.split(')').next());
        let machine = Machine {
            devices: devices.unwrap_or_default(),
            mounts: mounts.map_or(0, |mounts| mounts.matches("/dev/sd").count()),
            takes: dice.between(15_000, 120_000),
            ..Machine::default()
        };
        self.cloud.machines.insert(id.clone(), machine);
        self.cloud.tokens.insert(launch.token.clone(), Sent { id: id.clone(), ended: None });
        self.cloud.launches += 1;
        self.instance_at.insert(id, self.now + dice.between(2_000, 20_000));
        Ok(())
    }

    /// The instance ends for good, whoever has wished it.
    fn end(&mut self, id: &str, dice: &mut Dice) {
        let Some(instance) = self.by_id(id) else { return };
        let hostname = instance.hostname.clone();
        if self.is_this_one(id) && self.serves_well(&hostname) {
            self.lose_flights(&hostname);
        }
        if self.is_this_one(id) {
            self.cut_off(&hostname);
            self.sleeps(&hostname);
            if let Some(Seen::Known(engine)) = self.world.seen.engines.remove(&hostname)
                && let Some(disk) = self.disk_of(id)
            {
                self.cloud.disks.insert(disk, engine);
            }
        }
        self.hung.remove(&hostname);
        self.cloud.frozen.remove(&hostname);
        self.cloud.impaired.remove(id);
        self.status(id, "shutting-down");
        let gone = self.now + dice.between(5_000, 60_000);
        self.instance_at.insert(id.to_owned(), gone);
        let machine = self.cloud.machines.entry(id.to_owned()).or_default();
        machine.answers_at = None;
        machine.frees_at = Some(dice.between(self.now + 1, gone + 15_000));
        self.cloud.ends += 1;
    }

    /// It is the one whose engine has the hostname.
    fn is_this_one(&self, id: &str) -> bool {
        let Some(instance) = self.by_id(id) else { return false };
        let others = self.alive().filter(|other| other.hostname == instance.hostname && other.id != id);
        is_alive(instance) && others.count() == 0
    }

    fn start(&mut self, id: &str, dice: &mut Dice) -> Result<(), Trouble> {
        match self.by_id(id).map(|instance| instance.status.clone()).as_deref() {
            Some("stopped") => {
                self.status(id, "pending");
                let takes = dice.between(3_000, 20_000);
                if let Some(machine) = self.cloud.machines.get_mut(id) {
                    machine.takes = takes;
                }
                self.instance_at.insert(id.to_owned(), self.now + dice.between(2_000, 20_000));
                Ok(())
            }
            Some("pending" | "running") => Ok(()),
            _ => Err(refuse(Class::Terminal, "IncorrectInstanceState")),
        }
    }

    fn attach(&mut self, id: &str, instance_id: &str, device: &str) -> Result<(), Trouble> {
        let instance = self.by_id(instance_id).filter(|i| matches!(i.status.as_str(), "running" | "stopped"));
        let Some((zone, devices)) = instance
            .and_then(|instance| instance.launched.as_ref())
            .map(|launched| (launched.zone.clone(), launched.devices.clone()))
        else {
            return Err(refuse(Class::Terminal, "IncorrectState"));
        };
        let Some(volume) = self.volume(id) else { return Err(refuse(Class::Terminal, "InvalidVolume.NotFound")) };
        if volume.state != "available" || devices.contains_key(device) {
            return Err(refuse(Class::Terminal, "VolumeInUse"));
        }
        if volume.zone != zone {
            return Err(refuse(Class::Terminal, "InvalidVolume.ZoneMismatch"));
        }
        volume.state = "in-use".into();
        volume.attached_to = Some(instance_id.to_owned());
        if let Some(launched) = self.launched(instance_id) {
            launched.devices.insert(device.to_owned(), id.to_owned());
        }
        self.begins_to_boot(instance_id);
        Ok(())
    }

    fn modify(&mut self, action: &Action, id: &str, size: u32, dice: &mut Dice) -> Result<(), Trouble> {
        let Some(volume) = self.volume(id) else { return Err(refuse(Class::Terminal, "InvalidVolume.NotFound")) };
        if volume.modifying.is_some() {
            return Err(refuse(Class::Terminal, "IncorrectModificationState"));
        }
        if volume.size_gib > size {
            self.violate(format!("{action}: it would shrink"));
            return Err(refuse(Class::Terminal, "InvalidParameterValue"));
        }
        volume.modifying = Some("modifying".into());
        self.world.carry_out(action);
        self.cloud.modifying.insert(id.to_owned(), self.now + dice.between(5_000, 60_000));
        Ok(())
    }

    /// Somebody terminates it.
    pub fn terminate_by_hand(&mut self, id: &str, dice: &mut Dice) {
        let Some(hostname) = self.by_id(id).filter(|i| is_alive(i)).map(|i| i.hostname.clone()) else { return };
        self.excuse(&hostname);
        self.end(id, dice);
    }

    /// Somebody stops it.
    pub fn stop_by_hand(&mut self, id: &str, dice: &mut Dice) {
        let Some(hostname) = self.by_id(id).filter(|i| i.status == "running").map(|i| i.hostname.clone()) else {
            return;
        };
        self.excuse(&hostname);
        self.cut_off(&hostname);
        self.sleeps(&hostname);
        self.status(id, "stopping");
        if let Some(machine) = self.cloud.machines.get_mut(id) {
            machine.answers_at = None;
        }
        self.instance_at.insert(id.to_owned(), self.now + dice.between(5_000, 40_000));
    }

    /// Somebody detaches its first volume; what needs it ends.
    pub fn detach_by_hand(&mut self, id: &str) {
        let Some(instance) = self.by_id(id).filter(|i| i.status == "running") else { return };
        let hostname = instance.hostname.clone();
        let device = instance.launched.as_ref().and_then(|launched| launched.devices.keys().next().cloned());
        let Some(device) = device else { return };
        self.excuse(&hostname);
        self.cut_off(&hostname);
        self.sleeps(&hostname);
        let volume = self.launched(id).and_then(|launched| launched.devices.remove(&device));
        if let Some(volume) = volume.and_then(|id| self.volume(&id)) {
            volume.attached_to = None;
            volume.state = "available".into();
        }
        if let Some(machine) = self.cloud.machines.get_mut(id) {
            machine.answers_at = None;
        }
    }
}
