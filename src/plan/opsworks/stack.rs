//! The provider's side that is not instances: stack, layers, apps, attached load balancers.

use jiff::Timestamp;

use super::databases;
use crate::plan::{Facts, Plan, fleet::seen_layer, subject, tags};

use crate::{
    action::{Action, Tagged},
    spec::{App, Desired, Layer, Stack, app::DataSource},
    status::Kind,
    world::{
        AppSettings, FILTERED, LayerSettings, Observed, OpsWorks, OwDataSource, OwStack, Seen, StackSettings, Target,
    },
};

/// What is declared of the stack, in OpsWorks' terms.
pub fn stack_settings(stack: &Stack) -> StackSettings {
    StackSettings {
        name: stack.name.clone(),
        region: stack.region.clone(),
        service_role_arn: stack.service_role_arn.clone(),
        instance_profile_arn: stack.instance_profile_arn.clone(),
        vpc_id: stack.vpc_id.clone(),
        subnet_id: stack.subnet_ids.first().cloned(),
        root_device_type: stack.root_device_type.clone(),
        ssh_key_name: stack.ssh_key_name.clone(),
        cookbooks: stack.cookbooks.clone(),
    }
}

/// What is declared of a layer, in OpsWorks' terms.
pub fn layer_settings(layer: &Layer) -> LayerSettings {
    let mut security_group_ids = layer.security_group_ids.clone();
    security_group_ids.sort();
    LayerSettings {
        name: layer.name.clone(),
        short_name: layer.short_name.clone(),
        recipes: layer.recipes.clone(),
        security_group_ids,
        volumes: layer.volumes.clone(),
    }
}

/// What is declared of an app, in OpsWorks' terms, with the ARN of its database of RDS.
pub fn app_settings(app: &App, arn: Option<String>) -> AppSettings {
    AppSettings {
        name: app.name.clone(),
        short_name: app.slug(),
        environment: app.environment.clone(),
        data_source: app.data_source.as_ref().map(|source| match source {
            DataSource::Rds { database, .. } => {
                OwDataSource { kind: "RdsDbInstance".into(), arn, database: database.clone() }
            }
            DataSource::Opsworks { database } => {
                OwDataSource { kind: "AutoSelectOpsworksMysqlInstance".into(), arn: None, database: database.clone() }
            }
        }),
    }
}

pub(super) fn plan(
    plan: &mut Plan,
    desired: &Desired,
    cloud: &OpsWorks,
    seen: &Observed,
    facts: &Facts,
    now: Timestamp,
) {
    let declared = stack_settings(&desired.stack);
    let found = match &cloud.stack {
        Seen::Unknown(trouble) => return plan.unobservable("stack", trouble),
        Seen::Known(None) => {
            plan.make("stack", subject::STACK, Action::CreateStack { settings: declared }, facts, now);
            return plan.hold("everything else", "the stack", None);
        }
        Seen::Known(Some(found)) => found,
    };
    if !found.ours && !desired.stack.adopt {
        return plan.condition(
            Kind::Conflict,
            "stack",
            format!(
                "OpsWorks has a stack {} in {} ({}) that Evenkeel did not make; rename one of them, or set \
                 adopt: true in the manifest to take it over",
                declared.name, declared.region, found.id
            ),
        );
    }
    let changed = to_be_changed(stack_changes(&declared, &found.settings), found.ours);
    if !changed.is_empty() {
        let action = Action::UpdateStack { id: found.id.clone(), settings: declared, changed };
        plan.attempt("stack", action, facts, now);
    }
    if declared_vpc_differs(desired, found) {
        plan.condition(
            Kind::Refused,
            "stack",
            format!(
                "OpsWorks cannot move a stack to another VPC: it is in {}, declared is {}. Put the old vpcId back, or \
                 declare a stack of another name there",
                found.settings.vpc_id.as_deref().unwrap_or("no VPC"),
                desired.stack.vpc_id.as_deref().unwrap_or_default(),
            ),
        );
    }
    layers(plan, desired, &found.id, cloud, facts, now);
    databases::plan(plan, desired, &found.id, cloud, seen, facts, now);
    apps(plan, desired, &found.id, cloud, facts, now);
    attachments(plan, desired, cloud, seen, facts, now);
}

