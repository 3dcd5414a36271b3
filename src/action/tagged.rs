//! Tags that people declare, on what bears them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize;

/// What bears tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub enum Tagged {
    /// An EC2 instance.
    Instance { id: String, hostname: String },
    /// An EBS volume of an instance.
    Volume { id: String, hostname: String },
    /// An OpsWorks layer, and through OpsWorks everything in it.
    Layer { id: String, short_name: String },
}

impl fmt::Display for Tagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tagged::Instance { hostname, .. } => write!(f, "instance {hostname}"),
            Tagged::Volume { id, hostname } => write!(f, "volume {id} of {hostname}"),
            Tagged::Layer { short_name, .. } => write!(f, "layer {short_name}"),
        }
    }
}

/// What is to become of its tags.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tags {
    /// Those that it gets.
    pub put: BTreeMap<String, String>,
    /// Those that it loses.
    pub drop: BTreeSet<String>,
}

impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The list of those that are Evenkeel's to take away is of no interest.
        let put = self
            .put
            .iter()
            .filter(|(key, _)| !key.starts_with("evenkeel:"))
            .map(|(key, value)| format!("{key}={value}"));
        let drop = self.drop.iter().filter(|key| !key.starts_with("evenkeel:")).map(|key| format!("no {key}"));
        let words: Vec<String> = put.chain(drop).collect();
        f.write_str(&if words.is_empty() { "the list of its tags".to_owned() } else { words.join(", ") })
    }
}
