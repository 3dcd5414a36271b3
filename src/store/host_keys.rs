//! The host keys that instances are pinned to.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError};
use crate::{
    action::{JobNote, Migrated, Release, Wish},
    ports::{HostKeys, Pinned, Records},
    world::{Class, Trouble},
};

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS host_keys (
        instance TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, first_seen TEXT NOT NULL
    ) STRICT;
";

impl Store {
    /// The host key that an instance is pinned to.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn host_key(&self, instance: &str) -> Result<Option<Pinned>, StoreError> {
        self.with("read", |c| {
            // A store that an older version has made is not changed by those who only read.
            if !c.table_exists(None, "host_keys")? {
                return Ok(None);
            }
            let row = c
                .query_row("SELECT fingerprint, first_seen FROM host_keys WHERE instance = ?1", [instance], |row| {
                    Ok((row.get(0)?, row.get::<_, String>(1)?))
                })
                .optional()?;
            Ok(row.map(|(fingerprint, since)| Pinned {
                fingerprint,
                since: since.parse().unwrap_or(Timestamp::UNIX_EPOCH),
            }))
        })
    }

    /// Pins an instance to a host key, unless it is pinned already.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn pin_host_key(&self, instance: &str, fingerprint: &str, seen: Timestamp) -> Result<(), StoreError> {
        self.with("write", |c| {
            c.execute(
                "INSERT OR IGNORE INTO host_keys (instance, fingerprint, first_seen) VALUES (?1, ?2, ?3)",
                params![instance, fingerprint, seen.to_string()],
            )?;
            Ok(())
        })
    }

    /// Forgets what an instance is pinned to, and tells what that was.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn forget_host_key(&self, instance: &str) -> Result<Option<Pinned>, StoreError> {
        let pinned = self.host_key(instance)?;
        self.with("write", |c| c.execute("DELETE FROM host_keys WHERE instance = ?1", [instance]))?;
        Ok(pinned)
    }
}

impl HostKeys for Store {
    fn pinned(&self, instance: &str) -> Result<Option<Pinned>, Trouble> {
        self.host_key(instance).map_err(StoreError::trouble)
    }

    fn pin(&self, instance: &str, fingerprint: &str) -> Result<(), Trouble> {
        self.pin_host_key(instance, fingerprint, Timestamp::now()).map_err(StoreError::trouble)
    }
}

/// For commands that change nothing: what the store knows counts, and a key that it does not know holds for this run
/// alone.
#[derive(Debug, Default)]
pub struct Unwritten {
    store: Option<Store>,
    seen: Mutex<BTreeMap<String, Pinned>>,
}

impl Unwritten {
    /// On top of a store, if there is one.
    pub fn over(store: Option<Store>) -> Unwritten {
        Unwritten { store, ..Unwritten::default() }
    }
}

impl HostKeys for Unwritten {
    fn pinned(&self, instance: &str) -> Result<Option<Pinned>, Trouble> {
        let known = self.store.as_ref().map_or(Ok(None), |store| store.pinned(instance))?;
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(instance).cloned();
        Ok(known.or_else(seen))
    }

    fn pin(&self, instance: &str, fingerprint: &str) -> Result<(), Trouble> {
        let new = || Pinned { fingerprint: fingerprint.to_owned(), since: Timestamp::now() };
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).entry(instance.to_owned()).or_insert_with(new);
        Ok(())
    }
}

fn not_written(what: &str) -> Trouble {
    let message = format!("{what} was not recorded: nothing is written by a command that only looks");
    Trouble { class: Class::Terminal, message }
}

impl Records for Unwritten {
    fn record(&self, _: &str, release: &Release) -> Result<(), Trouble> {
        Err(not_written(&release.to_string()))
    }

    fn record_migration(&self, _: &str, migrated: &Migrated) -> Result<(), Trouble> {
        Err(not_written(&migrated.to_string()))
    }

    fn note_job(&self, _: &str, note: &JobNote) -> Result<(), Trouble> {
        Err(not_written(&note.to_string()))
    }

    fn begin_wish(&self, _: &str, wish: &Wish) -> Result<(), Trouble> {
        Err(not_written(&wish.to_string()))
    }

    fn end_wish(&self, _: &str, wish: &Wish) -> Result<(), Trouble> {
        Err(not_written(&wish.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_stays_pinned_to_the_key_it_showed_first_until_that_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(store.host_key("i-1").unwrap(), None);
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let first = at("2026-01-01T00:00:00Z");
        store.pin_host_key("i-1", "SHA256:one", first).unwrap();
        store.pin_host_key("i-1", "SHA256:two", at("2026-01-02T00:00:00Z")).unwrap();
        store.pin_host_key("i-2", "SHA256:two", first).unwrap();
        drop(store);

        let again = Store::open(directory.path()).unwrap();
        let pinned = Some(Pinned { fingerprint: "SHA256:one".into(), since: first });
        assert_eq!(again.host_key("i-1").unwrap(), pinned);
        assert_eq!(again.forget_host_key("i-1").unwrap(), pinned);
        assert_eq!(again.forget_host_key("i-1").unwrap(), None);
        assert_eq!(again.host_key("i-2").unwrap().unwrap().fingerprint, "SHA256:two");
    }

    #[test]
    fn those_who_only_read_remember_for_themselves_and_write_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        store.pin("i-1", "SHA256:one").unwrap();
        let read = Unwritten::over(Store::open_existing(directory.path()).unwrap());
        read.pin("i-1", "SHA256:two").unwrap();
        read.pin("i-2", "SHA256:two").unwrap();
        assert_eq!(read.pinned("i-1").unwrap().unwrap().fingerprint, "SHA256:one");
        assert_eq!(read.pinned("i-2").unwrap().unwrap().fingerprint, "SHA256:two");
        assert_eq!(store.pinned("i-2").unwrap(), None);
    }

    #[test]
    fn a_store_of_an_older_version_pins_nothing_yet() {
        let directory = tempfile::tempdir().unwrap();
        drop(rusqlite::Connection::open(directory.path().join("evenkeel.db")).unwrap());
        let old = Store::open_existing(directory.path()).unwrap().unwrap();
        assert_eq!(old.pinned("i-1").unwrap(), None);
    }
}
