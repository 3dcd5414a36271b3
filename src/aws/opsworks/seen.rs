//! From OpsWorks' words to the house's. Pure.
//!
//! An answer that lacks a field which every such thing has is no answer: skipping the thing would make it look
//! absent.

use std::collections::BTreeMap;

use aws_sdk_opsworks::types;

use super::mark;
use crate::{
    spec::stack::{Cookbooks, EbsVolume, Recipes},
    world::{AppSettings, Instance, LayerSettings, OwApp, OwDataSource, OwDatabase, OwLayer, OwStack, StackSettings},
};

/// The field that an answer lacks.
pub(super) type Lacking = &'static str;

pub(super) fn stack(seen: &types::Stack, region: &str) -> Result<OwStack, Lacking> {
    let name = required(&seen.name, "Name")?;
    Ok(OwStack {
        id: required(&seen.stack_id, "StackId")?,
        ours: mark::on_stack(seen.custom_json.as_deref(), &name),
        settings: StackSettings {
            name,
            region: text(&seen.region).unwrap_or_else(|| region.to_owned()),
            service_role_arn: text(&seen.service_role_arn),
            instance_profile_arn: text(&seen.default_instance_profile_arn),
            vpc_id: text(&seen.vpc_id),
            subnet_id: text(&seen.default_subnet_id),
            root_device_type: seen.default_root_device_type.as_ref().map(|kind| kind.as_str().to_owned()),
            ssh_key_name: text(&seen.default_ssh_key_name),
            cookbooks: cookbooks(seen),
        },
    })
}

fn cookbooks(seen: &types::Stack) -> Option<Cookbooks> {
    let source = seen.custom_cookbooks_source.as_ref().filter(|_| seen.use_custom_cookbooks == Some(true))?;
    let chef = seen.chef_configuration.as_ref();
    Some(Cookbooks {
        url: text(&source.url)?,
        revision: text(&source.revision),
        manage_berkshelf: chef.and_then(|chef| chef.manage_berkshelf).unwrap_or(false),
        berkshelf_version: chef.and_then(|chef| text(&chef.berkshelf_version)),
    })
}

pub(super) fn layer(seen: &types::Layer, stack: &str) -> Result<OwLayer, Lacking> {
    let short_name = required(&seen.shortname, "Shortname")?;
    let mut security_group_ids = seen.custom_security_group_ids().to_vec();
    security_group_ids.sort();
    let mut volumes: Vec<EbsVolume> = seen.volume_configurations().iter().map(volume).collect();
    volumes.sort_by(|a, b| a.mount_point.cmp(&b.mount_point));
    Ok(OwLayer {
        tags: None,
        id: required(&seen.layer_id, "LayerId")?,
        ours: mark::on_layer(seen.custom_json.as_deref(), stack, &short_name),
        settings: LayerSettings {
            name: required(&seen.name, "Name")?,
            short_name,
            recipes: seen.custom_recipes.as_ref().map(recipes).unwrap_or_default(),
            security_group_ids,
            volumes,
        },
    })
}

/// `standard` is what OpsWorks makes of a volume without a type (API reference of `VolumeConfiguration`).
fn volume(seen: &types::VolumeConfiguration) -> EbsVolume {
    EbsVolume {
        mount_point: seen.mount_point.clone(),
        size_gib: u32::try_from(seen.size).unwrap_or_default(),
        volume_type: text(&seen.volume_type).unwrap_or_else(|| "standard".to_owned()),
        iops: seen.iops.and_then(|iops| u32::try_from(iops).ok()),
        throughput: None,
        encrypted: Some(seen.encrypted.unwrap_or(false)),
        reuse: false,
    }
}

/// In the order in which OpsWorks runs them.
fn recipes(seen: &types::Recipes) -> Recipes {
    Recipes {
        setup: seen.setup().to_vec(),
        configure: seen.configure().to_vec(),
        deploy: seen.deploy().to_vec(),
        undeploy: seen.undeploy().to_vec(),
        shutdown: seen.shutdown().to_vec(),
    }
}

/// The values of protected variables read [`FILTERED`](crate::world::FILTERED).
pub(super) fn app(seen: &types::App, stack: &str) -> Result<OwApp, Lacking> {
    let short_name = required(&seen.shortname, "Shortname")?;
    Ok(OwApp {
        id: required(&seen.app_id, "AppId")?,
        ours: mark::on_app(seen.description.as_deref(), stack, &short_name),
        settings: AppSettings {
            name: required(&seen.name, "Name")?,
            short_name,
            environment: seen.environment().iter().map(|v| (v.key.clone(), v.value.clone())).collect(),
            data_source: seen.data_sources().iter().find_map(data_source),
        },
    })
}

