//! OpsWorks as it really is: instances that come up in stages, and no token that would keep one from making a second.

use evenkeel::{
    action::Action,
    world::{Class, Engine, OpsWorks, Seen, Trouble},
};

use crate::{
    dice::Dice,
    real::{Real, refuse},
};

impl Real {
    fn opsworks(&self) -> &OpsWorks {
        self.world.seen.provided.opsworks().expect("OpsWorks")
    }

    /// What OpsWorks does by itself until now.
    pub fn booting(&mut self, dice: &mut Dice) {
        let due: Vec<String> =
            self.instance_at.iter().filter(|(_, at)| **at <= self.now).map(|(id, _)| id.clone()).collect();
        for id in due {
            self.instance_at.remove(&id);
            let (number, later) = (self.reborn + 1, self.now + dice.between(3_000, 20_000));
            let Some(instance) = self.instances_mut().iter_mut().find(|i| i.id == id) else { continue };
            let next = match instance.status.as_str() {
                "requested" => "booting",
                "booting" => "running_setup",
                "running_setup" => "online",
                "connection_lost" => "stopping",
                "stopping" => "stopped",
                _ => continue,
            };
            instance.status = next.into();
            let hostname = instance.hostname.clone();
            let gone = (next == "stopped").then(|| instance.ec2_id.take()).flatten();
            if next == "booting" {
                instance.ec2_id = Some(format!("i-{number:04}"));
                instance.private_ip = Some(format!("10.0.0.{number}"));
                instance.public_ip = instance.private_ip.clone();
            }
            if next == "booting" {
                self.reborn = number;
                self.world.seen.engines.entry(hostname.clone()).or_insert(Seen::Known(Engine::default()));
            }
            if next != "online" && next != "stopped" {
                self.instance_at.insert(id, later);
            }
            if let Some(ec2_id) = gone {
                self.forget_target(&ec2_id);
                self.halt(&hostname);
            }
        }
    }

    /// The instance is gone in the middle of whatever it does; OpsWorks notices, and replaces the machine.
    pub fn lose_instance(&mut self, hostname: &str) {
        self.excuse(hostname);
        let at = self.now + 5_000;
        let Some(instance) = self.instances_mut().iter_mut().find(|i| i.hostname == hostname) else { return };
        instance.status = "connection_lost".into();
        let id = instance.id.clone();
        self.instance_at.insert(id, at);
        self.halt(hostname);
    }

    /// Counts what is made and deleted; what is there already is made no second time.
    pub fn count(&mut self, action: &Action) -> Result<(), Trouble> {
        let exists = match action {
            Action::CreateStack { .. } => self.opsworks().stack.known().is_some_and(Option::is_some),
            Action::CreateLayer { settings, .. } => {
                let layers = self.opsworks().layers.known();
                layers.is_some_and(|all| all.iter().any(|l| l.settings.short_name == settings.short_name))
            }
            Action::CreateApp { settings, .. } => {
                let apps = self.opsworks().apps.known();
                apps.is_some_and(|all| all.iter().any(|a| a.settings.short_name == settings.short_name))
            }
            Action::CreateInstance { hostname, .. } => self.instances().iter().any(|i| i.hostname == *hostname),
            Action::DeleteApp { .. } | Action::DeleteInstance { .. } | Action::StopInstance { .. } => false,
            _ => return Ok(()),
        };
        if exists {
            self.violate(format!("{action}: there is one already"));
            return Err(refuse(Class::Terminal, "it exists already"));
        }
        *self.made.entry(action.key()).or_default() += 1;
        Ok(())
    }
}
