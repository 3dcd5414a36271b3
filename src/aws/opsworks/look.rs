//! Everything of one stack, as OpsWorks tells it.

use std::collections::BTreeMap;

use aws_sdk_opsworks::types;
use futures_util::future::join_all;

use super::{
    api::Api,
    mark, scaling,
    seen::{self, Lacking},
};
use crate::world::{Class, OpsWorks, OwLayer, OwStack, Provided, Rest, Seen, Trouble};

pub(super) async fn look(api: &Api<'_>) -> Provided {
    match find(api).await {
        Err(trouble) => Provided {
            rest: Rest::OpsWorks(OpsWorks {
                stack: Seen::Unknown(trouble.clone()),
                layers: Seen::Unknown(trouble.clone()),
                apps: Seen::Unknown(trouble.clone()),
                attached: Seen::Unknown(trouble.clone()),
                databases: Seen::Unknown(trouble.clone()),
                load_scaling: Seen::Unknown(trouble.clone()),
            }),
            instances: Seen::Unknown(trouble),
        },
        Ok(None) => Provided {
            rest: Rest::OpsWorks(OpsWorks {
                stack: Seen::Known(None),
                layers: Seen::Known(Vec::new()),
                apps: Seen::Known(Vec::new()),
                attached: Seen::Known(BTreeMap::new()),
                databases: Seen::Known(Vec::new()),
                load_scaling: Seen::Known(BTreeMap::new()),
            }),
            instances: Seen::Known(Vec::new()),
        },
        Ok(Some(stack)) => parts(api, stack).await,
    }
}

async fn find(api: &Api<'_>) -> Result<Option<OwStack>, Trouble> {
    let stacks = api.stacks().await?;
    match choose(&stacks, &api.stack.name, &api.stack.region) {
        Ok(None) => Ok(None),
        Ok(Some(found)) => match seen::stack(found, &api.stack.region) {
            Ok(stack) => Ok(Some(stack)),
            Err(lacking) => Err(incomplete(api, "DescribeStacks", lacking)),
        },
        Err(said) => {
            let on = format!("stack {}", api.stack.name);
            Err(api.call("DescribeStacks", &on).own(Class::Terminal, said))
        }
    }
}

/// Names are not unique in OpsWorks: the stack that bears the mark is meant, else the only one of that name.
fn choose<'a>(stacks: &'a [types::Stack], name: &str, region: &str) -> Result<Option<&'a types::Stack>, String> {
    let (ours, others): (Vec<_>, Vec<_>) = candidates(stacks, name, region)
        .into_iter()
        .partition(|stack| mark::on_stack(stack.custom_json.as_deref(), name));
    let (several, what) = match (ours.as_slice(), others.as_slice()) {
        ([one], _) | ([], [one]) => return Ok(Some(one)),
        ([], []) => return Ok(None),
        ([], several) => (several, "none bears Evenkeel's mark: rename all but one"),
        (several, _) => (several, "remove the key evenkeel from the custom JSON of all but one"),
    };
    let ids: Vec<&str> = several.iter().filter_map(|stack| stack.stack_id.as_deref()).collect();
    Err(format!("{} stacks have this name ({}); {what}", several.len(), ids.join(", ")))
}

/// An endpoint may tell of stacks whose instances are in another region.
pub(super) fn candidates<'a>(stacks: &'a [types::Stack], name: &str, region: &str) -> Vec<&'a types::Stack> {
    stacks
        .iter()
        .filter(|stack| stack.name.as_deref() == Some(name))
        .filter(|stack| stack.region.as_deref().is_none_or(|found| found == region))
        .collect()
}

async fn parts(api: &Api<'_>, stack: OwStack) -> Provided {
    let id = stack.id.as_str();
    let (layers, apps, instances, attached, databases) =
        tokio::join!(api.layers(id), api.apps(id), api.instances(id), api.attached(id), api.databases(id));
    let name = &api.stack.name;
    let load_scaling = load_scaling(api, &layers).await;
    let tags = match &layers {
        Ok(found) => tags(api, found).await,
        Err(_) => BTreeMap::new(),
    };
    let layers = part(api, "DescribeLayers", layers, |all| all.iter().map(|l| seen::layer(l, name)).collect());
    let tagged = |mut layer: OwLayer| {
        layer.tags = tags.get(&layer.id).cloned();
        layer
    };
    Provided {
        instances: part(api, "DescribeInstances", instances, |all| all.iter().map(seen::instance).collect()),
        rest: Rest::OpsWorks(OpsWorks {
            layers: layers.map(|all: Vec<OwLayer>| all.into_iter().map(tagged).collect()),
            apps: part(api, "DescribeApps", apps, |all| all.iter().map(|a| seen::app(a, name)).collect()),
            attached: part(api, "DescribeElasticLoadBalancers", attached, seen::attached),
            databases: part(api, "DescribeRdsDbInstances", databases, |all| all.iter().map(seen::database).collect()),
            load_scaling: part(api, "DescribeLoadBasedAutoScaling", load_scaling, scaling::seen),
            stack: Seen::Known(Some(stack)),
        }),
    }
}

