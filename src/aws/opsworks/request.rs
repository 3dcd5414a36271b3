//! From the house's words to OpsWorks' requests. Pure.
//!
//! What is declared is sent, what is not is left to OpsWorks.

use aws_sdk_opsworks::{
    error::BuildError,
    operation::{
        create_app::builders::CreateAppInputBuilder, create_instance::builders::CreateInstanceInputBuilder,
        create_layer::builders::CreateLayerInputBuilder, create_stack::builders::CreateStackInputBuilder,
        update_app::builders::UpdateAppInputBuilder, update_layer::builders::UpdateLayerInputBuilder,
        update_stack::builders::UpdateStackInputBuilder,
    },
    types::{self, AppType, LayerType, RootDeviceType, SourceType, StackConfigurationManager},
};

use crate::{
    spec::{
        Stack,
        stack::{Cookbooks, EbsVolume, Recipes},
    },
    world::{AppSettings, LayerSettings, OwDataSource, StackSettings},
};

/// The Chef version of a new stack. Berkshelf is managed by OpsWorks only with Chef 11.10: with Chef 12 it is part
/// of the cookbooks' own packaging (user guide, "Installing Custom Cookbooks").
fn chef(cookbooks: Option<&Cookbooks>) -> StackConfigurationManager {
    let version = if cookbooks.is_some_and(|cookbooks| cookbooks.manage_berkshelf) { "11.10" } else { "12" };
    StackConfigurationManager::builder().name("Chef").version(version).build()
}

/// `Layer_Dependent`: a hostname that is not given is the layer's short name and a number, as Evenkeel's own are.
pub(super) fn create_stack(declared: &StackSettings, custom_json: String) -> CreateStackInputBuilder {
    let cookbooks = declared.cookbooks.as_ref();
    CreateStackInputBuilder::default()
        .name(&declared.name)
        .region(&declared.region)
        .custom_json(custom_json)
        .set_vpc_id(declared.vpc_id.clone())
        .set_default_subnet_id(declared.subnet_id.clone())
        .set_service_role_arn(declared.service_role_arn.clone())
        .set_default_instance_profile_arn(declared.instance_profile_arn.clone())
        .set_default_root_device_type(root_device(declared.root_device_type.as_deref()))
        .set_default_ssh_key_name(declared.ssh_key_name.clone())
        .hostname_theme("Layer_Dependent")
        .configuration_manager(chef(cookbooks))
        .set_use_custom_cookbooks(cookbooks.map(|_| true))
        .set_custom_cookbooks_source(cookbooks.map(source))
        .set_chef_configuration(cookbooks.map(berkshelf))
}

/// Region and VPC of a stack cannot be changed. What would lose something by being repeated goes out only if it
/// differs: a cookbook source keeps credentials that never read back, and a stack whose apps have environment
/// variables must keep its Chef version (API reference of `UpdateApp`).
pub(super) fn update_stack(
    present: &types::Stack,
    declared: &StackSettings,
    custom_json: String,
) -> UpdateStackInputBuilder {
    let cookbooks = declared.cookbooks.as_ref();
    let mut request = UpdateStackInputBuilder::default()
        .set_stack_id(present.stack_id.clone())
        .name(&declared.name)
        .custom_json(custom_json)
        .set_default_subnet_id(declared.subnet_id.clone())
        .set_service_role_arn(declared.service_role_arn.clone())
        .set_default_instance_profile_arn(declared.instance_profile_arn.clone())
        .set_default_root_device_type(root_device(declared.root_device_type.as_deref()))
        .set_default_ssh_key_name(declared.ssh_key_name.clone())
        .set_use_custom_cookbooks(cookbooks.map(|_| true))
        .set_chef_configuration(cookbooks.map(berkshelf))
        .set_configuration_manager(present.configuration_manager.clone());
    if let Some(cookbooks) = cookbooks {
        let same = present.custom_cookbooks_source.as_ref().is_some_and(|source| {
            source.url.as_deref() == Some(cookbooks.url.as_str())
                && (cookbooks.revision.is_none() || source.revision == cookbooks.revision)
        });
        if !same {
            request = request.custom_cookbooks_source(source(cookbooks));
        }
        let version = present.configuration_manager.as_ref().and_then(|chef| chef.version.as_deref());
        if cookbooks.manage_berkshelf && version != Some("11.10") {
            request = request.configuration_manager(chef(Some(cookbooks)));
        }
    }
    request
}

fn source(cookbooks: &Cookbooks) -> types::Source {
    types::Source::builder()
        .r#type(SourceType::Git)
        .url(&cookbooks.url)
        .set_revision(cookbooks.revision.clone())
        .build()
}

