//! A world in which every action succeeds and everything that is waited for comes about.
//!
//! The forecast is played in it, and the planner's own tests drive it, with faults of their making.

mod balancers;
mod ec2;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use super::{Plan, container::is_live, fleet, render::label};
use crate::{
    action::{Action, EngineAction, Run, Tagged, Tags},
    spec::{Desired, data_source::is_arn, image::familiar},
    world::{
        Balancer, ContainerSeen, Engine, Health, ImageSeen, Instance, NetworkSeen, Observed, OwApp, OwDatabase,
        OwLayer, OwStack, Rest, Seen, State, Target, tag,
    },
};

/// The digest of an image about which no registry was asked yet.
const NOT_TOLD_YET: &str = "as its registry will say";

/// The ideal world.
#[derive(Debug, Clone)]
pub struct World {
    /// What a look at it gives.
    pub seen: Observed,
    /// Its clock.
    pub now: Timestamp,
    /// What images take, by the beginning of their references; others take nothing.
    pub sizes: BTreeMap<String, u64>,
    made: usize,
    no_layers: Vec<OwLayer>,
    no_apps: Vec<OwApp>,
}

impl World {
    /// A world that is as it was seen.
    pub fn new(seen: Observed, now: Timestamp) -> World {
        let made = last_made(&seen);
        World { seen, now, sizes: BTreeMap::new(), made, no_layers: Vec::new(), no_apps: Vec::new() }
    }

    /// What an image takes.
    pub fn size(&self, image: &str) -> u64 {
        self.sizes.iter().find(|(of, _)| image.starts_with(of.as_str())).map_or(0, |(_, size)| *size)
    }

    fn id(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("new-{kind}-{}", self.made)
    }

