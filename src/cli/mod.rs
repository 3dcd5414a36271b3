//! (to come)

pub mod diagnostics;
pub mod validate;
