//! From text to manifests, with every error and its place.
