//! What more than one kind of connection waits for.

use std::time::Duration;

/// How long a TCP connection together with its TLS or SSH handshake may take.
pub(super) const CONNECT: Duration = Duration::from_secs(5);
