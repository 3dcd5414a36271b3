//! Manifests held against each other.
