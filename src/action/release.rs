//! A release of one container: the image that its tag stood for when it began.

use std::fmt;

use serde::Serialize;

use crate::spec::image;

/// See the module. Every instance runs the same digest, whatever the tag stands for later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// The app's name.
    pub app: String,
    /// The container's key.
    pub container: String,
    /// The image reference as declared, with its tag.
    pub image: String,
    /// What it stood for: `sha256:…`.
    pub digest: String,
    /// The revision of the manifests at the time.
    pub revision: String,
}

impl Release {
    /// What it is a release of: `APP/CONTAINER`.
    pub fn subject(&self) -> String {
        format!("{}/{}", self.app, self.container)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} is {}", self.subject(), self.image, image::short(&self.digest))
    }
}
