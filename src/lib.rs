//! Evenkeel keeps Docker apps running on a fleet of AWS instances, and swaps their containers without losing a
//! request.
//!
//! ```text
//! git / directory ─source→ Revision ─spec→ Desired ┐
//! AWS APIs, Docker engines ──────observe→ Observed ┼─plan (pure)→ Plan ─apply→ effects
//! store (leases, intents) ─────────────────→ Facts ┘                └─→ status → CLI, events
//! ```
//!
//! The floors, from the top; a module uses only what lies below it:
//!
//! | floor | modules |
//! |---|---|
//! | commands | [`cli`] |
//! | the loop | [`controller`] |
//! | everything that touches the world | [`observe`], [`apply`], [`aws`], [`docker`], [`store`], [`vault`], [`messenger`] |
//! | decisions and borders | [`plan`], [`ports`] |
//! | what passes between them | [`action`], [`bootstrap`], [`import`], [`source`], [`status`] |
//! | plain types | [`secret`], [`spec`], [`world`] |

pub mod action;
pub mod apply;
pub mod aws;
pub mod bootstrap;
pub mod cli;
pub mod controller;
pub mod docker;
pub mod import;
pub mod messenger;
pub mod observe;
pub mod plan;
pub mod ports;
pub mod secret;
pub mod source;
pub mod spec;
pub mod status;
pub mod store;
pub mod vault;
pub mod world;
