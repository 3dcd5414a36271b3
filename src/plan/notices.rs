//! What there is to tell of releases, and when it is told.
//!
//! Both follow from what is seen and on record. What was last said of a container is on record with the release that it
//! was said of: a release *starts* when it is wanted and another one runs, or none was ever told of; nothing is made for it
//! before that is on record. It is *done* once every instance runs it and serves, has *failed* once it is seen to have
//! failed, and was *rolled back* once the one before runs everywhere again. A controller that is killed in between finds
//! the same, and gives it the same id. What is on record is told until it has arrived, or a day has passed.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{
    Facts, Plan,
    container::{colon, is_ours},
    migration,
    node::Need,
    releases::Releases,
    render::{label, release, release_wanted},
    resolve::Known,
    slot::Slot,
    standing::Standing,
    view::View,
};
use crate::{
    action::{Action, Delivery, Notice, Receiver, Says},
    spec::{App, Container, Desired, Layer, Reference, Value, image, notify::Occasion},
    status::Kind,
    world::{ContainerSeen, Instance, Observed, Seen},
};

/// What cannot be delivered is tried for so long.
pub const GIVEN_UP_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// From the first try to the second; each further one takes four times as long, up to an hour.
const FIRST_WAIT: Duration = Duration::from_secs(15);
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// What was last said of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Of which release.
    pub release: String,
    /// What; nothing where it was only noted that it runs.
    pub occasion: Option<Occasion>,
    /// Under which id.
    pub id: String,
    /// The release that was last done everywhere.
    pub done: Option<String>,
}

impl Told {
    fn is(&self, release: &str, occasions: &[Option<Occasion>]) -> bool {
        self.release == release && occasions.contains(&self.occasion)
    }
}

/// What failed, in words.
type Failure = Option<String>;

/// One container whose releases are told of.
struct One<'a> {
    known: &'a Known<'a>,
    slot: &'a Slot<'a>,
    release: String,
    told: Option<&'a Told>,
}

impl<'a> One<'a> {
    fn of(known: &'a Known<'a>, slot: &'a Slot<'a>) -> One<'a> {
        let key = (slot.app.name.clone(), slot.container.name.clone());
        One { known, slot, release: release(known.desired, slot), told: known.facts.told.get(&key) }
    }

    fn is_told(&self, occasions: &[Option<Occasion>]) -> bool {
        self.told.is_some_and(|told| told.is(&self.release, occasions))
    }

    /// The containers in the places of its replicas.
    fn containers(&self) -> impl Iterator<Item = &'a ContainerSeen> {
        let (known, container) = (self.known, self.slot.container);
        let on = move |engine: &'a crate::world::Engine| {
            container.replica_names().filter_map(move |name| engine.containers.get(&name))
        };
        let all = known.engines.iter().flat_map(move |(_, engine)| on(engine));
        all.filter(move |seen| is_ours(seen, &known.desired.stack.name))
    }

    /// It is wanted, and nothing was said of it yet.
    fn starts(&self, failed: &Failure) -> bool {
        let said = [Some(Occasion::Started), Some(Occasion::Done), None];
        if self.known.engines.is_empty() || failed.is_some() || self.is_told(&said) {
            return false;
        }
        let is_it = |seen: &ContainerSeen| seen.labels.get(label::RELEASE) == Some(&self.release);
        let (its, others): (Vec<_>, Vec<_>) = self.containers().partition(|seen| is_it(seen));
        // What has failed, and is kept where it failed, does not start again by itself.
        let has_failed = self.is_told(&[Some(Occasion::Failed), Some(Occasion::RolledBack)]);
        match (its.is_empty(), others.is_empty()) {
            (true, true) => true,
            (true, false) => !self.slot.by_hand,
            (false, others) => !others && !has_failed && !self.slot.by_hand,
        }
    }

    fn announce(&self, plan: &mut Plan, occasion: Option<Occasion>, words: String, says: Option<Says>) {
        let Slot { app, container, .. } = self.slot;
        let before = self.told.map_or("", |told| told.id.as_str());
        let parts = [
            self.known.desired.stack.name.as_str(),
            &app.name,
            &container.name,
            &self.release,
            occasion.map_or("", Occasion::word),
            before,
        ];
        let hash = Sha256::digest(parts.join("\u{0}").as_bytes());
        let wanted = |occasion: &Occasion| app.webhook.as_ref().is_some_and(|it| it.events.contains(occasion));
        let mut to = Vec::new();
        if occasion == Some(Occasion::Done) && container.rollbar.is_some() {
            to.push(Receiver::Rollbar);
        }
        if occasion.as_ref().is_some_and(wanted) {
            to.push(Receiver::Webhook);
        }
        let notice = Notice {
            id: hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect(),
            app: app.name.clone(),
            container: container.name.clone(),
            occasion,
            release: self.release.clone(),
            image: image::tagged(&self.slot.image).to_owned(),
            digest: image::digest(&self.slot.image).map(str::to_owned),
            revision: self.known.desired.revision.clone(),
            words,
            says,
            to,
        };
        let subject = notice.subject();
        plan.attempt(&subject, Action::Announce { notice: Box::new(notice) }, self.known.facts, self.known.now);
    }
}