    /// Every action succeeds, and takes a millisecond. What it aims at and is not there is left alone.
    pub fn carry_out(&mut self, action: &Action) {
        self.now += Duration::from_millis(1);
        match action.clone() {
            Action::CreateStack { settings } => {
                let id = self.id("stack");
                if let Some(cloud) = self.seen.provided.opsworks_mut() {
                    cloud.stack = Seen::Known(Some(OwStack { id, ours: true, settings }));
                    for_known(&mut cloud.layers, Vec::new);
                    for_known(&mut cloud.apps, Vec::new);
                }
                for_known(&mut self.seen.provided.instances, Vec::new);
            }
            Action::UpdateStack { settings, .. } => {
                let stack = self.seen.provided.opsworks_mut().and_then(|cloud| cloud.stack.known_mut());
                if let Some(Some(stack)) = stack {
                    stack.settings = settings;
                    stack.ours = true;
                }
            }
            Action::CreateLayer { settings, .. } => {
                let id = self.id("layer");
                self.layers().push(OwLayer { id, ours: true, settings, tags: Some(Seen::Known(BTreeMap::new())) });
            }
            Action::UpdateLayer { id, settings, .. } => {
                if let Some(layer) = self.layers().iter_mut().find(|layer| layer.id == id) {
                    layer.settings = settings;
                    layer.ours = true;
                }
            }
            Action::CreateApp { settings, .. } => {
                let id = self.id("app");
                self.apps().push(OwApp { id, ours: true, settings });
            }
            Action::UpdateApp { id, settings, .. } => {
                if let Some(app) = self.apps().iter_mut().find(|app| app.id == id) {
                    app.settings = settings;
                    app.ours = true;
                }
            }
            Action::DeleteApp { id, .. } => self.apps().retain(|app| app.id != id),
            Action::RegisterDatabase { rds, .. } => {
                let region = region_of(&self.seen);
                if let Some(databases) = self.databases() {
                    // Which account's it is, is for RDS to say.
                    let arn = if is_arn(&rds) { rds } else { format!("arn:aws:rds:{region}:(account):db:{rds}") };
                    databases.push(OwDatabase { arn, username: None, missing: false });
                }
            }
            Action::UpdateDatabase { arn, .. } => {
                let found = self.databases().and_then(|all| all.iter_mut().find(|database| database.arn == arn));
                if let Some(database) = found {
                    database.username = None;
                }
            }
            // A hostname is unique within a stack.
            Action::CreateInstance { hostname, .. } if self.instances().iter().any(|i| i.hostname == hostname) => {}
            Action::CreateInstance { layer_id, hostname, instance_type, .. } => {
                let id = self.id("instance");
                self.instances().push(Instance {
                    id,
                    ec2_id: None,
                    hostname,
                    layer_ids: vec![layer_id],
                    instance_type,
                    status: "stopped".into(),
                    private_ip: None,
                    public_ip: None,
                    launched: None,
                });
            }
            Action::LaunchInstance { launch } => self.launch(*launch),
            Action::TerminateInstance { id, .. } => self.set_status(&id, "shutting-down"),
            Action::TagInstance { id, tags, .. } => {
                if let Some(launched) = self.launched(&id) {
                    launched.ready |= tags.contains_key(tag::READY);
                }
            }
            Action::SetSecurityGroups { id, groups, .. } => {
                if let Some(launched) = self.launched(&id) {
                    launched.security_group_ids = groups;
                }
            }
            Action::TagVolume { id, tags, .. } => {
                if let Some(volume) = self.volume(&id) {
                    volume.hostname = tags.get(tag::HOSTNAME).cloned().or(volume.hostname.take());
                    volume.mount_point = tags.get(tag::MOUNT_POINT).cloned().or(volume.mount_point.take());
                }
            }
            Action::KeepTags { of, tags } => self.tag(&of, tags),
            Action::AttachVolume { id, instance_id, device, .. } => {
                if let Some(volume) = self.volume(&id) {
                    volume.state = "in-use".into();
                    volume.attached_to = Some(instance_id.clone());
                }
                if let Some(launched) = self.launched(&instance_id) {
                    launched.devices.insert(device, id);
                }
            }
            Action::ModifyVolume { id, volume: declared, .. } => {
                if let Some(volume) = self.volume(&id) {
                    volume.size_gib = declared.size_gib;
                    volume.volume_type = declared.volume_type;
                    volume.iops = declared.iops.or(volume.iops);
                    volume.throughput = declared.throughput.or(volume.throughput);
                }
            }
            Action::StartInstance { id, .. } => self.set_status(&id, "requested"),
            Action::StopInstance { id, .. } => self.set_status(&id, "stopping"),
            Action::DeleteInstance { id, .. } => self.instances().retain(|instance| instance.id != id),
            Action::AttachBalancer { layer_id, balancer, .. } => {
                if let Some(attached) = self.attached() {
                    attached.insert(layer_id, balancer);
                }
            }
            Action::DetachBalancer { layer_id, .. } => {
                if let Some(attached) = self.attached() {
                    attached.remove(&layer_id);
                }
            }
            Action::SetLoadScaling { layer_id, settings, .. } => {
                let cloud = self.seen.provided.opsworks_mut();
                if let Some(all) = cloud.and_then(|cloud| cloud.load_scaling.known_mut()) {
                    all.insert(layer_id, *settings);
                }
            }
            Action::Register { balancer, ec2_id, .. } => {
                if let Some(found) = self.balancer(&balancer) {
                    found.targets.insert(ec2_id, Target::OutOfService("registration in progress".into()));
                }
            }
            Action::Deregister { balancer, ec2_id, .. } => {
                if let Some(found) = self.balancer(&balancer) {
                    match found.draining {
                        Some(_) => found.targets.insert(ec2_id, Target::Draining),
                        None => found.targets.remove(&ec2_id),
                    };
                }
            }
            Action::Owned { balancer, what } => self.on_balancer(&balancer, *what),
            // Facts, which are not of the world.
            Action::Record { .. }
            | Action::RecordMigration { .. }
            | Action::NoteJob { .. }
            | Action::Scale { .. }
            | Action::ForgetScale { .. }
            | Action::BeginWish { .. }
            | Action::EndWish { .. }
            | Action::Announce { .. }
            | Action::Deliver { .. }
            | Action::EndDelivery { .. } => {}
            Action::Engine { node, what } => {
                let id = self.id("container");
                let now = self.now;
                let size = if let EngineAction::Pull { image } = &what { self.size(image) } else { 0 };
                if let Some(engine) = self.seen.engines.get_mut(&node.hostname).and_then(Seen::known_mut) {
                    on_engine(engine, what, id, now, size);
                }
            }
        }
    }

