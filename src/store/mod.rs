//! What must be remembered and cannot be read back from AWS or the engines: intents, the last status of each
//! stack, what happened, releases, what operators ask for, and the host keys of instances.

mod host_keys;
mod jobs;
mod migrations;
mod notices;
mod releases;
mod scaled;
mod sqlite;
mod wishes;

pub use host_keys::Unwritten;
pub use releases::last_of_each;
pub use sqlite::{Store, StoreError};
