//! What an instance is launched with, and what of it only a new instance can have.

use crate::{
    bootstrap::{self, Bootstrap},
    spec::{Desired, Layer, stack::Transport},
    world::{Ec2, Image, Instance, Seen},
};

/// What one instance is told to become.
pub(super) fn bootstrap(desired: &Desired, layer: &Layer, hostname: &str) -> Bootstrap {
    let mounts = layer.volumes.iter().enumerate().filter_map(|(index, volume)| {
        Some(bootstrap::Mount { device: bootstrap::device(index)?, mount_point: volume.mount_point.clone() })
    });
    let transport = match &layer.docker.transport {
        Transport::Tls { parameter, ssm_endpoint } => bootstrap::Transport::Tls {
            port: layer.docker.port,
            parameter: parameter.clone().unwrap_or_default(),
            ssm_endpoint: ssm_endpoint.clone(),
        },
        Transport::Ssh { .. } => bootstrap::Transport::Ssh,
    };
    Bootstrap {
        stack: desired.stack.name.clone(),
        layer: layer.short_name.clone(),
        hostname: hostname.to_owned(),
        region: desired.stack.region.clone(),
        mounts: mounts.collect(),
        transport,
        log: bootstrap::LogRotation {
            max_size: layer.docker.log_max_size.clone(),
            max_file: layer.docker.log_max_files,
        },
        authorities: (desired.stack.registries.iter())
            .filter_map(|(host, registry)| Some((host.clone(), registry.ca.clone()?)))
            .collect(),
    }
}

/// How the declared root volume is told in a tag; nothing: as the image has it.
pub(super) fn root_volume(layer: &Layer) -> String {
    let Some(root) = &layer.root_volume else { return "image".to_owned() };
    let plain = if root.encrypted { "" } else { " unencrypted" };
    format!("{} {}GiB{plain}", root.volume_type, root.size_gib)
}

/// The declared image, as far as it is known.
pub(super) fn image<'a>(layer: &Layer, cloud: &'a Ec2) -> Option<&'a Seen<Image>> {
    cloud.images.get(layer.image.as_ref()?)
}

/// Whether it can be told who is launched from another image.
pub(in crate::plan) fn knows_image(layer: &Layer, cloud: &Ec2) -> bool {
    matches!(image(layer, cloud), Some(Seen::Known(_)))
}

/// What of an instance is otherwise than declared, and can be changed by launching a new one only.
pub fn differences(desired: &Desired, layer: &Layer, cloud: &Ec2, instance: &Instance) -> Vec<String> {
    let Some(launched) = &instance.launched else { return Vec::new() };
    let mut differs = Vec::new();
    let mut compare = |what: &str, is: &str, declared: &str| {
        if is != declared {
            differs.push(format!("{what} {is} → {declared}"));
        }
    };
    compare("type", &instance.instance_type, &layer.instances.instance_type);
    if let Some(Seen::Known(image)) = image(layer, cloud) {
        compare("image", &launched.image_id, &image.id);
    }
    if let Some(is) = &launched.root_volume {
        compare("root volume", is, &root_volume(layer));
    }
    if let Some(is) = &launched.user_data {
        compare("user-data", is, &bootstrap::fingerprint(&bootstrap(desired, layer, &instance.hostname)));
    }
    differs
}
