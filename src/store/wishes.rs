//! What operators have asked for and is not over.
//!
//! A command writes it here while the controller runs; the controller sees that the file has changed, and reads it on
//! its next pass. So nothing that was asked for is lost while no controller runs.

use rusqlite::params;

use super::{Store, StoreError};
use crate::action::Wish;

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS wishes (
        stack TEXT NOT NULL, app TEXT NOT NULL, container TEXT NOT NULL, word TEXT NOT NULL, at TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (stack, app, container, word)
    ) STRICT;
";

/// What tells a wish from every other one.
fn key(wish: &Wish) -> (&str, &str, &'static str, String) {
    (&wish.app, wish.container.as_deref().unwrap_or_default(), wish.word(), wish.at.to_string())
}

impl Store {
    /// Writes down what an operator asks for, all at once, in the place of the same asked for before. What is taken
    /// back by it is forgotten.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn ask(&self, stack: &str, wishes: &[Wish], taken_back: &[Wish]) -> Result<(), StoreError> {
        self.with("write", |c| {
            let all = c.unchecked_transaction()?;
            for wish in taken_back {
                let (app, container, word, _) = key(wish);
                all.execute(
                    "DELETE FROM wishes WHERE stack = ?1 AND app = ?2 AND container = ?3 AND word = ?4",
                    params![stack, app, container, word],
                )?;
            }
            for wish in wishes {
                let (app, container, word, at) = key(wish);
                all.execute(
                    "INSERT OR REPLACE INTO wishes (stack, app, container, word, at, body)
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![stack, app, container, word, at, serde_json::to_string(wish).unwrap_or_default()],
                )?;
            }
            all.commit()
        })
    }

    /// What is asked for of a stack, in the order of the apps.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn wishes(&self, stack: &str) -> Result<Vec<Wish>, StoreError> {
        self.with("read", |c| {
            // A store that an earlier version made, opened to be read only, has no such table.
            if !c.table_exists(None, "wishes")? {
                return Ok(Vec::new());
            }
            let mut rows = c.prepare("SELECT body FROM wishes WHERE stack = ?1 ORDER BY app, container, word")?;
            let bodies = rows.query_map([stack], |row| row.get::<_, String>(0))?;
            let mut wishes = Vec::new();
            for body in bodies {
                wishes.extend(serde_json::from_str::<Wish>(&body?).ok());
            }
            Ok(wishes)
        })
    }

    pub(super) fn note_begun(&self, stack: &str, wish: &Wish) -> Result<(), StoreError> {
        let begun = wish.begun();
        let (app, container, word, at) = key(&begun);
        self.with("write", |c| {
            c.execute(
                "UPDATE wishes SET body = ?6
                    WHERE stack = ?1 AND app = ?2 AND container = ?3 AND word = ?4 AND at = ?5",
                params![stack, app, container, word, at, serde_json::to_string(&begun).unwrap_or_default()],
            )?;
            Ok(())
        })
    }

    pub(super) fn drop_wish(&self, stack: &str, wish: &Wish) -> Result<(), StoreError> {
        let (app, container, word, at) = key(wish);
        self.with("write", |c| {
            c.execute(
                "DELETE FROM wishes
                    WHERE stack = ?1 AND app = ?2 AND container = ?3 AND word = ?4 AND at = ?5",
                params![stack, app, container, word, at],
            )?;
            Ok(())
        })
    }

    /// A number that is another one once somebody else has written to the store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn version(&self) -> Result<i64, StoreError> {
        self.with("read", |c| c.pragma_query_value(None, "data_version", |row| row.get(0)))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::action::WishKind;

    fn wish(kind: WishKind, second: i64) -> Wish {
        let container = matches!(kind, WishKind::Deploy { .. }).then(|| "web".to_owned());
        Wish { app: "shop".into(), container, kind, at: Timestamp::from_second(second).unwrap() }
    }

    #[test]
    fn what_was_asked_for_is_there_after_a_restart_until_it_is_over_or_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let (deploy, pause) = (wish(WishKind::Deploy { begun: false }, 1), wish(WishKind::Pause, 2));
        let store = Store::open(directory.path()).unwrap();
        store.ask("shop", &[deploy.clone(), pause.clone()], &[]).unwrap();
        drop(store);
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(store.wishes("shop").unwrap(), [pause.clone(), deploy.clone()]);
        assert_eq!(store.wishes("blog").unwrap(), []);
        store.note_begun("shop", &deploy).unwrap();
        let begun = deploy.begun();
        store.ask("shop", &[], &[pause]).unwrap();
        assert_eq!(store.wishes("shop").unwrap(), std::slice::from_ref(&begun));
        store.drop_wish("shop", &begun).unwrap();
        assert_eq!(store.wishes("shop").unwrap(), []);
    }

    #[test]
    fn the_end_of_a_wish_is_not_the_end_of_the_same_asked_for_again() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let [first, again] = [1, 2].map(|second| wish(WishKind::Deploy { begun: false }, second));
        store.ask("shop", std::slice::from_ref(&first), &[]).unwrap();
        store.ask("shop", std::slice::from_ref(&again), &[]).unwrap();
        store.note_begun("shop", &first).unwrap();
        store.drop_wish("shop", &first).unwrap();
        assert_eq!(store.wishes("shop").unwrap(), [again]);
    }

    #[test]
    fn that_somebody_else_wrote_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let (controller, command) = (Store::open(directory.path()).unwrap(), Store::open(directory.path()).unwrap());
        let before = controller.version().unwrap();
        controller.ask("shop", &[wish(WishKind::Pause, 1)], &[]).unwrap();
        assert_eq!(controller.version().unwrap(), before, "its own writing is no news");
        command.ask("shop", &[wish(WishKind::Pause, 2)], &[]).unwrap();
        assert_ne!(controller.version().unwrap(), before);
    }
}