fn berkshelf(cookbooks: &Cookbooks) -> types::ChefConfiguration {
    types::ChefConfiguration::builder()
        .manage_berkshelf(cookbooks.manage_berkshelf)
        .set_berkshelf_version(cookbooks.berkshelf_version.clone())
        .build()
}

fn root_device(kind: Option<&str>) -> Option<RootDeviceType> {
    kind.map(RootDeviceType::from)
}

/// A custom layer with auto healing; public addresses as OpsWorks gives them by default.
pub(super) fn create_layer(
    stack_id: &str,
    declared: &LayerSettings,
    custom_json: String,
) -> Result<CreateLayerInputBuilder, BuildError> {
    Ok(CreateLayerInputBuilder::default()
        .stack_id(stack_id)
        .r#type(LayerType::Custom)
        .name(&declared.name)
        .shortname(&declared.short_name)
        .custom_json(custom_json)
        .enable_auto_healing(true)
        .custom_recipes(recipes(&declared.recipes))
        .set_custom_security_group_ids(Some(declared.security_group_ids.clone()))
        .set_volume_configurations(Some(volumes(&declared.volumes)?)))
}

/// Volumes change for instances that are created later only; OpsWorks leaves those that exist as they are.
pub(super) fn update_layer(
    id: &str,
    declared: &LayerSettings,
    custom_json: String,
) -> Result<UpdateLayerInputBuilder, BuildError> {
    Ok(UpdateLayerInputBuilder::default()
        .layer_id(id)
        .name(&declared.name)
        .custom_json(custom_json)
        .custom_recipes(recipes(&declared.recipes))
        .set_custom_security_group_ids(Some(declared.security_group_ids.clone()))
        .set_volume_configurations(Some(volumes(&declared.volumes)?)))
}

fn recipes(declared: &Recipes) -> types::Recipes {
    types::Recipes::builder()
        .set_setup(Some(declared.setup.clone()))
        .set_configure(Some(declared.configure.clone()))
        .set_deploy(Some(declared.deploy.clone()))
        .set_undeploy(Some(declared.undeploy.clone()))
        .set_shutdown(Some(declared.shutdown.clone()))
        .build()
}

fn volumes(declared: &[EbsVolume]) -> Result<Vec<types::VolumeConfiguration>, BuildError> {
    let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    declared
        .iter()
        .map(|volume| {
            types::VolumeConfiguration::builder()
                .mount_point(&volume.mount_point)
                .number_of_disks(1)
                .size(number(volume.size_gib))
                .volume_type(&volume.volume_type)
                .set_iops(volume.iops.map(number))
                .set_encrypted(volume.encrypted)
                .build()
        })
        .collect()
}

/// Type and repository Other: what the app runs comes from images, not from a repository.
pub(super) fn create_app(
    stack_id: &str,
    declared: &AppSettings,
    description: String,
) -> Result<CreateAppInputBuilder, BuildError> {
    Ok(CreateAppInputBuilder::default()
        .stack_id(stack_id)
        .r#type(AppType::Other)
        .name(&declared.name)
        .shortname(&declared.short_name)
        .description(description)
        .data_sources(data_source(declared.data_source.as_ref()))
        .set_environment(Some(environment(declared, &[])?)))
}

/// A variable that is protected stays so.
pub(super) fn update_app(
    present: &types::App,
    declared: &AppSettings,
    description: String,
) -> Result<UpdateAppInputBuilder, BuildError> {
    Ok(UpdateAppInputBuilder::default()
        .set_app_id(present.app_id.clone())
        .name(&declared.name)
        .description(description)
        .data_sources(data_source(declared.data_source.as_ref()))
        .set_environment(Some(environment(declared, present.environment())?)))
}

/// Told even where there is none: left out, OpsWorks would choose or keep one.
fn data_source(declared: Option<&OwDataSource>) -> types::DataSource {
    let request = types::DataSource::builder();
    match declared {
        None => request.r#type("None").build(),
        Some(source) => {
            request.r#type(&source.kind).set_arn(source.arn.clone()).set_database_name(source.database.clone()).build()
        }
    }
}

fn environment(
    declared: &AppSettings,
    present: &[types::EnvironmentVariable],
) -> Result<Vec<types::EnvironmentVariable>, BuildError> {
    let secure = |key: &str| present.iter().any(|variable| variable.key == key && variable.secure == Some(true));
    declared
        .environment
        .iter()
        .map(|(key, value)| {
            types::EnvironmentVariable::builder().key(key).value(value).set_secure(secure(key).then_some(true)).build()
        })
        .collect()
}

