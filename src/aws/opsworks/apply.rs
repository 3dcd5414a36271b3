//! One mutation each, with its precondition checked just before.
//!
//! OpsWorks takes no client tokens, so that a create is refused here when the thing is there already; the next look
//! then finds it.

use aws_sdk_opsworks::{Client, types};

use super::{
    api::{Api, is_not_found},
    look, mark, request, scaling,
};
use crate::{
    action::{Action, Tagged, Tags},
    world::{AppSettings, Class, LayerSettings, LoadScaling, StackSettings, Trouble},
};

const STARTING: [&str; 6] = ["requested", "pending", "booting", "running_setup", "rebooting", "online"];
const STOPPING: [&str; 4] = ["stopping", "shutting_down", "terminating", "terminated"];
/// "You must stop an instance before you can delete it" (API reference of `DeleteInstance`); one whose start failed
/// does not run.
const DELETABLE: [&str; 2] = ["stopped", "start_failed"];

pub(super) async fn apply(api: &Api<'_>, action: &Action) -> Result<(), Trouble> {
    match action {
        Action::CreateStack { settings } => create_stack(api, settings).await,
        Action::UpdateStack { id, settings, .. } => update_stack(api, id, settings).await,
        Action::CreateLayer { stack_id, settings } => create_layer(api, stack_id, settings).await,
        Action::UpdateLayer { id, settings, .. } => update_layer(api, id, settings).await,
        Action::KeepTags { of: Tagged::Layer { id, short_name }, tags } => keep_tags(api, id, short_name, tags).await,
        Action::CreateApp { stack_id, settings } => create_app(api, stack_id, settings).await,
        Action::UpdateApp { id, settings, .. } => update_app(api, id, settings).await,
        Action::DeleteApp { id, name } => delete_app(api, id, name).await,
        Action::CreateInstance { stack_id, layer_id, hostname, instance_type } => {
            create_instance(api, stack_id, layer_id, hostname, instance_type).await
        }
        Action::StartInstance { id, hostname } => start_instance(api, id, hostname).await,
        Action::StopInstance { id, hostname, .. } => stop_instance(api, id, hostname).await,
        Action::DeleteInstance { id, hostname } => delete_instance(api, id, hostname).await,
        Action::AttachBalancer { layer_id, layer, balancer } => attach(api, layer_id, layer, balancer).await,
        Action::SetLoadScaling { layer_id, layer, settings, .. } => {
            set_load_scaling(api, layer_id, layer, settings).await
        }
        Action::DetachBalancer { layer_id, layer, balancer } => detach(api, layer_id, layer, balancer).await,
        _ => Err(Trouble { class: Class::Terminal, message: format!("{action}: not an action of OpsWorks") }),
    }
}

async fn create_stack(api: &Api<'_>, settings: &StackSettings) -> Result<(), Trouble> {
    let on = format!("stack {}", settings.name);
    let call = api.call("CreateStack", &on);
    let stacks = api.stacks().await?;
    let there = look::candidates(&stacks, &settings.name, &settings.region);
    refuse_if_there(&call, there.first().map(|stack| &stack.stack_id))?;
    let custom_json = mark::put_on_stack(None, &settings.name).map_err(|said| call.own(Class::Terminal, said))?;
    let sent = request::create_stack(settings, custom_json).send_with(client(api)).await;
    sent.map(drop).map_err(|error| call.failed(&error))
}

async fn update_stack(api: &Api<'_>, id: &str, settings: &StackSettings) -> Result<(), Trouble> {
    let on = format!("stack {}", settings.name);
    let call = api.call("UpdateStack", &on);
    let present = api.stack(id).await?;
    let custom_json = mark::put_on_stack(present.custom_json.as_deref(), &settings.name)
        .map_err(|said| call.own(Class::Terminal, said))?;
    let sent = request::update_stack(&present, settings, custom_json).send_with(client(api)).await;
    sent.map(drop).map_err(|error| call.failed(&error))
}

async fn create_layer(api: &Api<'_>, stack_id: &str, settings: &LayerSettings) -> Result<(), Trouble> {
    let on = format!("layer {} of stack {}", settings.short_name, api.stack.name);
    let call = api.call("CreateLayer", &on);
    let layers = api.layers(stack_id).await?;
    let there = layers.iter().find(|layer| layer.shortname.as_deref() == Some(settings.short_name.as_str()));
    refuse_if_there(&call, there.map(|layer| &layer.layer_id))?;
    let terminal = |said: String| call.own(Class::Terminal, said);
    let custom_json = mark::put_on_layer(None, &api.stack.name, &settings.short_name).map_err(terminal)?;
    let request =
        request::create_layer(stack_id, settings, custom_json).map_err(|error| terminal(error.to_string()))?;
    request.send_with(client(api)).await.map(drop).map_err(|error| call.failed(&error))
}