/// The tags of the layers whose tags are declared, by their ids.
async fn tags(api: &Api<'_>, layers: &[types::Layer]) -> BTreeMap<String, Seen<BTreeMap<String, String>>> {
    let is_meant = |layer: &&types::Layer| {
        let declared = api.stack.layers.iter().filter(|declared| declared.tags.is_some());
        declared.map(|declared| &declared.short_name).any(|name| layer.shortname.as_ref() == Some(name))
    };
    let asked =
        layers.iter().filter(is_meant).filter_map(|layer| Some((layer.layer_id.clone()?, layer.arn.as_deref()?)));
    join_all(asked.map(|(id, arn)| async move { (id, api.tags(arn).await.into()) })).await.into_iter().collect()
}

/// Asked for only of layers that are scaled here.
async fn load_scaling(
    api: &Api<'_>,
    layers: &Result<Vec<types::Layer>, Trouble>,
) -> Result<Vec<types::LoadBasedAutoScalingConfiguration>, Trouble> {
    let scaled: Vec<&str> = api
        .stack
        .layers
        .iter()
        .filter(|layer| layer.instances.scaling.is_some())
        .map(|layer| layer.short_name.as_str())
        .collect();
    if scaled.is_empty() {
        return Ok(Vec::new());
    }
    let found = layers.as_ref().map_err(Clone::clone)?.iter();
    let found = found.filter(|layer| layer.shortname.as_deref().is_some_and(|name| scaled.contains(&name)));
    let ids: Vec<String> = found.filter_map(|layer| layer.layer_id.clone()).collect();
    if ids.is_empty() { Ok(Vec::new()) } else { api.load_scaling(&ids).await }
}

fn part<T, U>(
    api: &Api<'_>,
    operation: &'static str,
    answer: Result<Vec<T>, Trouble>,
    translate: impl Fn(&[T]) -> Result<U, Lacking>,
) -> Seen<U> {
    answer.and_then(|all| translate(&all).map_err(|lacking| incomplete(api, operation, lacking))).into()
}

fn incomplete(api: &Api<'_>, operation: &'static str, lacking: Lacking) -> Trouble {
    let on = format!("stack {}", api.stack.name);
    api.call(operation, &on).lacks(lacking)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(id: &str, region: &str, ours: bool) -> types::Stack {
        let mark = ours.then(|| mark::put_on_stack(None, "shop").unwrap());
        types::Stack::builder().stack_id(id).name("shop").region(region).set_custom_json(mark).build()
    }

    fn chosen(stacks: &[types::Stack]) -> Result<Option<&str>, String> {
        choose(stacks, "shop", "eu-west-1").map(|found| found.and_then(|stack| stack.stack_id.as_deref()))
    }

    #[test]
    fn the_marked_stack_is_meant_whatever_else_has_its_name() {
        let foreign = stack("s-1", "eu-west-1", false);
        let ours = stack("s-2", "eu-west-1", true);
        assert_eq!(chosen(&[foreign.clone(), ours]), Ok(Some("s-2")));
        assert_eq!(chosen(&[foreign]), Ok(Some("s-1")));
    }

    #[test]
    fn a_stack_of_another_region_is_another_stack() {
        assert_eq!(chosen(&[stack("s-1", "us-east-1", true)]), Ok(None));
    }

    #[test]
    fn two_that_could_be_meant_are_for_people_to_tell_apart() {
        let two = |ours| [stack("s-1", "eu-west-1", ours), stack("s-2", "eu-west-1", ours)];
        for (ours, what) in [(true, "remove the key evenkeel"), (false, "rename all but one")] {
            let stacks = two(ours);
            let said = chosen(&stacks).unwrap_err();
            assert!(said.contains("s-1, s-2") && said.contains(what), "{said}");
        }
    }
}
