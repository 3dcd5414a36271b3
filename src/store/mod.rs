//! What must be remembered and cannot be read back from AWS or the engines: intents, the last status of each
//! stack, what happened, releases, and the host keys of instances.

mod host_keys;
mod migrations;
mod releases;
mod sqlite;

pub use host_keys::Unwritten;
pub use sqlite::{Store, StoreError};
