//! What there is to tell of releases: what was last said of each container, and whom that has not reached yet.
//!
//! Both are written at once, before anything is sent. What has arrived is struck out after that: a controller that is
//! killed in between sends it again, under the same id.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::params;

use super::{Store, StoreError};
use crate::{
    action::{Delivery, Notice, Receiver},
    plan::Told,
    spec::notify::Occasion,
};

/// Deliveries that are not over, per stack; the oldest of more are dropped.
const KEPT: i64 = 1_000;

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS told (
        stack TEXT NOT NULL, app TEXT NOT NULL, container TEXT NOT NULL, release TEXT NOT NULL, occasion TEXT,
        id TEXT NOT NULL, done TEXT,
        PRIMARY KEY (stack, app, container)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS outbox (
        number INTEGER PRIMARY KEY AUTOINCREMENT, stack TEXT NOT NULL, id TEXT NOT NULL, receiver TEXT NOT NULL,
        body TEXT NOT NULL, since TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0, tried TEXT, trouble TEXT,
        UNIQUE (stack, id, receiver)
    ) STRICT;
";

fn word(receiver: Receiver) -> &'static str {
    match receiver {
        Receiver::Rollbar => "rollbar",
        Receiver::Webhook => "webhook",
    }
}

impl Store {
    /// Puts on record, durably, what happened to a release and who is to be told. Recorded twice it is one.
    ///
    /// # Errors
    /// When the store cannot be written; then nobody must be told.
    pub fn put_notice(&self, stack: &str, notice: &Notice, at: Timestamp) -> Result<(), StoreError> {
        let Notice { id, app, container, occasion, release, .. } = notice;
        let done = matches!(occasion, None | Some(Occasion::Done)).then_some(release);
        let body = serde_json::to_string(notice).unwrap_or_default();
        self.with("write", |c| {
            let all = c.unchecked_transaction()?;
            all.execute(
                "INSERT INTO told (stack, app, container, release, occasion, id, done)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                    ON CONFLICT (stack, app, container) DO UPDATE
                    SET release = ?4, occasion = ?5, id = ?6, done = coalesce(?7, done)",
                params![stack, app, container, release, occasion.map(Occasion::word), id, done],
            )?;
            for to in &notice.to {
                all.execute(
                    "INSERT OR IGNORE INTO outbox (stack, id, receiver, body, since) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![stack, id, word(*to), body, at.to_string()],
                )?;
            }
            all.execute(
                "DELETE FROM outbox WHERE stack = ?1 AND number NOT IN
                    (SELECT number FROM outbox WHERE stack = ?1 ORDER BY number DESC LIMIT ?2)",
                params![stack, KEPT],
            )?;
            all.commit()
        })
    }