fn is_told_of(slot: &Slot<'_>) -> bool {
    slot.app.webhook.is_some() || slot.container.rollbar.is_some()
}

/// The first replica of each container that somebody is told of.
fn firsts<'a, 'b>(slots: &'a [Slot<'b>]) -> impl Iterator<Item = (usize, &'a Slot<'b>)> {
    let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
    let told_of = slots.iter().enumerate().filter(|(_, slot)| is_told_of(slot) && slot.unresolved.is_none());
    told_of.filter(move |(_, slot)| seen.insert((slot.app.name.as_str(), slot.container.name.as_str())))
}

/// Announces the releases that start. Until that is on record, nothing is made for them.
pub(super) fn start(plan: &mut Plan, known: &Known<'_>, layer: &Layer, staying: &[&Instance], slots: &mut [Slot<'_>]) {
    let mut starting = Vec::new();
    {
        let slots = &*slots;
        let mut releases = None;
        for (at, slot) in firsts(slots) {
            if known.facts.paused(&slot.app.name).is_some() || slot.unread.is_some() {
                continue;
            }
            let releases =
                releases.get_or_insert_with(|| Releases::read(known.desired, slots, known.engines, known.facts));
            let failed = failure(known, layer, staying, slot, releases);
            let one = One::of(known, slot);
            if one.starts(&failed) {
                one.announce(plan, Some(Occasion::Started), String::new(), None);
                starting.push(at);
            }
        }
    }
    for at in starting {
        let (app, container) = (slots[at].app.name.clone(), slots[at].container.name.clone());
        for slot in slots.iter_mut().filter(|it| it.app.name == app && it.container.name == container) {
            slot.unresolved = Some(format!("the start of a release of {app}/{container} to be recorded"));
        }
    }
}

/// What went wrong with the release of a container, anywhere.
fn failure(known: &Known<'_>, layer: &Layer, staying: &[&Instance], slot: &Slot<'_>, releases: &Releases) -> Failure {
    if let Some(failed) = releases.failed(&release_wanted(known.desired, slot)) {
        return Some(format!("{} on {}{}", failed.name, failed.hostname, colon(&failed.words)));
    }
    let (hostname, name, container) = migration::failed(known, layer, staying, slot)?;
    Some(format!("{name} on {hostname}{}", colon(&super::container::last_words(container))))
}

/// Announces what became of the releases that have started.
pub(super) fn conclude(
    plan: &mut Plan,
    known: &Known<'_>,
    layer: &Layer,
    staying: &[&Instance],
    slots: &[Slot<'_>],
    views: &[View<'_>],
) {
    let mut releases = None;
    for (_, slot) in firsts(slots) {
        let releases = releases.get_or_insert_with(|| Releases::read(known.desired, slots, known.engines, known.facts));
        let one = One::of(known, slot);
        let end = End { one: &one, views, whole: views.len() >= layer.instances.count as usize };
        let failed = failure(known, layer, staying, slot, releases);
        let went_back = releases.failed(&release_wanted(known.desired, slot)).is_some();
        if let Some((occasion, words)) = end.next(failed, went_back) {
            let says = (occasion == Some(Occasion::Done)).then(|| end.says()).flatten();
            one.announce(plan, occasion, words, says);
        }
    }
}

/// What became of a release.
struct End<'a> {
    one: &'a One<'a>,
    views: &'a [View<'a>],
    /// Every instance that is declared is there.
    whole: bool,
}

