//! What an operator's command asks for, told from what is declared and from the releases on record.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Released;
use crate::{
    action::{Back, Release, Wish, WishKind},
    spec::image,
    status::{AppStatus, DeclaredContainer},
};

/// What is to be written down.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ask {
    /// What is asked for.
    pub wishes: Vec<Wish>,
    /// What was asked for before and does not hold any more.
    pub taken_back: Vec<Wish>,
    /// Both, for people: a line each.
    pub said: Vec<String>,
}

/// One release on record, as `history` numbers it.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbered {
    /// Its number, which stays its own.
    pub number: i64,
    /// The release.
    pub released: Released,
}

/// What is known when something is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The app.
    pub app: &'a AppStatus,
    /// One container of it, if only that is meant.
    pub container: Option<&'a DeclaredContainer>,
    /// The releases of the stack, the oldest first.
    pub history: &'a [Numbered],
    /// What is asked for already.
    pub wishes: &'a [Wish],
    /// The time.
    pub now: Timestamp,
}

impl Known<'_> {
    fn wish(&self, container: Option<&str>, kind: WishKind) -> Wish {
        Wish { app: self.app.name.clone(), container: container.map(str::to_owned), kind, at: self.now }
    }

    fn name(&self) -> Option<&str> {
        self.container.map(|container| container.name.as_str())
    }

    fn rollback_of(&self, container: &str) -> Option<(&Wish, &Back)> {
        Wish::rolled_back(self.wishes, &self.app.name, container)
    }

    /// To roll out what is declared, and to try again what failed.
    pub fn deploy(&self) -> Ask {
        let mut ask = Ask { wishes: vec![self.wish(self.name(), WishKind::Deploy { begun: false })], ..Ask::default() };
        for container in &self.app.containers {
            let is_meant = self.name().map_or(!container.by_hand, |name| name == container.name);
            match self.rollback_of(&container.name).filter(|_| is_meant) {
                Some((wish, back)) => {
                    ask.said.push(format!("{}: the way back to {} is over", container.name, back.image));
                    ask.taken_back.push(wish.clone());
                }
                None if is_meant => ask.said.push(format!("{}: {}", container.name, container.image)),
                None if self.container.is_none() => ask.said.push(format!(
                    "{}: left alone, because it is deployed by hand; name it to have it deployed: {}/{}",
                    container.name, self.app.name, container.name
                )),
                None => {}
            }
        }
        ask
    }

    /// To take no healthy container away.
    ///
    /// # Errors
    /// When one container is named: those of an app depend on each other.
    pub fn pause(&self) -> Result<Ask, String> {
        if let Some(container) = self.container {
            let app = &self.app.name;
            return Err(format!("a whole app is paused, no single container: {app}, not {app}/{}", container.name));
        }
        let said = vec![format!("no healthy container of {} is taken away from now on", self.app.name)];
        Ok(Ask { wishes: vec![self.wish(None, WishKind::Pause)], said, ..Ask::default() })
    }

    /// To go on.
    ///
    /// # Errors
    /// When it is not paused.
    pub fn resume(&self) -> Result<Ask, String> {
        let paused = self.wishes.iter().find(|wish| wish.app == self.app.name && wish.kind == WishKind::Pause);
        let Some(wish) = paused else { return Err(format!("{} is not paused", self.app.name)) };
        let said = vec![format!("rollouts of {} go on; they were paused at {:.0}", self.app.name, wish.at)];
        Ok(Ask { taken_back: vec![wish.clone()], said, ..Ask::default() })
    }

    /// To run an earlier release: `to`, or the one before the present one.
    ///
    /// # Errors
    /// When there is no such release on record.
    pub fn rollback(&self, to: Option<&str>) -> Result<Ask, String> {
        if to.is_some() && self.container.is_none() && self.app.containers.len() > 1 {
            let names: Vec<&str> = self.app.containers.iter().map(|container| container.name.as_str()).collect();
            return Err(format!(
                "a release is one container's: name it, as in {}/{} ({})",
                self.app.name,
                names.first().copied().unwrap_or_default(),
                names.join(", ")
            ));
        }
        let mut ask = Ask::default();
        for (container, current, target) in self.ways_back(to)? {
            let earlier = self.rollback_of(&container.name).map(|(_, back)| back);
            let back = Back {
                declared: container.image.clone(),
                // What is declared stays what is left, though somebody goes further back.
                from: earlier
                    .filter(|earlier| earlier.declared == container.image)
                    .map_or_else(|| current.digest.clone(), |earlier| earlier.from.clone()),
                image: target.released.release.image.clone(),
                digest: target.released.release.digest.clone(),
            };
            ask.said.push(format!(
                "{}: back to {} ({}), release {} of {:.0}, from {} ({})",
                container.name,
                back.image,
                image::short(&back.digest),
                target.number,
                target.released.since,
                current.image,
                image::short(&current.digest)
            ));
            ask.wishes.push(self.wish(Some(&container.name), WishKind::Rollback(back)));
            if container.by_hand {
                ask.wishes.push(self.wish(Some(&container.name), WishKind::Deploy { begun: false }));
            }
        }
        Ok(ask)
    }

    /// The containers that go back, each with its present release and the one it goes back to.
    fn ways_back(&self, to: Option<&str>) -> Result<Vec<(&DeclaredContainer, &Release, &Numbered)>, String> {
        let mut own: BTreeMap<&str, Vec<&Numbered>> = BTreeMap::new();
        for one in self.history.iter().filter(|one| one.released.release.app == self.app.name) {
            own.entry(&one.released.release.container).or_default().push(one);
        }
        let meant = |container: &&DeclaredContainer| self.name().is_none_or(|name| name == container.name);
        let mut ways = Vec::new();
        for container in self.app.containers.iter().filter(meant) {
            let releases = own.get(container.name.as_str()).map_or(&[][..], Vec::as_slice);
            let Some((current, earlier)) = releases.split_last() else { continue };
            let release = &current.released.release;
            let is_other = |one: &&&Numbered| one.released.release.digest != release.digest;
            let target = match to {
                None => earlier.iter().rev().find(is_other),
                Some(to) => earlier.iter().rev().find(|one| is(one, to)),
            };
            if let Some(target) = target {
                ways.push((container, current, *target));
            }
        }
        let Some(newest) = ways.iter().map(|(_, current, _)| *current).max_by_key(|current| current.number) else {
            let subject = self.name().map_or_else(|| self.app.name.clone(), |name| format!("{}/{name}", self.app.name));
            let what = to.map_or("no earlier release".to_owned(), |to| format!("no earlier release `{to}`"));
            return Err(format!("{what} of {subject} is on record; evenkeel history {} shows what is", self.app.name));
        };
        // Of an app, what changed last goes back: everything that its newest revision, or the same image, changed.
        let newest = &newest.released.release;
        ways.retain(|(_, current, target)| {
            let (release, before) = (&current.released.release, &target.released.release);
            self.container.is_some()
                || release.digest == newest.digest
                || (release.revision == newest.revision && release.revision != before.revision)
        });
        Ok(ways
            .into_iter()
            .map(|(container, current, target)| (container, &current.released.release, target))
            .collect())
    }
}