fn layers(plan: &mut Plan, desired: &Desired, stack_id: &str, cloud: &OpsWorks, facts: &Facts, now: Timestamp) {
    let found = match &cloud.layers {
        Seen::Unknown(trouble) => return plan.unobservable("layers", trouble),
        Seen::Known(found) => found,
    };
    for layer in &desired.stack.layers {
        let subject = format!("layer {}", layer.short_name);
        let declared = layer_settings(layer);
        let Some(existing) = found.iter().find(|l| l.settings.short_name == layer.short_name) else {
            let action = Action::CreateLayer { stack_id: stack_id.to_owned(), settings: declared };
            plan.make(&subject, &subject::layer(&layer.short_name), action, facts, now);
            plan.hold(format!("every instance of {subject}"), "the layer", None);
            continue;
        };
        if !existing.ours && !desired.stack.adopt {
            plan.condition(
                Kind::Conflict,
                &subject,
                format!(
                    "the layer {} ({}) was not made by Evenkeel; give it another shortName, or set adopt: true in \
                     the stack's manifest to take it over",
                    layer.short_name, existing.id
                ),
            );
            continue;
        }
        let changed = to_be_changed(layer_changes(&declared, &existing.settings), existing.ours);
        if !changed.is_empty() {
            let action = Action::UpdateLayer { id: existing.id.clone(), settings: declared, changed };
            plan.attempt(&subject, action, facts, now);
        }
        match (&layer.tags, &existing.tags) {
            (Some(declared), Some(Seen::Known(found))) => {
                if let Some(tags) = tags::changes(declared, found) {
                    let of = Tagged::Layer { id: existing.id.clone(), short_name: layer.short_name.clone() };
                    plan.attempt(&subject, Action::KeepTags { of, tags }, facts, now);
                }
            }
            (Some(_), Some(Seen::Unknown(trouble))) => plan.unobservable(&format!("tags of {subject}"), trouble),
            _ => {}
        }
    }
}

fn apps(plan: &mut Plan, desired: &Desired, stack_id: &str, cloud: &OpsWorks, facts: &Facts, now: Timestamp) {
    let found = match &cloud.apps {
        Seen::Unknown(trouble) => return plan.unobservable("apps", trouble),
        Seen::Known(found) => found,
    };
    let docker_apps = || desired.apps.iter().filter(|app| app.is_docker());
    for app in docker_apps() {
        let subject = format!("app {}", app.name);
        let arn = match databases::arn(app, desired, cloud) {
            Ok(arn) => arn,
            Err(waits_for) => {
                plan.hold(&subject, waits_for, None);
                continue;
            }
        };
        let declared = app_settings(app, arn);
        let Some(existing) = found.iter().find(|a| a.settings.short_name == declared.short_name) else {
            let what = subject::app(&declared.short_name);
            let action = Action::CreateApp { stack_id: stack_id.to_owned(), settings: declared };
            plan.make(&subject, &what, action, facts, now);
            continue;
        };
        if !existing.ours && !desired.stack.adopt {
            plan.condition(
                Kind::Conflict,
                &subject,
                format!(
                    "the OpsWorks app {} ({}) was not made by Evenkeel; rename one of them, or set adopt: true in \
                     the stack's manifest to take it over",
                    declared.short_name, existing.id
                ),
            );
            continue;
        }
        let changed = to_be_changed(app_changes(&declared, &existing.settings), existing.ours);
        if !changed.is_empty() {
            let action = Action::UpdateApp { id: existing.id.clone(), settings: declared, changed };
            plan.attempt(&subject, action, facts, now);
        }
    }
    // A stack whose last app vanished is more likely a mistake than a wish.
    if docker_apps().next().is_none() {
        return;
    }
    for existing in found.iter().filter(|app| app.ours) {
        if !docker_apps().any(|app| app.slug() == existing.settings.short_name) {
            let name = existing.settings.name.clone();
            let action = Action::DeleteApp { id: existing.id.clone(), name: name.clone() };
            plan.attempt(&format!("app {name}"), action, facts, now);
        }
    }
}

fn attachments(plan: &mut Plan, desired: &Desired, cloud: &OpsWorks, seen: &Observed, facts: &Facts, now: Timestamp) {
    let attached = match &cloud.attached {
        Seen::Unknown(trouble) => return plan.unobservable("attached load balancers", trouble),
        Seen::Known(attached) => attached,
    };
    for layer in &desired.stack.layers {
        let Some(found) = seen_layer(layer, seen) else { continue };
        // OpsWorks attaches at most one classic load balancer to a layer; any further one is joined directly.
        let Some(declared) = layer.load_balancers.first().map(|balancer| balancer.name()) else { continue };
        let subject = format!("layer {}", layer.short_name);
        let (layer_id, short) = (found.id.clone(), layer.short_name.clone());
        match attached.get(&found.id) {
            Some(name) if name == declared => {}
            Some(other) => {
                let action = Action::DetachBalancer { layer_id, layer: short, balancer: other.clone() };
                plan.attempt(&subject, action, facts, now);
            }
            None => {
                // OpsWorks deregisters whatever a load balancer has when it is attached to a layer.
                // Source: OpsWorks User Guide, "Elastic Load Balancing Layer".
                let known = seen.balancers.get(declared).is_some_and(|balancer| balancer.known().is_some());
                if !known || seen.provided.instances.known().is_none() {
                    let on = format!("a clear answer about load balancer {declared} before it is attached");
                    plan.hold(&subject, on, None);
                    continue;
                }
                if let Some(stranger) = stranger_in_service(declared, seen) {
                    plan.condition(
                        Kind::Refused,
                        &subject,
                        format!(
                            "load balancer {declared} sends requests to {stranger}, which is not an instance of this \
                             stack; attaching it would make OpsWorks deregister that one. Deregister it yourself, or \
                             name another load balancer"
                        ),
                    );
                    continue;
                }
                let action = Action::AttachBalancer { layer_id, layer: short, balancer: declared.to_owned() };
                plan.attempt(&subject, action, facts, now);
            }
        }
    }
}