    /// Brings about one thing that is waited for; false when there is nothing that could come about.
    pub fn let_time_pass(&mut self, desired: &Desired, plan: &Plan) -> bool {
        if self.start_or_stop_instances(desired)
            | self.settle_targets()
            | self.settle_containers()
            | self.settle_balancers()
            | self.settle_registry(desired)
        {
            self.now += Duration::from_secs(1);
            return true;
        }
        match plan.holds.iter().filter_map(|hold| hold.until).filter(|until| *until > self.now).min() {
            Some(until) => {
                self.now = until;
                true
            }
            None => false,
        }
    }

    fn start_or_stop_instances(&mut self, desired: &Desired) -> bool {
        let mut changed = false;
        let mut online = Vec::new();
        let fresh = format!("(address of new instance {})", self.made);
        for instance in self.instances().iter_mut() {
            match fleet::phase(&instance.status) {
                fleet::Phase::Starting => {
                    instance.status = if instance.launched.is_some() { "running" } else { "online" }.into();
                    instance.ec2_id.get_or_insert_with(|| format!("i-new-{}", instance.hostname));
                    instance.private_ip.get_or_insert_with(|| fresh.clone());
                    instance.public_ip.get_or_insert_with(|| fresh.clone());
                    online.push(instance.hostname.clone());
                    changed = true;
                }
                fleet::Phase::Stopping => {
                    let gone = instance.status == "shutting-down";
                    instance.status = if gone { "terminated" } else { "stopped" }.into();
                    changed = true;
                }
                _ => {}
            }
        }
        changed |= self.bury();
        // An engine is looked at as soon as its instance is online.
        for node in fleet::nodes(desired, &self.seen) {
            if let std::collections::btree_map::Entry::Vacant(e) = self.seen.engines.entry(node.hostname) {
                e.insert(Seen::Known(Engine::default()));
                changed = true;
            }
        }
        changed
    }

    fn settle_targets(&mut self) -> bool {
        let mut changed = false;
        for balancer in self.seen.balancers.values_mut().filter_map(Seen::known_mut) {
            let before = balancer.targets.clone();
            balancer.targets.retain(|_, target| *target != Target::Draining);
            for target in balancer.targets.values_mut() {
                *target = Target::InService;
            }
            changed |= before != balancer.targets;
        }
        changed
    }

    fn settle_containers(&mut self) -> bool {
        let mut changed = false;
        for engine in self.seen.engines.values_mut().filter_map(Seen::known_mut) {
            for container in engine.containers.values_mut() {
                let ends = [label::MIGRATION, label::JOB].iter().any(|label| container.labels.contains_key(*label));
                if container.state == State::Running && ends {
                    container.state = State::Exited { exit_code: 0 };
                    container.finished_at = Some(self.now);
                    changed = true;
                }
                if container.state == State::Running && container.health == Some(Health::Starting) {
                    container.health = Some(Health::Healthy);
                    changed = true;
                }
            }
        }
        changed
    }

    /// A registry that nobody could ask yet tells what every tag stands for; what that is nobody knows.
    fn settle_registry(&mut self, desired: &Desired) -> bool {
        let before = self.seen.registry.len();
        for container in desired.apps.iter().flat_map(|app| &app.containers) {
            let told = || Seen::Known(NOT_TOLD_YET.to_owned());
            self.seen.registry.entry(container.image.clone()).or_insert_with(told);
        }
        self.seen.registry.len() > before
    }