impl End<'_> {
    fn next(&self, failed: Failure, went_back: bool) -> Option<(Option<Occasion>, String)> {
        let one = self.one;
        if let Some(words) = failed {
            let told = one.told?;
            if !one.is_told(&[Some(Occasion::Failed), Some(Occasion::RolledBack)]) {
                return Some((Some(Occasion::Failed), words));
            }
            let back = went_back && told.occasion == Some(Occasion::Failed) && self.is_back();
            return back.then_some((Some(Occasion::RolledBack), words));
        }
        if one.is_told(&[Some(Occasion::Started)])
            && let Some(words) = self.cannot_stay_up()
        {
            return Some((Some(Occasion::Failed), words));
        }
        if !self.is_done() {
            return None;
        }
        let Some(told) = one.told else { return Some((None, String::new())) };
        // What went on running while another one failed is no news.
        let never_left = told.done.as_ref() == Some(&one.release)
            && told.release != one.release
            && matches!(told.occasion, Some(Occasion::Failed | Occasion::RolledBack));
        let is_known = never_left || one.is_told(&[Some(Occasion::Done), None]);
        (!is_known).then_some((Some(Occasion::Done), String::new()))
    }

    /// Its replicas on every instance, as long as all of them can be seen; with whether each runs this release.
    fn all(&self, good: impl Fn(&super::node::Look<'_>, bool) -> bool) -> bool {
        let slot = self.one.slot;
        let is_of = |look: &super::node::Look<'_>| {
            look.slot.app.name == slot.app.name && look.slot.container.name == slot.container.name
        };
        self.whole
            && !self.views.is_empty()
            && self.views.iter().all(|view| {
                let Some(engine) = view.engine else { return false };
                view.looks.iter().filter(|look| is_of(look)).all(|look| {
                    let current = engine.containers.get(&look.slot.name);
                    let release = current.and_then(|seen| seen.labels.get(label::RELEASE));
                    good(look, release == Some(&self.one.release))
                })
            })
    }

    fn is_done(&self) -> bool {
        let serves = |view: &View<'_>| matches!(view.standing, Standing::InService | Standing::NoBalancers);
        self.views.iter().all(serves) && self.all(|look, is_it| look.done && is_it)
    }

    /// The one before runs everywhere.
    fn is_back(&self) -> bool {
        self.all(|look, is_it| look.up && !is_it && !look.swapping)
    }

    /// A container of this release does not, and there is nothing to go back to.
    fn cannot_stay_up(&self) -> Option<String> {
        let slot = self.one.slot;
        let all = self.views.iter().flat_map(|view| view.looks.iter().map(move |look| (view, look)));
        let its = all.filter(|(view, it)| {
            let current = view.engine.and_then(|engine| engine.containers.get(&it.slot.name));
            (&it.slot.app.name, &it.slot.container.name) == (&slot.app.name, &slot.container.name)
                && current.is_some_and(|seen| seen.labels.get(label::RELEASE) == Some(&self.one.release))
        });
        its.filter_map(|(_, look)| match &look.need {
            Need::Stuck(condition) if condition.kind == Kind::Failing => Some(condition.message.clone()),
            _ => None,
        })
        .next()
    }

    /// What the container on the first instance says to Rollbar: as its engine tells it, or as is declared.
    fn says(&self) -> Option<Says> {
        let rollbar = self.one.slot.container.rollbar.as_ref()?;
        let name = self.one.slot.name.as_str();
        let all = || self.views.iter().flat_map(|view| view.looks.iter().map(move |look| (view, look)));
        let (view, look) = all().find(|(_, look)| look.slot.name == name)?;
        let engine = view.engine?;
        let run = look.rendered.for_engine(engine);
        let seen = engine.containers.get(name);
        let says = |variable: &String| {
            let told = seen.and_then(|seen| seen.says.get(variable));
            told.or_else(|| run.env.get(variable)).filter(|_| !run.secrets.contains_key(variable)).cloned()
        };
        Some(Says { environment: says(&rollbar.env_var), revision: says(&rollbar.rev_var) })
    }
}

/// The app and the container that a notice is about, as long as they are declared and somebody is to be told.
pub fn receiver<'a>(desired: &'a Desired, delivery: &Delivery) -> Option<(&'a App, &'a Container)> {
    let app = desired.apps.iter().find(|app| app.is_docker() && app.name == delivery.notice.app)?;
    let container = app.containers.iter().find(|container| container.name == delivery.notice.container)?;
    let declared = match delivery.to {
        Receiver::Rollbar => container.rollbar.is_some(),
        Receiver::Webhook => app.webhook.is_some(),
    };
    declared.then_some((app, container))
}

