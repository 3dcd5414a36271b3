//! Somebody with the command line: what they asked for, and the releases on record that they can go back to.

use evenkeel::{
    action::{Action, Release, Wish},
    plan::{
        Released,
        ask::{Known, Numbered},
    },
    spec::Desired,
    status::AppStatus,
};
use jiff::Timestamp;

/// See the module. All of it is on record: a crash loses none of it.
#[derive(Debug, Clone, Default)]
pub struct Operator {
    pub wishes: Vec<Wish>,
    history: Vec<Numbered>,
}

impl Operator {
    /// What `evenkeel WORD APP[/CONTAINER]` asks for, and says.
    ///
    /// # Errors
    /// The refusal.
    pub fn ask(&mut self, word: &str, subject: &str, desired: &Desired, now: Timestamp) -> Result<Vec<String>, String> {
        let (app, container) = subject.split_once('/').map_or((subject, None), |(app, name)| (app, Some(name)));
        let app = AppStatus::from(desired.apps.iter().find(|one| one.name == app).expect("an app"));
        let container = container.map(|name| app.containers.iter().find(|one| one.name == name).expect("a container"));
        let known = Known { app: &app, container, history: &self.history, wishes: &self.wishes, now };
        let ask = match word {
            "deploy" => known.deploy(),
            "rollback" => known.rollback(None)?,
            "pause" => known.pause()?,
            "resume" => known.resume()?,
            _ => panic!("ask {word}"),
        };
        let is_same = |a: &Wish, b: &Wish| a.subject() == b.subject() && a.word() == b.word();
        self.wishes.retain(|old| !ask.wishes.iter().chain(&ask.taken_back).any(|new| is_same(old, new)));
        self.wishes.extend(ask.wishes);
        Ok(ask.said)
    }

    /// Every release on record.
    pub fn history(&self) -> Vec<Released> {
        self.history.iter().map(|one| one.released.clone()).collect()
    }

    /// No release is on record any more.
    pub fn forget_history(&mut self) {
        self.history.clear();
    }

    pub fn record(&mut self, release: &Release, since: Timestamp) {
        let number = i64::try_from(self.history.len()).expect("few") + 1;
        self.history.push(Numbered { number, released: Released { release: release.clone(), since } });
    }

    /// Notes what the controller notes.
    pub fn note(&mut self, action: &Action) {
        action.note_in(&mut self.wishes);
    }
}