/// True when somebody may mean this release: by its number, the beginning of its digest, its image or the image's tag.
fn is(one: &Numbered, named: &str) -> bool {
    let Release { image, digest, .. } = &one.released.release;
    let hash = digest.split_once(':').map_or(digest.as_str(), |(_, hash)| hash);
    let by_digest = named.len() >= 4 && (digest.starts_with(named) || hash.starts_with(named));
    let by_image = image == named || image.strip_suffix(named).is_some_and(|rest| rest.ends_with([':', '/']));
    one.number.to_string() == named || by_digest || by_image
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: [&str; 3] = ["sha256:aaaa1", "sha256:bbbb1", "sha256:cccc1"];

    fn app(containers: &[(&str, &str, bool)]) -> AppStatus {
        let declared = |(name, image, by_hand): &(&str, &str, bool)| DeclaredContainer {
            name: (*name).to_owned(),
            image: (*image).to_owned(),
            by_hand: *by_hand,
        };
        AppStatus { name: "shop".into(), containers: containers.iter().map(declared).collect() }
    }

    fn history(all: &[(&str, &str, &str, &str)]) -> Vec<Numbered> {
        let numbered = |(at, (container, image, digest, revision)): (usize, &(&str, &str, &str, &str))| Numbered {
            number: i64::try_from(at).unwrap() + 10,
            released: Released {
                release: Release {
                    app: "shop".into(),
                    container: (*container).into(),
                    image: (*image).into(),
                    digest: (*digest).into(),
                    revision: (*revision).into(),
                },
                since: Timestamp::UNIX_EPOCH,
            },
        };
        all.iter().enumerate().map(numbered).collect()
    }

    fn known<'a>(app: &'a AppStatus, container: Option<usize>, history: &'a [Numbered]) -> Known<'a> {
        let container = container.map(|at| &app.containers[at]);
        Known { app, container, history, wishes: &[], now: Timestamp::UNIX_EPOCH }
    }

    fn backs(ask: &Ask) -> Vec<(&str, &str, &str)> {
        let wishes = ask.wishes.iter().filter_map(|wish| Some((wish.container.as_deref()?, wish.back()?)));
        wishes.map(|(container, back)| (container, back.digest.as_str(), back.from.as_str())).collect()
    }

    #[test]
    fn the_way_back_goes_to_the_last_release_that_was_another_one() {
        let app = app(&[("web", "web:1.2", false)]);
        let history = history(&[
            ("web", "web:1.0", WEB[0], "r1"),
            ("web", "web:1.1", WEB[1], "r2"),
            ("web", "web:1.2", WEB[2], "r3"),
            ("web", "web:1.2b", WEB[2], "r4"),
        ]);
        let ask = known(&app, Some(0), &history).rollback(None).unwrap();
        assert_eq!(backs(&ask), [("web", WEB[1], WEB[2])]);
        for named in ["10", "aaaa", "sha256:aaaa", "1.0", "web:1.0"] {
            assert_eq!(backs(&known(&app, None, &history).rollback(Some(named)).unwrap()), [("web", WEB[0], WEB[2])]);
        }
        let refused = known(&app, Some(0), &history).rollback(Some("0.9")).unwrap_err();
        assert_eq!(refused, "no earlier release `0.9` of shop/web is on record; evenkeel history shop shows what is");
    }

    #[test]
    fn of_an_app_goes_back_what_its_newest_revision_changed_and_what_shares_its_image() {
        let app = app(&[("web", "app:2", false), ("worker", "app:2", false), ("redis", "redis:7", false)]);
        let history = history(&[
            ("redis", "redis:6", "sha256:r6", "r1"),
            ("web", "app:1", WEB[0], "r1"),
            ("worker", "app:1", WEB[0], "r1"),
            ("redis", "redis:7", "sha256:r7", "r2"),
            ("worker", "app:2", WEB[1], "r3"),
            ("web", "app:2", WEB[1], "r4"),
        ]);
        let ask = known(&app, None, &history).rollback(None).unwrap();
        assert_eq!(backs(&ask), [("web", WEB[0], WEB[1]), ("worker", WEB[0], WEB[1])]);
        let refused = known(&app, None, &history).rollback(Some("app:1")).unwrap_err();
        assert!(refused.contains("shop/web (web, worker, redis)"), "{refused}");
    }

    #[test]
    fn who_went_back_and_goes_further_back_still_leaves_what_is_declared() {
        let app = app(&[("web", "web:1.2", true)]);
        let history = history(&[
            ("web", "web:1.0", WEB[0], "r1"),
            ("web", "web:1.1", WEB[1], "r2"),
            ("web", "web:1.2", WEB[2], "r3"),
        ]);
        let first = known(&app, Some(0), &history).rollback(None).unwrap();
        let after = [&history[..], &[Numbered { number: 20, ..history[1].clone() }]].concat();
        let second = Known { wishes: &first.wishes, ..known(&app, Some(0), &after) }.rollback(Some("1.0")).unwrap();
        assert_eq!(backs(&second), [("web", WEB[0], WEB[2])]);
        // It is deployed by hand, so going back is a deploy of its own.
        assert!(second.wishes.iter().any(|wish| wish.kind == WishKind::Deploy { begun: false }));
        let over = Known { wishes: &second.wishes, ..known(&app, Some(0), &after) }.deploy();
        assert_eq!(over.taken_back, [second.wishes[0].clone()]);
    }

    #[test]
    fn a_deploy_of_an_app_leaves_alone_what_is_deployed_by_hand_and_says_so() {
        let app = app(&[("web", "web:1", false), ("redis", "redis:7", true)]);
        let ask = known(&app, None, &[]).deploy();
        assert_eq!(ask.said[0], "web: web:1");
        assert!(ask.said[1].starts_with("redis: left alone") && ask.said[1].ends_with("shop/redis"), "{:?}", ask.said);
        assert_eq!(known(&app, None, &[]).resume().unwrap_err(), "shop is not paused");
    }
}
