//! The same on EC2: instances that Evenkeel launches, boots, heals and replaces itself.

mod accounts;
mod converge;
pub mod fleet;
mod healed;
mod killed;
pub mod manifest;
mod owned;
mod reached;
mod refreshed;
mod several;
mod trouble;
