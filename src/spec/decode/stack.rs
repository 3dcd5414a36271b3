//! `kind: Stack`.

use std::{collections::BTreeMap, time::Duration};

use super::{cursor::Report, layer, node::Node, quantity::duration_above_zero, registry, tags};
use crate::spec::{
    Stack,
    stack::{AssumeRole, Cookbooks, DeletionPolicy, Provider},
};

/// OpsWorks replaced an instance after about five minutes of silence ("Using Auto Healing", OpsWorks User Guide).
const HEAL_AFTER: Duration = Duration::from_secs(300);

/// Reads `spec`; what is wrong is told, and left at a default.
pub(super) fn read(report: &Report<'_>, name: String, spec: Option<&Node>) -> Stack {
    let mut stack = Stack {
        name,
        provider: Provider::Opsworks,
        region: String::new(),
        assume_role: None,
        service_role_arn: None,
        instance_profile_arn: None,
        vpc_id: None,
        subnet_ids: Vec::new(),
        root_device_type: None,
        ssh_key_name: None,
        cookbooks: None,
        heal_after: HEAL_AFTER,
        registries: BTreeMap::new(),
        deletion_policy: DeletionPolicy::Retain,
        suspend: false,
        adopt: false,
        layers: Vec::new(),
    };
    let Some(map) = spec.and_then(|spec| report.map(spec, "a stack's `spec`")) else { return stack };
    let providers = [("opsworks", Provider::Opsworks), ("ec2", Provider::Ec2)];
    let provider = map.required("provider", |report, node| report.choice(node, &providers, &[]));
    stack.provider = provider.unwrap_or(Provider::Opsworks);
    stack.region = map.required("region", region).unwrap_or_default();
    stack.assume_role = map.optional("assumeRole", assume_role);
    stack.service_role_arn = map.optional("serviceRoleArn", arn);
    stack.instance_profile_arn = map.optional("instanceProfileArn", arn);
    stack.vpc_id = map.optional("vpcId", Report::word);
    stack.subnet_ids = map.optional("subnetIds", Report::words).unwrap_or_default();
    stack.root_device_type = map
        .optional("rootDeviceType", |report, node| {
            report.choice(node, &[("ebs", "ebs"), ("instance-store", "instance-store")], &[])
        })
        .map(str::to_owned);
    stack.ssh_key_name = map.optional("sshKeyName", Report::word);
    stack.cookbooks = map.optional("cookbooks", cookbooks);
    stack.suspend = map.optional("suspend", Report::boolean).unwrap_or_default();
    stack.adopt = map.optional("adopt", Report::boolean).unwrap_or_default();
    let policies = [("Retain", DeletionPolicy::Retain), ("Delete", DeletionPolicy::Delete)];
    stack.deletion_policy = map
        .optional("deletionPolicy", |report, node| report.choice(node, &policies, &[]))
        .unwrap_or(DeletionPolicy::Retain);
    stack.heal_after = map.optional("healAfter", duration_above_zero).unwrap_or(HEAL_AFTER);
    stack.registries = map.optional("registries", registry::of_stack).unwrap_or_default();
    let defaults = layer::Defaults {
        provider: stack.provider,
        security_group_ids: map.optional("securityGroupIds", Report::words).unwrap_or_default(),
        subnet_ids: stack.subnet_ids.clone(),
        image: map.optional("amiId", layer::image),
        tags: tags::read(&map, None),
        stack: &stack.name,
    };
    stack.layers = map
        .optional("layers", |report, node| {
            report.list(node, "layers", |report, node| layer::read(report, node, &defaults))
        })
        .unwrap_or_default();
    map.later(&["notifications"]);
    map.finish();
    stack
}

fn region(report: &Report<'_>, node: &Node) -> Option<String> {
    let region = report.word(node)?;
    let fine = region.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if fine { Some(region) } else { report.expected(node, "a region like `eu-west-1`") }
}

fn arn(report: &Report<'_>, node: &Node) -> Option<String> {
    let arn = report.word(node)?;
    if arn.starts_with("arn:") { Some(arn) } else { report.expected(node, "an ARN (`arn:aws:iam::…`)") }
}

fn assume_role(report: &Report<'_>, node: &Node) -> Option<AssumeRole> {
    let map = report.map(node, "`assumeRole`")?;
    let role = map.required("arn", arn);
    let external_id = map.optional("externalId", Report::word);
    map.finish();
    Some(AssumeRole { arn: role?, external_id })
}

fn cookbooks(report: &Report<'_>, node: &Node) -> Option<Cookbooks> {
    let map = report.map(node, "`cookbooks`")?;
    let url = map.required("url", Report::word);
    let revision = map.optional("revision", Report::word);
    let manage_berkshelf = map.optional("manageBerkshelf", Report::boolean).unwrap_or_default();
    let berkshelf_version = map.optional("berkshelfVersion", Report::word);
    map.finish();
    Some(Cookbooks { url: url?, revision, manage_berkshelf, berkshelf_version })
}
