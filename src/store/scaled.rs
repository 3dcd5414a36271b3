//! How many instances each layer is to have whose number is not fixed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::params;

use super::{Store, StoreError};
use crate::action::Scaled;

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS scaled (
        stack TEXT NOT NULL, layer TEXT NOT NULL, before INTEGER NOT NULL, count INTEGER NOT NULL, at TEXT NOT NULL,
        why TEXT NOT NULL,
        PRIMARY KEY (stack, layer)
    ) STRICT;
";

impl Store {
    /// Writes down, durably, how many instances a layer is to have.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn put_scaled(&self, stack: &str, scaled: &Scaled) -> Result<(), StoreError> {
        let Scaled { layer, from, count, at, why } = scaled;
        self.with("write", |c| {
            c.execute(
                "INSERT OR REPLACE INTO scaled (stack, layer, before, count, at, why) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![stack, layer, from, count, at.to_string(), why],
            )?;
            Ok(())
        })
    }

    /// Forgets it.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn drop_scaled(&self, stack: &str, layer: &str) -> Result<(), StoreError> {
        self.with("write", |c| {
            c.execute("DELETE FROM scaled WHERE stack = ?1 AND layer = ?2", params![stack, layer])?;
            Ok(())
        })
    }

    /// How many instances the layers of a stack are to have, by their short names.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn scaled(&self, stack: &str) -> Result<BTreeMap<String, Scaled>, StoreError> {
        self.with("read", |c| {
            // A store that an earlier version made, opened to be read only, has no such table.
            if !c.table_exists(None, "scaled")? {
                return Ok(BTreeMap::new());
            }
            let mut rows = c.prepare("SELECT layer, before, count, at, why FROM scaled WHERE stack = ?1")?;
            let found = rows.query_map([stack], |row| {
                let layer: String = row.get(0)?;
                let at = row.get::<_, String>(3)?.parse().unwrap_or(Timestamp::UNIX_EPOCH);
                let scaled =
                    Scaled { layer: layer.clone(), from: row.get(1)?, count: row.get(2)?, at, why: row.get(4)? };
                Ok((layer, scaled))
            })?;
            found.collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_there_are_to_be_is_known_after_a_restart_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let scaled = |count| Scaled {
            layer: "docker".into(),
            from: 2,
            count,
            at: "2026-01-01T00:00:00.5Z".parse().unwrap(),
            why: "cpu 91% is above 80%".into(),
        };
        let store = Store::open(directory.path()).unwrap();
        store.put_scaled("shop", &scaled(3)).unwrap();
        store.put_scaled("shop", &scaled(4)).unwrap();
        store.put_scaled("blog", &scaled(5)).unwrap();
        drop(store);
        let again = Store::open(directory.path()).unwrap();
        assert_eq!(again.scaled("shop").unwrap(), BTreeMap::from([("docker".to_owned(), scaled(4))]));
        again.drop_scaled("shop", "docker").unwrap();
        assert!(again.scaled("shop").unwrap().is_empty());
        assert_eq!(again.scaled("blog").unwrap().len(), 1);
    }
}