/// The values that telling it takes.
fn needs<'a>(app: &'a App, container: &'a Container, delivery: &Delivery) -> Vec<&'a Reference> {
    let mut values: Vec<&Value> = Vec::new();
    match delivery.to {
        Receiver::Rollbar => {
            let env = app.env_of(container);
            if let Some(rollbar) = &container.rollbar {
                values.push(&rollbar.access_token);
                values
                    .extend([&rollbar.env_var, &rollbar.rev_var].into_iter().filter_map(|name| env.get(name).copied()));
            }
        }
        Receiver::Webhook => values.extend(app.webhook.iter().flat_map(|it| [&it.url, &it.secret])),
    }
    values.into_iter().filter_map(Value::reference).collect()
}

/// Tells what is on record and due.
pub(super) fn deliver(plan: &mut Plan, desired: &Desired, seen: &Observed, facts: &Facts, now: Timestamp) {
    for delivery in &facts.outbox {
        let end = |plan: &mut Plan, why: String| {
            let action = Action::EndDelivery { delivery: Box::new(delivery.clone()), why };
            plan.attempt(&delivery.notice.subject(), action, facts, now);
        };
        let Some((app, container)) = receiver(desired, delivery) else {
            end(plan, "nobody is declared any more who is to be told".into());
            continue;
        };
        let unread = needs(app, container, delivery)
            .into_iter()
            .find(|it| seen.secrets.get(*it).and_then(Seen::known).is_none())
            .map(|it| match seen.secrets.get(it) {
                Some(Seen::Unknown(trouble)) => trouble.message.clone(),
                _ => format!("{it} has to be read first"),
            });
        let trouble = unread.as_ref().or(delivery.trouble.as_ref());
        let given_up = delivery.since + GIVEN_UP_AFTER;
        if given_up <= now {
            let why = trouble.map_or("no controller was there to tell it", String::as_str);
            end(plan, format!("given up after {} hours: {why}", GIVEN_UP_AFTER.as_secs() / 3600));
            continue;
        }
        let due = delivery.tried.map_or(delivery.since, |tried| tried + wait(delivery.tries));
        if let Some(trouble) = trouble {
            let message = format!(
                "{} could not be told that {}: {trouble}. It is tried again {}, and given up at {}; no rollout waits for it",
                delivery.to,
                delivery.notice,
                if unread.is_some() { "once that can be read".into() } else { due.strftime("at %H:%M:%S").to_string() },
                given_up.strftime("%F %H:%M:%S UTC"),
            );
            plan.condition(Kind::NotificationFailed, delivery.notice.subject(), message);
        }
        if unread.is_some() {
            continue;
        }
        if delivery.tries > 0 && due > now {
            plan.next = plan.next.map_or(Some(due), |next| Some(next.min(due)));
            continue;
        }
        plan.actions.push(Action::Deliver { delivery: Box::new(delivery.clone()) });
    }
}

/// How long after the last of so many tries the next one is due.
fn wait(tries: u32) -> Duration {
    FIRST_WAIT.saturating_mul(4u32.saturating_pow(tries.saturating_sub(1).min(8))).min(LONGEST_WAIT)
}

impl Facts {
    /// Takes what is to be recorded or told for recorded and told; false for any other action.
    pub(super) fn note_notice(&mut self, action: &Action) -> bool {
        match action {
            Action::Announce { notice } => {
                let key = (notice.app.clone(), notice.container.clone());
                let done = matches!(notice.occasion, None | Some(Occasion::Done)).then(|| notice.release.clone());
                let before = self.told.remove(&key).and_then(|told| told.done);
                let told = Told {
                    release: notice.release.clone(),
                    occasion: notice.occasion,
                    id: notice.id.clone(),
                    done: done.or(before),
                };
                self.told.insert(key, told);
            }
            Action::Deliver { delivery } | Action::EndDelivery { delivery, .. } => {
                self.outbox.retain(|it| (&it.notice.id, it.to) != (&delivery.notice.id, delivery.to));
            }
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_waits_between_tries_grow_to_an_hour() {
        let waits: Vec<u64> = (1..=7).map(|tries| wait(tries).as_secs()).collect();
        assert_eq!(waits, [15, 60, 240, 960, 3600, 3600, 3600]);
        assert_eq!(wait(u32::MAX), LONGEST_WAIT);
    }
}
