//! Where the engine puts what a container writes to its standard output and error.

use std::collections::BTreeMap;

use serde::Serialize;

/// A log driver and its options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Logging {
    /// The driver, `json-file`.
    pub driver: String,
    /// Its options, in its own words; values may hold `%{…}`.
    pub options: BTreeMap<String, String>,
}
