//! The subjects of what can vanish, as the plan names them.

/// The stack.
pub const STACK: &str = "stack";

/// A layer, by its short name.
pub fn layer(short_name: &str) -> String {
    format!("layer {short_name}")
}

/// An app, by its short name.
pub fn app(short_name: &str) -> String {
    format!("app {short_name}")
}

/// A volume, by the hostname that it was made for and where it is mounted.
pub fn volume(hostname: &str, mount_point: &str) -> String {
    format!("volume {hostname}:{mount_point}")
}

/// Which answer tells of it: that about stacks, layers, apps, instances or volumes.
pub(super) fn part(subject: &str) -> usize {
    match subject.split_once(' ') {
        Some(("layer", _)) => 1,
        Some(("volume", _)) => 4,
        Some(_) => 2,
        None if subject == STACK => 0,
        None => 3,
    }
}