/// A data source of the type `None` is no data source (API reference of `DataSource`).
fn data_source(seen: &types::DataSource) -> Option<OwDataSource> {
    let kind = text(&seen.r#type).filter(|kind| kind != "None")?;
    Some(OwDataSource { kind, arn: text(&seen.arn), database: text(&seen.database_name) })
}

pub(super) fn instance(seen: &types::Instance) -> Result<Instance, Lacking> {
    Ok(Instance {
        id: required(&seen.instance_id, "InstanceId")?,
        ec2_id: text(&seen.ec2_instance_id),
        hostname: required(&seen.hostname, "Hostname")?,
        // One that OpsWorks starts and stops by its load or its hours is somebody's, and no member of a layer here.
        layer_ids: if seen.auto_scaling_type.is_some() { Vec::new() } else { seen.layer_ids().to_vec() },
        instance_type: text(&seen.instance_type).unwrap_or_default(),
        status: required(&seen.status, "Status")?,
        private_ip: text(&seen.private_ip),
        public_ip: text(&seen.public_ip).or_else(|| text(&seen.elastic_ip)),
        launched: None,
    })
}

pub(super) fn attached(seen: &[types::ElasticLoadBalancer]) -> Result<BTreeMap<String, String>, Lacking> {
    seen.iter()
        .map(|balancer| {
            let name = required(&balancer.elastic_load_balancer_name, "ElasticLoadBalancerName")?;
            Ok((required(&balancer.layer_id, "LayerId")?, name))
        })
        .collect()
}

/// The password reads [`FILTERED`](crate::world::FILTERED), and tells nothing.
pub(super) fn database(seen: &types::RdsDbInstance) -> Result<OwDatabase, Lacking> {
    Ok(OwDatabase {
        arn: required(&seen.rds_db_instance_arn, "RdsDbInstanceArn")?,
        username: text(&seen.db_user),
        missing: seen.missing_on_rds == Some(true),
    })
}

fn required(value: &Option<String>, field: Lacking) -> Result<String, Lacking> {
    text(value).ok_or(field)
}

/// OpsWorks tells an unset text as absent or as empty.
fn text(value: &Option<String>) -> Option<String> {
    value.clone().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_tells_only_what_is_set() {
        let seen = types::Stack::builder()
            .stack_id("s-1")
            .name("shop")
            .vpc_id("")
            .custom_json(r#"{"evenkeel":{"stack":"shop"}}"#)
            .use_custom_cookbooks(false)
            .custom_cookbooks_source(types::Source::builder().build())
            .build();
        let stack = stack(&seen, "eu-west-1").unwrap();
        assert!(stack.ours);
        let settings = StackSettings { name: "shop".into(), region: "eu-west-1".into(), ..Default::default() };
        assert_eq!(stack.settings, settings);
    }

    #[test]
    fn a_thing_without_its_id_is_no_answer() {
        assert_eq!(stack(&types::Stack::builder().name("shop").build(), "eu-west-1"), Err("StackId"));
        assert_eq!(instance(&types::Instance::builder().instance_id("i").build()), Err("Hostname"));
        let unnamed = types::ElasticLoadBalancer::builder().layer_id("l").build();
        assert_eq!(attached(&[unnamed]), Err("ElasticLoadBalancerName"));
    }

    #[test]
    fn an_instance_that_opsworks_starts_and_stops_by_itself_is_no_member_of_a_layer() {
        let seen = |kind: Option<types::AutoScalingType>| {
            let built = types::Instance::builder().instance_id("i").hostname("docker1").status("stopped");
            instance(&built.layer_ids("l-1").set_auto_scaling_type(kind).build()).unwrap().layer_ids
        };
        assert_eq!(seen(None), ["l-1"]);
        assert_eq!(seen(Some(types::AutoScalingType::Timer)), [""; 0]);
        assert_eq!(seen(Some(types::AutoScalingType::Load)), [""; 0]);
    }

    #[test]
    fn lists_without_an_order_are_sorted_and_recipes_keep_theirs() {
        let disk = |at: &str| {
            types::VolumeConfiguration::builder().mount_point(at).size(8).number_of_disks(1).build().unwrap()
        };
        let seen = types::Layer::builder()
            .layer_id("l-1")
            .name("Docker")
            .shortname("docker")
            .set_custom_security_group_ids(Some(vec!["sg-2".into(), "sg-1".into()]))
            .set_volume_configurations(Some(vec![disk("/var/lib/docker"), disk("/srv")]))
            .custom_recipes(types::Recipes::builder().setup("z::z").setup("a::a").build())
            .build();
        let layer = layer(&seen, "shop").unwrap();
        assert!(!layer.ours);
        assert_eq!(layer.settings.security_group_ids, ["sg-1", "sg-2"]);
        assert_eq!(layer.settings.volumes[0].mount_point, "/srv");
        assert_eq!(layer.settings.volumes[0].volume_type, "standard");
        assert_eq!(layer.settings.recipes.setup, ["z::z", "a::a"]);
    }

    #[test]
    fn a_data_source_of_type_none_is_none() {
        let none = types::DataSource::builder().r#type("None").build();
        assert_eq!(data_source(&none), None);
        let rds = types::DataSource::builder().r#type("RdsDbInstance").arn("arn").database_name("shop").build();
        assert_eq!(data_source(&rds).unwrap().database.as_deref(), Some("shop"));
    }
}