async fn update_layer(api: &Api<'_>, id: &str, settings: &LayerSettings) -> Result<(), Trouble> {
    let on = format!("layer {} of stack {}", settings.short_name, api.stack.name);
    let call = api.call("UpdateLayer", &on);
    let terminal = |said: String| call.own(Class::Terminal, said);
    let present = api.layer(id).await?;
    let custom_json =
        mark::put_on_layer(present.custom_json.as_deref(), &api.stack.name, &settings.short_name).map_err(terminal)?;
    let request = request::update_layer(id, settings, custom_json).map_err(|error| terminal(error.to_string()))?;
    request.send_with(client(api)).await.map(drop).map_err(|error| call.failed(&error))
}

/// Takes away first: what is still listed can be taken away again, what is listed no more cannot.
async fn keep_tags(api: &Api<'_>, id: &str, short_name: &str, tags: &Tags) -> Result<(), Trouble> {
    let on = format!("layer {short_name} of stack {}", api.stack.name);
    let arn = api.layer(id).await?.arn;
    if !tags.drop.is_empty() {
        let request = client(api).untag_resource().set_resource_arn(arn.clone());
        let sent = request.set_tag_keys(Some(tags.drop.iter().cloned().collect())).send().await;
        sent.map_err(|error| api.call("UntagResource", &on).failed(&error))?;
    }
    if !tags.put.is_empty() {
        let put = tags.put.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let sent = client(api).tag_resource().set_resource_arn(arn).set_tags(Some(put)).send().await;
        sent.map_err(|error| api.call("TagResource", &on).failed(&error))?;
    }
    Ok(())
}

async fn create_app(api: &Api<'_>, stack_id: &str, settings: &AppSettings) -> Result<(), Trouble> {
    let on = format!("app {} of stack {}", settings.name, api.stack.name);
    let call = api.call("CreateApp", &on);
    let apps = api.apps(stack_id).await?;
    let there = apps.iter().find(|app| app.shortname.as_deref() == Some(settings.short_name.as_str()));
    refuse_if_there(&call, there.map(|app| &app.app_id))?;
    let description = mark::put_on_app(None, &api.stack.name, &settings.short_name);
    let request = request::create_app(stack_id, settings, description)
        .map_err(|error| call.own(Class::Terminal, error.to_string()))?;
    request.send_with(client(api)).await.map(drop).map_err(|error| call.failed(&error))
}

async fn update_app(api: &Api<'_>, id: &str, settings: &AppSettings) -> Result<(), Trouble> {
    let on = format!("app {} of stack {}", settings.name, api.stack.name);
    let call = api.call("UpdateApp", &on);
    let present = api.app(id).await?.ok_or_else(|| call.gone())?;
    let description = mark::put_on_app(present.description.as_deref(), &api.stack.name, &settings.short_name);
    let request = request::update_app(&present, settings, description)
        .map_err(|error| call.own(Class::Terminal, error.to_string()))?;
    request.send_with(client(api)).await.map(drop).map_err(|error| call.failed(&error))
}

/// Only an app that still bears this stack's mark.
async fn delete_app(api: &Api<'_>, id: &str, name: &str) -> Result<(), Trouble> {
    let on = format!("app {name} of stack {}", api.stack.name);
    let call = api.call("DeleteApp", &on);
    let Some(present) = api.app(id).await? else { return Ok(()) };
    let short_name = present.shortname.as_deref().unwrap_or_default();
    if !mark::on_app(present.description.as_deref(), &api.stack.name, short_name) {
        return Err(call.own(Class::Transient, "it no longer bears Evenkeel's mark; left alone"));
    }
    match client(api).delete_app().app_id(id).send().await {
        Err(error) if !is_not_found(&error) => Err(call.failed(&error)),
        _ => Ok(()),
    }
}

async fn create_instance(
    api: &Api<'_>,
    stack_id: &str,
    layer_id: &str,
    hostname: &str,
    instance_type: &str,
) -> Result<(), Trouble> {
    let on = instance_of(api, hostname);
    let call = api.call("CreateInstance", &on);
    let instances = api.instances(stack_id).await?;
    let there = instances.iter().find(|instance| {
        instance.hostname.as_deref().is_some_and(|found| found.eq_ignore_ascii_case(hostname))
            && instance.status.as_deref() != Some("terminated")
    });
    refuse_if_there(&call, there.map(|instance| &instance.instance_id))?;
    let request = request::create_instance(api.stack, stack_id, layer_id, hostname, instance_type);
    request.send_with(client(api)).await.map(drop).map_err(|error| call.failed(&error))
}