    /// What was last said of each container of a stack.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn told(&self, stack: &str) -> Result<BTreeMap<(String, String), Told>, StoreError> {
        self.with("read", |c| {
            // A store that an earlier version made, opened to be read only, has no such table.
            if !c.table_exists(None, "told")? {
                return Ok(BTreeMap::new());
            }
            let mut rows =
                c.prepare("SELECT app, container, release, occasion, id, done FROM told WHERE stack = ?1")?;
            let found = rows.query_map([stack], |row| {
                let occasion: Option<String> = row.get(3)?;
                let occasion = Occasion::ALL.iter().find(|(word, _)| Some(*word) == occasion.as_deref());
                let told = Told {
                    release: row.get(2)?,
                    occasion: occasion.map(|(_, one)| *one),
                    id: row.get(4)?,
                    done: row.get(5)?,
                };
                Ok(((row.get(0)?, row.get(1)?), told))
            })?;
            found.collect()
        })
    }

    /// What is not delivered yet, the oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn outbox(&self, stack: &str) -> Result<Vec<Delivery>, StoreError> {
        self.with("read", |c| {
            if !c.table_exists(None, "outbox")? {
                return Ok(Vec::new());
            }
            let mut rows = c.prepare(
                "SELECT body, receiver, since, tries, tried, trouble FROM outbox WHERE stack = ?1 ORDER BY number",
            )?;
            let found = rows.query_map([stack], |row| {
                let (body, receiver): (String, String) = (row.get(0)?, row.get(1)?);
                let (since, tried): (String, Option<String>) = (row.get(2)?, row.get(4)?);
                let known = [Receiver::Rollbar, Receiver::Webhook].into_iter().find(|it| word(*it) == receiver);
                let Some((to, notice)) = known.zip(serde_json::from_str(&body).ok()) else { return Ok(None) };
                Ok(Some(Delivery {
                    notice,
                    to,
                    since: since.parse().unwrap_or(Timestamp::UNIX_EPOCH),
                    tries: row.get(3)?,
                    tried: tried.and_then(|tried| tried.parse().ok()),
                    trouble: row.get(5)?,
                }))
            })?;
            let all: Vec<Option<Delivery>> = found.collect::<rusqlite::Result<_>>()?;
            Ok(all.into_iter().flatten().collect())
        })
    }

    /// Puts on record that a delivery was tried, and what went wrong.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn put_try(&self, stack: &str, delivery: &Delivery, trouble: &str, at: Timestamp) -> Result<(), StoreError> {
        self.with("write", |c| {
            c.execute(
                "UPDATE outbox SET tries = tries + 1, tried = ?4, trouble = ?5
                    WHERE stack = ?1 AND id = ?2 AND receiver = ?3",
                params![stack, delivery.notice.id, word(delivery.to), at.to_string(), trouble],
            )?;
            Ok(())
        })
    }

    /// Strikes out a delivery: it has arrived, or is given up.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn drop_delivery(&self, stack: &str, delivery: &Delivery) -> Result<(), StoreError> {
        self.with("write", |c| {
            c.execute(
                "DELETE FROM outbox WHERE stack = ?1 AND id = ?2 AND receiver = ?3",
                params![stack, delivery.notice.id, word(delivery.to)],
            )?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(id: &str, release: &str, occasion: Option<Occasion>) -> Notice {
        Notice {
            id: id.into(),
            app: "shop".into(),
            container: "web".into(),
            occasion,
            release: release.into(),
            image: "web:1".into(),
            digest: None,
            revision: "r1".into(),
            words: String::new(),
            says: None,
            to: vec![Receiver::Rollbar, Receiver::Webhook],
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_is_to_be_told_is_there_after_a_restart_once_per_receiver_until_it_has_arrived() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        for _ in 0..2 {
            store.put_notice("shop", &notice("1", "a", Some(Occasion::Done)), at(1)).unwrap();
        }
        drop(store);
        let again = Store::open(directory.path()).unwrap();
        let outbox = again.outbox("shop").unwrap();
        assert_eq!(outbox.iter().map(|it| it.to).collect::<Vec<_>>(), [Receiver::Rollbar, Receiver::Webhook]);
        assert_eq!(outbox[0].notice, notice("1", "a", Some(Occasion::Done)));
        again.drop_delivery("shop", &outbox[0]).unwrap();
        again.put_try("shop", &outbox[1], "503", at(2)).unwrap();
        again.put_try("shop", &outbox[1], "no answer", at(3)).unwrap();
        let left = again.outbox("shop").unwrap();
        assert_eq!(left.len(), 1);
        let one = &left[0];
        assert_eq!((one.to, one.tries, one.tried), (Receiver::Webhook, 2, Some(at(3))));
        assert_eq!((one.since, one.trouble.as_deref()), (at(1), Some("no answer")));
        assert_eq!(again.outbox("blog").unwrap(), []);
    }

    #[test]
    fn the_release_that_was_done_last_is_known_though_another_one_has_failed_since() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let said = [("a", None), ("b", Some(Occasion::Started)), ("b", Some(Occasion::Failed))];
        for (number, (release, occasion)) in said.into_iter().enumerate() {
            store.put_notice("shop", &notice(&number.to_string(), release, occasion), at(1)).unwrap();
        }
        let told = store.told("shop").unwrap();
        let expected =
            Told { release: "b".into(), occasion: Some(Occasion::Failed), id: "2".into(), done: Some("a".into()) };
        assert_eq!(told[&("shop".to_owned(), "web".to_owned())], expected);
    }

    #[test]
    fn a_store_of_an_older_version_has_nothing_to_tell() {
        let directory = tempfile::tempdir().unwrap();
        drop(rusqlite::Connection::open(directory.path().join("evenkeel.db")).unwrap());
        let old = Store::open_existing(directory.path()).unwrap().unwrap();
        assert_eq!((old.told("shop").unwrap(), old.outbox("shop").unwrap()), (BTreeMap::new(), Vec::new()));
    }
}
