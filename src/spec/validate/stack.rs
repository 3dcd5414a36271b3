//! One stack by itself.

use std::collections::BTreeMap;

use crate::spec::{Problem, Stack, decode::Declared};

/// Short names, mount points and load balancers are used once.
pub(super) fn check(declared: &Declared<Stack>, problems: &mut Vec<Problem>) {
    let mut names = Once::default();
    let mut people_names = Once::default();
    let mut balancers = Once::default();
    for (i, layer) in declared.value.layers.iter().enumerate() {
        let at = format!("spec/layers/{i}");
        names.take(declared, &layer.short_name, format!("{at}/shortName"), "the short name", problems);
        if layer.name != layer.short_name {
            people_names.take(declared, &layer.name, format!("{at}/name"), "the layer's name", problems);
        }
        let mut mounts = Once::default();
        for (j, volume) in layer.volumes.iter().enumerate() {
            let path = volume.mount_point.trim_end_matches('/');
            mounts.take(declared, path, format!("{at}/volumes/{j}/mountPoint"), "the mount point", problems);
        }
        if layer.load_balancers.len() > 1 {
            let place = format!("{at}/loadBalancers/1");
            problems.push(declared.problem(&place, "OpsWorks takes one load balancer per layer", None));
        }
        for (j, balancer) in layer.load_balancers.iter().enumerate() {
            let place = format!("{at}/loadBalancers/{j}");
            balancers.take(declared, balancer.name(), place, "the load balancer", problems);
        }
    }
}

/// Names that may be used once, with the place of the first use.
#[derive(Default)]
struct Once<'a>(BTreeMap<&'a str, String>);

impl<'a> Once<'a> {
    fn take(
        &mut self,
        declared: &Declared<Stack>,
        name: &'a str,
        place: String,
        what: &str,
        problems: &mut Vec<Problem>,
    ) {
        match self.0.get(name) {
            // Left out, and told already.
            _ if name.is_empty() => {}
            Some(first) => {
                let help = format!("the first one is at {}", declared.whereabouts(first));
                problems.push(declared.problem(&place, format!("{what} `{name}` is used twice"), Some(help)));
            }
            None => {
                self.0.insert(name, place);
            }
        }
    }
}
