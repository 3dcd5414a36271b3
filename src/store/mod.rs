//! What must be remembered and cannot be read back from AWS or the engines: intents, the last status of each
//! stack, and what happened.

mod sqlite;

pub use sqlite::{Store, StoreError};