/// What differs, and the mark where it is missing.
fn to_be_changed(mut differences: Vec<String>, ours: bool) -> Vec<String> {
    if !ours {
        differences.push("take it over".into());
    }
    differences
}

fn declared_vpc_differs(desired: &Desired, found: &OwStack) -> bool {
    desired.stack.vpc_id.is_some() && desired.stack.vpc_id != found.settings.vpc_id
}

/// An instance that a balancer sends requests to and that is not one of the stack's.
fn stranger_in_service<'a>(balancer: &str, seen: &'a Observed) -> Option<&'a str> {
    let known = seen.balancers.get(balancer)?.known()?;
    let instances = seen.provided.instances.known()?;
    let is_ours = |ec2_id: &str| instances.iter().any(|instance| instance.ec2_id.as_deref() == Some(ec2_id));
    known
        .targets
        .iter()
        .find(|(ec2_id, target)| **target == Target::InService && !is_ours(ec2_id))
        .map(|(ec2_id, _)| ec2_id.as_str())
}

/// Names what differs; what is not declared is not compared.
fn differs<T: PartialEq>(changed: &mut Vec<String>, name: &str, declared: &Option<T>, found: &Option<T>) {
    if declared.is_some() && declared != found {
        changed.push(name.to_owned());
    }
}

fn stack_changes(declared: &StackSettings, found: &StackSettings) -> Vec<String> {
    let mut changed = Vec::new();
    differs(&mut changed, "serviceRoleArn", &declared.service_role_arn, &found.service_role_arn);
    differs(&mut changed, "instanceProfileArn", &declared.instance_profile_arn, &found.instance_profile_arn);
    differs(&mut changed, "subnetIds", &declared.subnet_id, &found.subnet_id);
    differs(&mut changed, "rootDeviceType", &declared.root_device_type, &found.root_device_type);
    differs(&mut changed, "sshKeyName", &declared.ssh_key_name, &found.ssh_key_name);
    match (&declared.cookbooks, &found.cookbooks) {
        (Some(declared), Some(found)) => {
            if declared.url != found.url {
                changed.push("cookbooks.url".into());
            }
            differs(&mut changed, "cookbooks.revision", &declared.revision, &found.revision);
            if declared.manage_berkshelf != found.manage_berkshelf {
                changed.push("cookbooks.manageBerkshelf".into());
            }
            differs(&mut changed, "cookbooks.berkshelfVersion", &declared.berkshelf_version, &found.berkshelf_version);
        }
        (Some(_), None) => changed.push("cookbooks".into()),
        (None, _) => {}
    }
    changed
}

fn layer_changes(declared: &LayerSettings, found: &LayerSettings) -> Vec<String> {
    let mut changed = Vec::new();
    if declared.name != found.name {
        changed.push("name".into());
    }
    if declared.recipes != found.recipes {
        changed.push("recipes".into());
    }
    if declared.security_group_ids != found.security_group_ids {
        changed.push("securityGroupIds".into());
    }
    let same_volumes = declared.volumes.len() == found.volumes.len()
        && declared.volumes.iter().all(|d| {
            found.volumes.iter().any(|f| {
                f.mount_point == d.mount_point
                    && f.size_gib == d.size_gib
                    && f.volume_type == d.volume_type
                    && (d.iops.is_none() || f.iops == d.iops)
                    && (d.encrypted.is_none() || f.encrypted == d.encrypted)
            })
        });
    if !same_volumes {
        changed.push("volumes".into());
    }
    changed
}

fn app_changes(declared: &AppSettings, found: &AppSettings) -> Vec<String> {
    let mut changed = Vec::new();
    if declared.name != found.name {
        changed.push("name".into());
    }
    // A protected variable's value is never told; that it is there is all that can be compared.
    let same_value = |name: &String, value: &String| {
        found.environment.get(name).is_some_and(|known| known == value || known == FILTERED)
    };
    let same_environment = declared.environment.len() == found.environment.len()
        && declared.environment.iter().all(|(name, value)| same_value(name, value));
    if !same_environment {
        changed.push("environment".into());
    }
    let same_source = match (&declared.data_source, &found.data_source) {
        (None, None) => true,
        (Some(d), Some(f)) => d.kind == f.kind && d.database == f.database && (d.arn.is_none() || d.arn == f.arn),
        _ => false,
    };
    if !same_source {
        changed.push("dataSource".into());
    }
    changed
}