/// Created, not started. What the stack does not say (image, operating system, zone) is the stack's default.
pub(super) fn create_instance(
    stack: &Stack,
    stack_id: &str,
    layer_id: &str,
    hostname: &str,
    instance_type: &str,
) -> CreateInstanceInputBuilder {
    CreateInstanceInputBuilder::default()
        .stack_id(stack_id)
        .layer_ids(layer_id)
        .hostname(hostname)
        .instance_type(instance_type)
        .set_subnet_id(stack.subnet_ids.first().cloned())
        .set_root_device_type(root_device(stack.root_device_type.as_deref()))
        .set_ssh_key_name(stack.ssh_key_name.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::world::FILTERED;

    fn cookbooks(manage_berkshelf: bool) -> Cookbooks {
        let url = "https://example.com/cookbooks.git".to_owned();
        Cookbooks { url, revision: None, manage_berkshelf, berkshelf_version: None }
    }

    fn shop(cookbooks: Option<Cookbooks>) -> StackSettings {
        StackSettings { name: "shop".into(), region: "eu-west-1".into(), cookbooks, ..Default::default() }
    }

    fn chef_version(manager: &Option<StackConfigurationManager>) -> &str {
        manager.as_ref().unwrap().version.as_deref().unwrap()
    }

    #[test]
    fn managed_berkshelf_makes_it_a_stack_of_chef_11_10() {
        let version = |declared| {
            let request = create_stack(&declared, "{}".into());
            chef_version(request.get_configuration_manager()).to_owned()
        };
        assert_eq!(version(shop(Some(cookbooks(true)))), "11.10");
        assert_eq!(version(shop(Some(cookbooks(false)))), "12");
        assert_eq!(version(shop(None)), "12");
    }

    #[test]
    fn an_update_keeps_chef_and_does_not_repeat_a_cookbook_source_that_fits() {
        let present = types::Stack::builder()
            .stack_id("s-1")
            .configuration_manager(StackConfigurationManager::builder().name("Chef").version("11.4").build())
            .custom_cookbooks_source(
                types::Source::builder().url(cookbooks(false).url).revision("main").ssh_key(FILTERED).build(),
            )
            .build();
        let request = update_stack(&present, &shop(Some(cookbooks(false))), "{}".into());
        assert_eq!(chef_version(request.get_configuration_manager()), "11.4");
        assert!(request.get_custom_cookbooks_source().is_none());

        let moved = Cookbooks { revision: Some("v2".into()), ..cookbooks(true) };
        let request = update_stack(&present, &shop(Some(moved)), "{}".into());
        assert_eq!(chef_version(request.get_configuration_manager()), "11.10");
        let source = request.get_custom_cookbooks_source().as_ref().unwrap();
        assert_eq!(source.revision.as_deref(), Some("v2"));
    }

    #[test]
    fn what_is_not_declared_is_not_sent() {
        let request = create_stack(&shop(None), "{}".into()).build().unwrap();
        assert_eq!(request.vpc_id, None);
        assert_eq!(request.default_root_device_type, None);
        assert_eq!(request.use_custom_cookbooks, None);
    }

    #[test]
    fn a_layer_is_read_back_as_it_was_declared() {
        let declared = LayerSettings {
            name: "Docker".into(),
            short_name: "docker".into(),
            recipes: Recipes { setup: vec!["docker::install".into()], ..Default::default() },
            security_group_ids: vec!["sg-1".into()],
            volumes: vec![EbsVolume {
                mount_point: "/var/lib/docker".into(),
                size_gib: 120,
                volume_type: "io1".into(),
                iops: Some(400),
                throughput: None,
                encrypted: Some(true),
                reuse: false,
            }],
        };
        let sent = create_layer("s-1", &declared, "{}".into()).unwrap().build().unwrap();
        let told = types::Layer::builder()
            .layer_id("l-1")
            .set_name(sent.name)
            .set_shortname(sent.shortname)
            .set_custom_recipes(sent.custom_recipes)
            .set_custom_security_group_ids(sent.custom_security_group_ids)
            .set_volume_configurations(sent.volume_configurations)
            .build();
        assert_eq!(super::super::seen::layer(&told, "shop").unwrap().settings, declared);
    }

    #[test]
    fn an_update_keeps_a_protected_variable_protected() {
        let secret = types::EnvironmentVariable::builder().key("TOKEN").value(FILTERED).secure(true).build().unwrap();
        let present = types::App::builder().app_id("a-1").environment(secret).build();
        let environment = BTreeMap::from([("TOKEN".into(), "t".into()), ("PLAIN".into(), "p".into())]);
        let declared = AppSettings { name: "web".into(), short_name: "web".into(), environment, data_source: None };
        let sent = update_app(&present, &declared, String::new()).unwrap();
        let sent = sent.get_environment().clone().unwrap();
        assert_eq!((sent[0].key.as_str(), sent[0].secure), ("PLAIN", None));
        assert_eq!((sent[1].value.as_str(), sent[1].secure), ("t", Some(true)));
    }
}
