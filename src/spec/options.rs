//! What a container is given and denied beyond its image: as `docker run` takes it.
//!
//! Whatever is not declared is left out of everything that is hashed, so that an option which is added here changes
//! no container that does without it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::logging::Logging;

/// The options of a container; by default none.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Options {
    /// How much of the instance it may use.
    #[serde(skip_serializing_if = "is_default")]
    pub resources: Resources,
    /// What the engine does when it ends; left out, it is started again unless it was stopped.
    #[serde(skip_serializing_if = "is_default")]
    pub restart: Option<Restart>,
    /// As `docker run --ulimit`, by name.
    #[serde(skip_serializing_if = "is_default")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Linux capabilities that it has beyond the engine's default, `CAP_NET_ADMIN` or `ALL`.
    #[serde(skip_serializing_if = "is_default")]
    pub cap_add: Vec<String>,
    /// Linux capabilities that it is denied.
    #[serde(skip_serializing_if = "is_default")]
    pub cap_drop: Vec<String>,
    /// As `docker run --privileged`.
    #[serde(skip_serializing_if = "is_default")]
    pub privileged: bool,
    /// Its root file system is read-only.
    #[serde(skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// Paths with a file system in memory, and its mount options.
    #[serde(skip_serializing_if = "is_default")]
    pub tmpfs: BTreeMap<String, String>,
    /// `user`, `uid` or `uid:gid`; left out, the image's.
    #[serde(skip_serializing_if = "is_default")]
    pub user: Option<String>,
    /// Left out, the image's.
    #[serde(skip_serializing_if = "is_default")]
    pub working_dir: Option<String>,
    /// Further lines of `/etc/hosts`, `name:address`.
    #[serde(skip_serializing_if = "is_default")]
    pub extra_hosts: Vec<String>,
    /// Name servers; left out, the engine's.
    #[serde(skip_serializing_if = "is_default")]
    pub dns: Vec<String>,
    /// Bytes of `/dev/shm`; left out, the engine's (64 MiB).
    #[serde(skip_serializing_if = "is_default")]
    pub shm_size: Option<u64>,
    /// Kernel parameters of its own namespaces.
    #[serde(skip_serializing_if = "is_default")]
    pub sysctls: BTreeMap<String, String>,
    /// Devices of the host.
    #[serde(skip_serializing_if = "is_default")]
    pub devices: Vec<Device>,
    /// Whether an init process runs in it; left out, the engine's default.
    #[serde(skip_serializing_if = "is_default")]
    pub init: Option<bool>,
    /// Labels beside Evenkeel's own.
    #[serde(skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
    /// How it logs; left out, as its app, and else as the engine is set up.
    #[serde(skip_serializing_if = "is_default")]
    pub logging: Option<Logging>,
}

impl Options {
    /// True when nothing is declared.
    pub fn is_empty(&self) -> bool {
        is_default(self)
    }

    /// True when the engine starts it again whenever it ends; else that is left to Evenkeel.
    pub fn is_kept_up(&self) -> bool {
        matches!(self.restart, None | Some(Restart::Always))
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Limits and shares of memory, CPU and processes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Bytes it may use at most.
    #[serde(skip_serializing_if = "is_default")]
    pub memory: Option<u64>,
    /// Bytes it is held to when the host is short of memory.
    #[serde(skip_serializing_if = "is_default")]
    pub memory_reservation: Option<u64>,
    /// Billionths of a CPU it may use at most.
    #[serde(skip_serializing_if = "is_default")]
    pub nano_cpus: Option<u64>,
    /// Its weight against others (1024) when there are too few CPUs.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_shares: Option<u32>,
    /// Processes and threads at most.
    #[serde(skip_serializing_if = "is_default")]
    pub pids: Option<u32>,
}

/// What the engine does when the container ends. That it is started again unless it was stopped is the default, and
/// has no variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Restart {
    /// Nothing.
    No,
    /// It is started again, also after it was stopped, once the engine itself is started.
    Always,
    /// It is started again when it ended with an error, at most so often.
    OnFailure(Option<u32>),
}

/// A soft and a hard limit; -1 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct Ulimit {
    pub soft: i64,
    pub hard: i64,
}

/// A device of the host inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Its path on the host.
    pub host: String,
    /// Its path inside.
    pub path: String,
    /// Some of `r`, `w` and `m` (mknod).
    pub permissions: String,
}
