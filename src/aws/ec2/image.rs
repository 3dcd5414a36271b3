//! The declared images: by id, or by the name of a parameter.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types;

use super::census::Census;
use crate::{
    spec::Stack,
    world::{Class, Image, Seen, Trouble},
};

/// `resolve:ssm:NAME`, as RunInstances itself takes it.
const PARAMETER: &str = "resolve:ssm:";

/// Every image that a layer of the stack declares, by the reference as declared.
pub(super) async fn images(census: &Census, stack: &Stack) -> BTreeMap<String, Seen<Image>> {
    let declared: BTreeSet<&String> = stack.layers.iter().filter_map(|layer| layer.image.as_ref()).collect();
    let named = declared.iter().filter_map(|reference| reference.strip_prefix(PARAMETER));
    let names: BTreeSet<String> = named.map(str::to_owned).collect();
    let parameters = census.parameters(&stack.name, names).await;
    let ids: BTreeMap<&String, Result<String, Trouble>> = declared
        .iter()
        .map(|reference| {
            let id = match (reference.strip_prefix(PARAMETER), &parameters) {
                (None, _) => Ok((*reference).clone()),
                (Some(_), Err(trouble)) => Err(trouble.clone()),
                (Some(name), Ok(told)) => {
                    told.found.get(name).cloned().unwrap_or_else(|| Err(no_parameter(stack, name)))
                }
            };
            (*reference, id)
        })
        .collect();
    let wanted: BTreeSet<String> = ids.values().filter_map(|id| id.as_ref().ok()).cloned().collect();
    let images = census.images(&stack.name, wanted).await;
    let seen = ids.into_iter().map(|(reference, id)| {
        let seen = id.and_then(|id| {
            let told = images.as_ref().map_err(Clone::clone)?;
            image(stack, reference, &id, told.found.get(&id))
        });
        (reference.clone(), seen.into())
    });
    seen.collect()
}

fn image(stack: &Stack, reference: &str, id: &str, found: Option<&types::Image>) -> Result<Image, Trouble> {
    let what = if reference == id { format!("image {id}") } else { format!("image {id}, which {reference} names,") };
    let trouble = |class, said: String| {
        let layers = declaring(stack, reference);
        let message = format!("{what} {said} in {} (amiId of {layers})", stack.region);
        Trouble { class, message }
    };
    let Some(found) = found else {
        let said = "does not exist, or is not shared with this account; declare another that is";
        return Err(trouble(Class::Terminal, said.to_owned()));
    };
    match found.state.as_ref().map(types::ImageState::as_str) {
        Some("available") => {}
        Some("pending" | "transient") => return Err(trouble(Class::Transient, "is still being made".into())),
        state => {
            let state = state.unwrap_or("in no state");
            return Err(trouble(
                Class::Terminal,
                format!("cannot be launched, it is {state}; declare another that is"),
            ));
        }
    }
    match found.root_device_name.clone().filter(|name| !name.is_empty()) {
        Some(root_device) => Ok(Image { id: id.to_owned(), root_device }),
        None => Err(trouble(Class::Terminal, "has no root device; declare another that is".into())),
    }
}

fn no_parameter(stack: &Stack, name: &str) -> Trouble {
    let layers = declaring(stack, &format!("{PARAMETER}{name}"));
    let message = format!(
        "there is no parameter {name} in {} (amiId of {layers}); correct its name, or put the id of an image into it",
        stack.region
    );
    Trouble { class: Class::Terminal, message }
}

fn declaring(stack: &Stack, reference: &str) -> String {
    let layers = stack.layers.iter().filter(|layer| layer.image.as_deref() == Some(reference));
    let names: Vec<&str> = layers.map(|layer| layer.short_name.as_str()).collect();
    format!("layer {} of stack {}", names.join(", "), stack.name)
}