    /// OpsWorks' layers; an action on them is planned for OpsWorks alone.
    fn tag(&mut self, of: &Tagged, tags: Tags) {
        let found = match of {
            Tagged::Instance { id, .. } => self.launched(id).map(|launched| &mut launched.tags),
            Tagged::Volume { id, .. } => self.volume(id).map(|volume| &mut volume.tags),
            Tagged::Layer { id, .. } => {
                let layer = self.layers().iter_mut().find(|layer| layer.id == *id);
                layer.and_then(|layer| layer.tags.as_mut()?.known_mut())
            }
        };
        if let Some(found) = found {
            found.retain(|key, _| !tags.drop.contains(key));
            found.extend(tags.put);
        }
    }

    fn layers(&mut self) -> &mut Vec<OwLayer> {
        match &mut self.seen.provided.rest {
            Rest::OpsWorks(cloud) => for_known(&mut cloud.layers, Vec::new),
            Rest::Ec2(_) => &mut self.no_layers,
        }
    }

    /// OpsWorks' apps, likewise.
    fn apps(&mut self) -> &mut Vec<OwApp> {
        match &mut self.seen.provided.rest {
            Rest::OpsWorks(cloud) => for_known(&mut cloud.apps, Vec::new),
            Rest::Ec2(_) => &mut self.no_apps,
        }
    }

    fn attached(&mut self) -> Option<&mut std::collections::BTreeMap<String, String>> {
        self.seen.provided.opsworks_mut()?.attached.known_mut()
    }

    fn databases(&mut self) -> Option<&mut Vec<OwDatabase>> {
        self.seen.provided.opsworks_mut()?.databases.known_mut()
    }

    fn instances(&mut self) -> &mut Vec<Instance> {
        for_known(&mut self.seen.provided.instances, Vec::new)
    }

    fn set_status(&mut self, id: &str, status: &str) {
        if let Some(instance) = self.instances().iter_mut().find(|instance| instance.id == id) {
            instance.status = status.to_owned();
        }
    }

    fn balancer(&mut self, name: &str) -> Option<&mut Balancer> {
        self.seen.balancers.get_mut(name)?.known_mut()
    }
}

/// The number of the last thing that another ideal world has made: no id is given twice.
fn last_made(seen: &Observed) -> usize {
    let instances = seen.provided.instances.known().into_iter().flatten().map(|instance| &instance.id);
    let volumes = seen.provided.ec2().and_then(|cloud| cloud.volumes.known());
    let volumes = volumes.into_iter().flatten().map(|volume| &volume.id);
    let engines = seen.engines.values().filter_map(Seen::known);
    let containers = engines.flat_map(|engine| engine.containers.values()).map(|container| &container.id);
    let numbers = instances.chain(volumes).chain(containers);
    numbers.filter_map(|id| id.strip_prefix("new-")?.rsplit('-').next()?.parse().ok()).max().unwrap_or(0)
}

/// The region of the stack.
fn region_of(seen: &Observed) -> String {
    let stack = seen.provided.opsworks().and_then(|cloud| cloud.stack.known()?.as_ref());
    stack.map(|stack| stack.settings.region.clone()).unwrap_or_default()
}

/// The known value; an action on something unknown is never planned, so making it known loses nothing.
fn for_known<T>(seen: &mut Seen<T>, empty: impl FnOnce() -> T) -> &mut T {
    if let Seen::Unknown(_) = seen {
        *seen = Seen::Known(empty());
    }
    match seen {
        Seen::Known(value) => value,
        Seen::Unknown(_) => unreachable!("made known above"),
    }
}

