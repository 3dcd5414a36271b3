//! The releases of every container: which image its tag stood for, and since when.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Row, params};

use super::{Store, StoreError};
use crate::{
    action::{Delivery, JobNote, Migrated, Notice, Release, Scaled, Wish},
    plan::{Released, ask::Numbered},
    ports::Records,
    world::Trouble,
};

/// Releases kept per container; older ones are dropped.
const KEPT: i64 = 100;

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS releases (
        id INTEGER PRIMARY KEY AUTOINCREMENT, stack TEXT NOT NULL, app TEXT NOT NULL, container TEXT NOT NULL,
        image TEXT NOT NULL, digest TEXT NOT NULL, revision TEXT NOT NULL, since TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS releases_of ON releases (stack, app, container, id);
";

impl Store {
    /// Records, durably, that a release has begun. One that is the last already is not recorded again.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn record_release(&self, stack: &str, release: &Release, since: Timestamp) -> Result<(), StoreError> {
        let Release { app, container, image, digest, revision } = release;
        self.with("write", |c| {
            let all = c.unchecked_transaction()?;
            let last: i64 = all.query_row(
                "SELECT coalesce(max(id), 0) FROM releases WHERE stack = ?1 AND app = ?2 AND container = ?3",
                params![stack, app, container],
                |row| row.get(0),
            )?;
            all.execute(
                "INSERT INTO releases (stack, app, container, image, digest, revision, since)
                    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 WHERE NOT EXISTS
                        (SELECT 1 FROM releases WHERE id = ?8 AND image = ?4 AND digest = ?5)",
                params![stack, app, container, image, digest, revision, since.to_string(), last],
            )?;
            all.execute(
                "DELETE FROM releases WHERE stack = ?1 AND app = ?2 AND container = ?3 AND id NOT IN
                    (SELECT id FROM releases WHERE stack = ?1 AND app = ?2 AND container = ?3
                        ORDER BY id DESC LIMIT ?4)",
                params![stack, app, container, KEPT],
            )?;
            all.commit()
        })
    }

    /// The last release of each container of a stack, by app and container.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn releases(&self, stack: &str) -> Result<BTreeMap<(String, String), Released>, StoreError> {
        let all = self.released(stack)?.into_iter().map(|one| one.released).collect::<Vec<_>>();
        Ok(last_of_each(&all))
    }

    /// Every release of a stack that is on record, with its number, the oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn released(&self, stack: &str) -> Result<Vec<Numbered>, StoreError> {
        self.with("read", |c| {
            // A store that an earlier version made, opened to be read only, has no such table.
            if !c.table_exists(None, "releases")? {
                return Ok(Vec::new());
            }
            let mut rows = c.prepare(
                "SELECT id, app, container, image, digest, revision, since FROM releases WHERE stack = ?1 ORDER BY id",
            )?;
            let found = rows.query_map([stack], read)?;
            found.collect()
        })
    }
}

