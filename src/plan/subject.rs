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