fn on_engine(engine: &mut Engine, what: EngineAction, id: String, now: Timestamp, size: u64) {
    match what {
        EngineAction::Pull { image } => pull(engine, &image, size),
        EngineAction::RemoveImage { image } => remove_image(engine, &familiar(&image)),
        EngineAction::CreateVolume { name, .. } => {
            engine.volumes.insert(name);
        }
        EngineAction::CreateNetwork { name, labels } => {
            engine.networks.entry(name).or_insert(NetworkSeen { id, labels, users: BTreeSet::new() });
        }
        EngineAction::RemoveNetwork { id, .. } => engine.networks.retain(|_, network| network.id != id),
        EngineAction::Create { run } => {
            if !engine.containers.contains_key(&run.name)
                && let Some(network) = run.network.own().and_then(|name| engine.networks.get_mut(name))
            {
                network.users.insert(id.clone());
            }
            let mut container = created(&run, id);
            container.image_id = engine.images.get(&run.image).cloned().unwrap_or_default();
            engine.containers.entry(run.name.clone()).or_insert(container);
        }
        EngineAction::Start { id, .. } => {
            if let Some(container) = with_id(engine, &id)
                && !is_live(container)
            {
                container.state = State::Running;
                container.started_at = Some(now);
                container.restarts = 0;
                if container.health.is_some() {
                    container.health = Some(Health::Starting);
                }
            }
        }
        EngineAction::Stop { id, .. } => {
            if let Some(container) = with_id(engine, &id)
                && is_live(container)
            {
                // A service ends as it should; what is stopped in the middle of its work has not done it.
                let exit_code = if container.labels.contains_key(label::JOB) { 143 } else { 0 };
                container.state = State::Exited { exit_code };
                container.finished_at = Some(now);
            }
            // From the first stop on nobody is asked any more.
            engine.connections.clear();
        }
        EngineAction::Rename { id, to, .. } => {
            let from = engine.containers.iter().find(|(_, container)| container.id == id).map(|(name, _)| name.clone());
            if let Some(from) = from
                && !engine.containers.contains_key(&to)
                && let Some(container) = engine.containers.remove(&from)
            {
                engine.containers.insert(to, container);
            }
        }
        EngineAction::Remove { id, .. } => engine.containers.retain(|_, c| c.id != id || is_live(c)),
    }
}

/// It takes what its image takes, where that is said.
fn pull(engine: &mut Engine, image: &str, size: u64) {
    let id = format!("(image id of {image})");
    engine.images.insert(image.to_owned(), id.clone());
    if let std::collections::btree_map::Entry::Vacant(place) = engine.stored.entry(id) {
        place.insert(ImageSeen { names: BTreeSet::from([familiar(image)]), size });
        if let Some(disk) = &mut engine.disk {
            disk.free = disk.free.saturating_sub(size);
        }
    }
}

/// One that a container is made from stays; one that has another name loses this one.
fn remove_image(engine: &mut Engine, name: &str) {
    let Some((id, image)) = engine.stored.iter_mut().find(|(_, image)| image.names.contains(name)) else { return };
    let (id, size) = (id.clone(), image.size);
    if image.names.len() == 1 && engine.containers.values().any(|container| container.image_id == id) {
        return;
    }
    image.names.remove(name);
    engine.images.retain(|reference, _| familiar(reference) != name);
    if image.names.is_empty() {
        engine.stored.remove(&id);
        if let Some(disk) = &mut engine.disk {
            disk.free += size;
        }
    }
}

fn with_id<'a>(engine: &'a mut Engine, id: &str) -> Option<&'a mut ContainerSeen> {
    engine.containers.values_mut().find(|container| container.id == id)
}

fn created(run: &Run, id: String) -> ContainerSeen {
    ContainerSeen {
        id,
        labels: run.labels.clone(),
        state: State::Created,
        image: run.image.clone(),
        image_id: String::new(),
        restarts: 0,
        health: run.health_check.as_ref().map(|_| Health::Starting),
        started_at: None,
        finished_at: None,
        says: Default::default(),
        secrets: run.secrets.iter().filter_map(|(name, kept)| Some((name.clone(), kept.sealed?))).collect(),
        last_words: None,
    }
}