/// One that runs, or is about to, is left as it is.
async fn start_instance(api: &Api<'_>, id: &str, hostname: &str) -> Result<(), Trouble> {
    let on = instance_of(api, hostname);
    let call = api.call("StartInstance", &on);
    let status = status(api.instance(id).await?).ok_or_else(|| call.gone())?;
    if STARTING.contains(&status.as_str()) {
        return Ok(());
    }
    if STOPPING.contains(&status.as_str()) {
        return Err(call.own(Class::Transient, format!("it is {status}; it can be started once it is stopped")));
    }
    client(api).start_instance().instance_id(id).send().await.map(drop).map_err(|error| call.failed(&error))
}

/// Never by force: a forced stop of an EBS-backed instance abandons the EC2 instance (API reference of
/// `StopInstance`).
async fn stop_instance(api: &Api<'_>, id: &str, hostname: &str) -> Result<(), Trouble> {
    let on = instance_of(api, hostname);
    let call = api.call("StopInstance", &on);
    let Some(status) = status(api.instance(id).await?) else { return Ok(()) };
    if status == "stopped" || STOPPING.contains(&status.as_str()) {
        return Ok(());
    }
    client(api).stop_instance().instance_id(id).send().await.map(drop).map_err(|error| call.failed(&error))
}

/// Its volumes and its Elastic IP address stay: OpsWorks deletes both unless told otherwise, and what holds data is
/// for people to delete.
async fn delete_instance(api: &Api<'_>, id: &str, hostname: &str) -> Result<(), Trouble> {
    let on = instance_of(api, hostname);
    let call = api.call("DeleteInstance", &on);
    let Some(status) = status(api.instance(id).await?) else { return Ok(()) };
    if !DELETABLE.contains(&status.as_str()) {
        let said = format!("it is {status}, and only a stopped instance is deleted; stopped first");
        return Err(call.own(Class::Transient, said));
    }
    let request = client(api).delete_instance().instance_id(id).delete_volumes(false).delete_elastic_ip(false);
    match request.send().await {
        Err(error) if !is_not_found(&error) => Err(call.failed(&error)),
        _ => Ok(()),
    }
}

/// OpsWorks first deregisters whatever is registered with the balancer, then registers the layer's online
/// instances, and from then on each that comes online (user guide, "Elastic Load Balancing Layer").
async fn attach(api: &Api<'_>, layer_id: &str, layer: &str, balancer: &str) -> Result<(), Trouble> {
    let on = format!("load balancer {balancer}, layer {layer} of stack {}", api.stack.name);
    let call = api.call("AttachElasticLoadBalancer", &on);
    match api.attached_to(layer_id).await? {
        Some(name) if name == balancer => return Ok(()),
        Some(other) => {
            let said = format!("the layer has load balancer {other} attached, which must be detached first");
            return Err(call.own(Class::Transient, said));
        }
        None => {}
    }
    let request = client(api).attach_elastic_load_balancer().layer_id(layer_id).elastic_load_balancer_name(balancer);
    request.send().await.map(drop).map_err(|error| call.failed(&error))
}

/// OpsWorks deregisters the layer's instances from the balancer.
async fn detach(api: &Api<'_>, layer_id: &str, layer: &str, balancer: &str) -> Result<(), Trouble> {
    let on = format!("load balancer {balancer}, layer {layer} of stack {}", api.stack.name);
    let call = api.call("DetachElasticLoadBalancer", &on);
    if api.attached_to(layer_id).await?.as_deref() != Some(balancer) {
        return Ok(());
    }
    let request = client(api).detach_elastic_load_balancer().layer_id(layer_id).elastic_load_balancer_name(balancer);
    request.send().await.map(drop).map_err(|error| call.failed(&error))
}

async fn set_load_scaling(api: &Api<'_>, layer_id: &str, layer: &str, settings: &LoadScaling) -> Result<(), Trouble> {
    let on = format!("layer {layer} of stack {}", api.stack.name);
    let call = api.call("SetLoadBasedAutoScaling", &on);
    let sent = scaling::set(layer_id, settings).send_with(client(api)).await;
    sent.map(drop).map_err(|error| call.failed(&error))
}

fn client<'a>(api: &'a Api<'_>) -> &'a Client {
    &api.clients.opsworks.write
}

fn instance_of(api: &Api<'_>, hostname: &str) -> String {
    format!("instance {hostname} of stack {}", api.stack.name)
}

fn status(instance: Option<types::Instance>) -> Option<String> {
    instance.map(|instance| instance.status.unwrap_or_default())
}

fn refuse_if_there(call: &crate::aws::trouble::Call<'_>, there: Option<&Option<String>>) -> Result<(), Trouble> {
    match there {
        None => Ok(()),
        Some(id) => {
            let id = id.as_deref().unwrap_or("without an id");
            Err(call.own(Class::Transient, format!("it is already there ({id}); not created a second time")))
        }
    }
}
