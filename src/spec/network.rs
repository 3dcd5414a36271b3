//! The networks that containers of one engine can be in.

use serde::Serialize;

/// What a container or an app declares.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Network {
    /// The engine's default bridge, where containers see each other by `links`.
    #[default]
    Bridge,
    /// That of the instance itself.
    Host,
    /// None but a loopback.
    None,
    /// One that Evenkeel makes for the app, where its containers find each other by name.
    App,
}

/// The network that a container is put into, by its name on the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Joined {
    /// The engine's default bridge.
    #[default]
    Bridge,
    /// That of the instance itself.
    Host,
    /// None but a loopback.
    None,
    /// One that Evenkeel has made.
    Own {
        /// Its name.
        name: String,
        /// The names under which others in it find the container.
        aliases: Vec<String>,
    },
}

impl Joined {
    /// True for the engine's default, which needs no saying.
    pub fn is_default(&self) -> bool {
        *self == Joined::Bridge
    }

    /// The name of a network that Evenkeel has made.
    pub fn own(&self) -> Option<&str> {
        match self {
            Joined::Own { name, .. } => Some(name),
            _ => None,
        }
    }
}
