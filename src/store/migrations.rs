//! The migrations that went well.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::params;

use super::{Store, StoreError};
use crate::action::Migrated;

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS migrations (
        stack TEXT NOT NULL, app TEXT NOT NULL, container TEXT NOT NULL, key TEXT NOT NULL, hostname TEXT NOT NULL,
        revision TEXT NOT NULL, at TEXT NOT NULL, words TEXT NOT NULL,
        PRIMARY KEY (stack, app, container, key)
    ) STRICT;
";

impl Store {
    /// Records, durably, that a migration went well.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn put_migration(&self, stack: &str, migrated: &Migrated, at: Timestamp) -> Result<(), StoreError> {
        let Migrated { app, container, key, hostname, revision, words } = migrated;
        self.with("write", |c| {
            c.execute(
                "INSERT OR IGNORE INTO migrations (stack, app, container, key, hostname, revision, at, words)
                    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![stack, app, container, key, hostname, revision, at.to_string(), words],
            )?;
            Ok(())
        })
    }

    /// The migrations of a stack that went well: app, container and key.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn migrated(&self, stack: &str) -> Result<BTreeSet<(String, String, String)>, StoreError> {
        self.with("read", |c| {
            // A store that an earlier version made, opened to be read only, has no such table.
            if !c.table_exists(None, "migrations")? {
                return Ok(BTreeSet::new());
            }
            let mut rows = c.prepare("SELECT app, container, key FROM migrations WHERE stack = ?1")?;
            let found = rows.query_map([stack], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            found.collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_that_went_well_is_known_after_a_restart_and_by_its_own_stack_alone() {
        let directory = tempfile::tempdir().unwrap();
        let migrated = Migrated {
            app: "shop".into(),
            container: "app".into(),
            key: "1".into(),
            hostname: "docker1".into(),
            revision: "r1".into(),
            words: "3 tables".into(),
        };
        let store = Store::open(directory.path()).unwrap();
        store.put_migration("shop", &migrated, Timestamp::UNIX_EPOCH).unwrap();
        store.put_migration("shop", &migrated, Timestamp::UNIX_EPOCH).unwrap();
        drop(store);
        let again = Store::open(directory.path()).unwrap();
        let known = BTreeSet::from([("shop".to_owned(), "app".to_owned(), "1".to_owned())]);
        assert_eq!((again.migrated("shop").unwrap(), again.migrated("blog").unwrap()), (known, BTreeSet::new()));
    }
}