/// The last release of each container, by app and container.
pub fn last_of_each(history: &[Released]) -> BTreeMap<(String, String), Released> {
    let of = |one: &Released| ((one.release.app.clone(), one.release.container.clone()), one.clone());
    history.iter().map(of).collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Numbered> {
    let release = Release {
        app: row.get(1)?,
        container: row.get(2)?,
        image: row.get(3)?,
        digest: row.get(4)?,
        revision: row.get(5)?,
    };
    let since = row.get::<_, String>(6)?.parse().unwrap_or(Timestamp::UNIX_EPOCH);
    Ok(Numbered { number: row.get(0)?, released: Released { release, since } })
}

impl Records for Store {
    fn record(&self, stack: &str, release: &Release) -> Result<(), Trouble> {
        self.record_release(stack, release, Timestamp::now()).map_err(StoreError::trouble)
    }

    fn record_migration(&self, stack: &str, migrated: &Migrated) -> Result<(), Trouble> {
        self.put_migration(stack, migrated, Timestamp::now()).map_err(StoreError::trouble)
    }

    fn note_job(&self, stack: &str, note: &JobNote) -> Result<(), Trouble> {
        self.put_job(stack, note).map_err(StoreError::trouble)
    }

    fn scale(&self, stack: &str, scaled: &Scaled) -> Result<(), Trouble> {
        self.put_scaled(stack, scaled).map_err(StoreError::trouble)
    }

    fn forget_scale(&self, stack: &str, layer: &str) -> Result<(), Trouble> {
        self.drop_scaled(stack, layer).map_err(StoreError::trouble)
    }

    fn begin_wish(&self, stack: &str, wish: &Wish) -> Result<(), Trouble> {
        self.note_begun(stack, wish).map_err(StoreError::trouble)
    }

    fn end_wish(&self, stack: &str, wish: &Wish) -> Result<(), Trouble> {
        self.drop_wish(stack, wish).map_err(StoreError::trouble)
    }

    fn announce(&self, stack: &str, notice: &Notice) -> Result<(), Trouble> {
        self.put_notice(stack, notice, Timestamp::now()).map_err(StoreError::trouble)
    }

    fn tried(&self, stack: &str, delivery: &Delivery, trouble: &str) -> Result<(), Trouble> {
        self.put_try(stack, delivery, trouble, Timestamp::now()).map_err(StoreError::trouble)
    }

    fn end_delivery(&self, stack: &str, delivery: &Delivery) -> Result<(), Trouble> {
        self.drop_delivery(stack, delivery).map_err(StoreError::trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(container: &str, digest: &str) -> Release {
        Release {
            app: "shop".into(),
            container: container.into(),
            image: "app:1".into(),
            digest: digest.into(),
            revision: "r1".into(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_last_release_of_each_container_counts_and_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        for (second, container, digest) in [(1, "app", "sha256:a"), (2, "web", "sha256:w"), (3, "app", "sha256:b")] {
            store.record_release("shop", &release(container, digest), at(second)).unwrap();
        }
        store.record_release("blog", &release("app", "sha256:x"), at(4)).unwrap();
        drop(store);

        let again = Store::open(directory.path()).unwrap();
        let last = again.releases("shop").unwrap();
        let digest = |container: &str| &last[&("shop".to_owned(), container.to_owned())];
        assert_eq!((digest("app").release.digest.as_str(), digest("app").since), ("sha256:b", at(3)));
        assert_eq!((digest("web").release.digest.as_str(), last.len()), ("sha256:w", 2));
        assert_eq!(again.released("shop").unwrap().len(), 3);
    }

    #[test]
    fn a_release_that_is_the_last_already_is_not_recorded_again_and_one_that_comes_back_is() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        for (second, digest) in [(1, "sha256:a"), (2, "sha256:a"), (3, "sha256:b"), (4, "sha256:a")] {
            store.record_release("shop", &release("app", digest), at(second)).unwrap();
        }
        let all = store.released("shop").unwrap();
        let times: Vec<Timestamp> = all.iter().map(|one| one.released.since).collect();
        assert_eq!(times, [at(1), at(3), at(4)]);
    }

    #[test]
    fn the_oldest_of_very_many_releases_are_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        for second in 0..KEPT + 3 {
            store.record_release("shop", &release("app", &format!("sha256:{second}")), at(second)).unwrap();
        }
        let all = store.released("shop").unwrap();
        assert_eq!((all.len(), all[0].released.since), (100, at(3)));
    }

    #[test]
    fn a_store_of_an_older_version_has_no_release_yet() {
        let directory = tempfile::tempdir().unwrap();
        drop(rusqlite::Connection::open(directory.path().join("evenkeel.db")).unwrap());
        let old = Store::open_existing(directory.path()).unwrap().unwrap();
        assert_eq!(old.releases("shop").unwrap(), BTreeMap::new());
    }
}
