//! User-data run for real: on namespaces and loop devices of this host, so these tests need root, but no network.

mod cloud;
mod docker;
mod machine;
mod volumes;

use evenkeel::bootstrap::{Bootstrap, LogRotation, Mount, Transport, device, user_data};

/// An instance reached by ssh, which needs nothing from outside.
fn bootstrap(mount_points: &[&str]) -> Bootstrap {
    Bootstrap {
        stack: "shop".into(),
        layer: "docker".into(),
        hostname: "docker1".into(),
        region: "eu-west-1".into(),
        mounts: mount_points
            .iter()
            .enumerate()
            .map(|(i, at)| Mount { device: device(i).expect("a device"), mount_point: (*at).into() })
            .collect(),
        transport: Transport::Ssh,
        log: LogRotation { max_size: "10m".into(), max_file: 5 },
        authorities: Default::default(),
    }
}

fn script(mount_points: &[&str]) -> String {
    user_data(&bootstrap(mount_points)).expect("it fits")
}

/// The same script, that gives up at the first failure of what it would try for minutes.
fn impatient(script: &str) -> String {
    let mut text = script.to_owned();
    for patience in ["retry 300 ", "retry 600 ", "retry 60 "] {
        assert!(text.contains(patience), "{patience}");
        text = text.replace(patience, "retry 0 ");
    }
    text.replace("evenkeel-certs 180", "evenkeel-certs 0")
}
