//! The store in one SQLite file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, params};

use super::{host_keys, jobs, migrations, notices, releases, scaled, wishes};
use crate::{
    plan::Intent,
    status::{Event, StackStatus},
    world::{Class, Trouble},
};

/// Events kept per store; older ones are dropped.
const EVENTS_KEPT: i64 = 10_000;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS intents (
        stack TEXT NOT NULL, action TEXT NOT NULL, sent TEXT NOT NULL, token TEXT, place TEXT,
        resent INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (stack, action)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS status (stack TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, stack TEXT NOT NULL, at TEXT NOT NULL, text TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS calls (api TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT;
";

/// See the module.
#[derive(Debug)]
pub struct Store {
    connection: Mutex<Connection>,
    file: PathBuf,
}

/// The store could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} the store {}: {source}; check that the directory exists, is writable, and has room", file.display())]
pub struct StoreError {
    doing: &'static str,
    file: PathBuf,
    source: rusqlite::Error,
}

impl StoreError {
    /// It may go well the next time.
    pub(super) fn trouble(self) -> Trouble {
        Trouble { class: Class::Transient, message: self.to_string() }
    }
}

/// What an earlier version lacked.
fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    let has = |column: &str| connection.prepare(&format!("SELECT {column} FROM intents")).is_ok();
    if !has("token") {
        connection.execute_batch(
            "ALTER TABLE intents ADD COLUMN token TEXT;
             ALTER TABLE intents ADD COLUMN place TEXT;
             ALTER TABLE intents ADD COLUMN resent INTEGER NOT NULL DEFAULT 0;",
        )?;
    }
    Ok(())
}

impl Store {
    /// Opens `evenkeel.db` in a directory, making it where it is missing.
    ///
    /// # Errors
    /// When the file cannot be opened, or is no store.
    pub fn open(directory: &Path) -> Result<Store, StoreError> {
        let file = directory.join("evenkeel.db");
        let open = || {
            let connection = Connection::open(&file)?;
            // Readers (`evenkeel status`) and the writer do not wait for each other.
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.busy_timeout(Duration::from_secs(5))?;
            connection.execute_batch(SCHEMA)?;
            migrate(&connection)?;
            connection.execute_batch(host_keys::SCHEMA)?;
            connection.execute_batch(releases::SCHEMA)?;
            connection.execute_batch(migrations::SCHEMA)?;
            connection.execute_batch(wishes::SCHEMA)?;
            connection.execute_batch(jobs::SCHEMA)?;
            connection.execute_batch(notices::SCHEMA)?;
            connection.execute_batch(scaled::SCHEMA)?;
            Ok(connection)
        };
        match open() {
            Ok(connection) => Ok(Store { connection: Mutex::new(connection), file }),
            Err(source) => Err(StoreError { doing: "open", file, source }),
        }
    }

    /// Opens an existing store for reading only; nothing when there is none.
    ///
    /// # Errors
    /// When there is one and it cannot be read.
    pub fn open_existing(directory: &Path) -> Result<Option<Store>, StoreError> {
        let file = directory.join("evenkeel.db");
        if !file.exists() {
            return Ok(None);
        }
        let open = || {
            let connection = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            connection.busy_timeout(Duration::from_secs(5))?;
            Ok(connection)
        };
        match open() {
            Ok(connection) => Ok(Some(Store { connection: Mutex::new(connection), file })),
            Err(source) => Err(StoreError { doing: "open", file, source }),
        }
    }

    pub(super) fn with<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        // A panic while the lock was held cannot have left half a statement behind: each one is a transaction.
        let connection = self.connection.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        work(&connection).map_err(|source| StoreError { doing, file: self.file.clone(), source })
    }

    /// Records, durably, that a create is about to be sent.
    ///
    /// # Errors
    /// When the store cannot be written; then the create must not be sent.
    pub fn record_intent(&self, stack: &str, action: &str, intent: &Intent) -> Result<(), StoreError> {
        self.with("write", |c| {
            c.execute(
                "INSERT OR REPLACE INTO intents (stack, action, sent, token, place, resent)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![stack, action, intent.sent.to_string(), intent.token, intent.place, intent.resent],
            )?;
            Ok(())
        })
    }

    /// Forgets an intent: its outcome is known.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn drop_intent(&self, stack: &str, action: &str) -> Result<(), StoreError> {
        self.with("write", |c| {
            c.execute("DELETE FROM intents WHERE stack = ?1 AND action = ?2", params![stack, action])?;
            Ok(())
        })
    }

    /// The intents of a stack, by their keys.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn intents(&self, stack: &str) -> Result<BTreeMap<String, Intent>, StoreError> {
        self.with("read", |c| {
            let mut rows = c.prepare("SELECT action, sent, token, place, resent FROM intents WHERE stack = ?1")?;
            let found = rows.query_map([stack], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
            })?;
            let mut intents = BTreeMap::new();
            for row in found {
                let (action, sent, token, place, resent) = row?;
                if let Ok(sent) = sent.parse() {
                    intents.insert(action, Intent { sent, token, place, resent });
                }
            }
            Ok(intents)
        })
    }

    /// Writes down how a stack is.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn put_status(&self, status: &StackStatus) -> Result<(), StoreError> {
        let body = serde_json::to_string(status).unwrap_or_default();
        self.with("write", |c| {
            c.execute("INSERT OR REPLACE INTO status (stack, body) VALUES (?1, ?2)", params![status.stack, body])?;
            Ok(())
        })
    }

    /// How each stack was when it was last written down.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn statuses(&self) -> Result<Vec<StackStatus>, StoreError> {
        self.with("read", |c| {
            let mut rows = c.prepare("SELECT body FROM status ORDER BY stack")?;
            let bodies = rows.query_map([], |row| row.get::<_, String>(0))?;
            let mut statuses = Vec::new();
            for body in bodies {
                statuses.extend(serde_json::from_str::<StackStatus>(&body?).ok());
            }
            Ok(statuses)
        })
    }

    /// Forgets the status of stacks that are no longer declared.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn keep_statuses(&self, stacks: &[String]) -> Result<(), StoreError> {
        for status in self.statuses()? {
            if !stacks.contains(&status.stack) {
                self.with("write", |c| c.execute("DELETE FROM status WHERE stack = ?1", [&status.stack]))?;
            }
        }
        Ok(())
    }

    /// Writes down how many requests were sent to AWS since the controller started, by API.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn put_calls(&self, calls: &BTreeMap<String, u64>) -> Result<(), StoreError> {
        self.with("write", |c| {
            let all = c.unchecked_transaction()?;
            all.execute("DELETE FROM calls", [])?;
            for (api, count) in calls {
                let count = i64::try_from(*count).unwrap_or(i64::MAX);
                all.execute("INSERT INTO calls (api, count) VALUES (?1, ?2)", params![api, count])?;
            }
            all.commit()
        })
    }

    /// How many requests were sent to AWS when it was written down last, by API.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn calls(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        self.with("read", |c| {
            // A store that an earlier version made, opened to be read only, has no such table.
            if !c.table_exists(None, "calls")? {
                return Ok(BTreeMap::new());
            }
            let mut rows = c.prepare("SELECT api, count FROM calls")?;
            let counts = rows.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?;
            counts.collect()
        })
    }

    /// Adds to what happened.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn add_event(&self, event: &Event) -> Result<(), StoreError> {
        self.with("write", |c| {
            c.execute(
                "INSERT INTO events (stack, at, text) VALUES (?1, ?2, ?3)",
                params![event.stack, event.at.to_string(), event.text],
            )?;
            c.execute("DELETE FROM events WHERE id <= last_insert_rowid() - ?1", [EVENTS_KEPT])?;
            Ok(())
        })
    }

    /// The last events of a stack, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn events(&self, stack: &str, most: u32) -> Result<Vec<Event>, StoreError> {
        self.with("read", |c| {
            let mut rows = c.prepare("SELECT at, text FROM events WHERE stack = ?1 ORDER BY id DESC LIMIT ?2")?;
            let found =
                rows.query_map(params![stack, most], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
            let mut events = Vec::new();
            for row in found {
                let (at, text) = row?;
                if let Ok(at) = at.parse() {
                    events.push(Event { stack: stack.to_owned(), at, text });
                }
            }
            events.reverse();
            Ok(events)
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        (directory, store)
    }

    #[test]
    fn an_intent_survives_the_process_that_recorded_it() {
        let (directory, store) = store();
        let sent = Intent {
            sent: "2026-01-01T00:00:00Z".parse().unwrap(),
            token: Some("t".into()),
            place: Some("subnet-1".into()),
            resent: true,
        };
        store.record_intent("shop", "create stack shop", &sent).unwrap();
        drop(store);
        let again = Store::open(directory.path()).unwrap();
        assert_eq!(again.intents("shop").unwrap(), BTreeMap::from([("create stack shop".to_owned(), sent)]));
        assert!(again.intents("other").unwrap().is_empty());
        again.drop_intent("shop", "create stack shop").unwrap();
        assert!(again.intents("shop").unwrap().is_empty());
    }

    #[test]
    fn a_store_of_an_earlier_version_is_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let old = Connection::open(directory.path().join("evenkeel.db")).unwrap();
        old.execute_batch(
            "CREATE TABLE intents (stack TEXT NOT NULL, action TEXT NOT NULL, sent TEXT NOT NULL,
                PRIMARY KEY (stack, action)) STRICT;
             INSERT INTO intents VALUES ('shop', 'create stack shop', '2026-01-01T00:00:00Z');",
        )
        .unwrap();
        drop(old);
        let intents = Store::open(directory.path()).unwrap().intents("shop").unwrap();
        let sent = "2026-01-01T00:00:00Z".parse().unwrap();
        let kept = Intent { sent, token: None, place: None, resent: false };
        assert_eq!(intents, BTreeMap::from([("create stack shop".to_owned(), kept)]));
    }

    #[test]
    fn calls_are_those_of_the_controller_that_wrote_last() {
        let (directory, store) = store();
        let calls = |counts: &[(&str, u64)]| counts.iter().map(|(api, count)| ((*api).to_owned(), *count)).collect();
        store.put_calls(&calls(&[("ec2.DescribeInstances", 7), ("opsworks.DescribeStacks", 1)])).unwrap();
        store.put_calls(&calls(&[("ec2.DescribeInstances", 1)])).unwrap();
        let reader = Store::open_existing(directory.path()).unwrap().unwrap();
        assert_eq!(reader.calls().unwrap(), calls(&[("ec2.DescribeInstances", 1)]));
    }

    #[test]
    fn a_store_without_calls_has_none_to_tell() {
        let directory = tempfile::tempdir().unwrap();
        let old = Connection::open(directory.path().join("evenkeel.db")).unwrap();
        old.execute_batch("CREATE TABLE status (stack TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;").unwrap();
        drop(old);
        let reader = Store::open_existing(directory.path()).unwrap().unwrap();
        assert!(reader.calls().unwrap().is_empty());
    }

    #[test]
    fn a_missing_store_is_nothing_to_read_and_no_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Store::open_existing(directory.path()).unwrap().is_none());
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_named_in_the_error() {
        let error = Store::open(Path::new("/proc/evenkeel")).unwrap_err().to_string();
        assert!(error.contains("/proc/evenkeel"), "{error}");
        assert!(error.contains("writable"), "{error}");
    }

    #[test]
    fn events_come_back_in_order() {
        let (_directory, store) = store();
        for n in 0..5 {
            let event = Event { stack: "shop".into(), at: Timestamp::UNIX_EPOCH, text: format!("event {n}") };
            store.add_event(&event).unwrap();
        }
        let texts: Vec<_> = store.events("shop", 2).unwrap().into_iter().map(|event| event.text).collect();
        assert_eq!(texts, ["event 3", "event 4"]);
    }
}
