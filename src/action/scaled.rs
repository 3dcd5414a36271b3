//! How many instances a layer is to have whose number is not fixed.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scaled {
    /// The layer's short name.
    pub layer: String,
    /// How many there were to be before.
    pub from: u32,
    /// How many there are to be.
    pub count: u32,
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub why: String,
}

impl fmt::Display for Scaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scaled { layer, from, count, why, .. } = self;
        match from == count {
            true => write!(f, "layer {layer} from {count}: {why}"),
            false => write!(f, "layer {layer} from {from} to {count}: {why}"),
        }
    }
}
