//! Evenkeel's mark on things of OpsWorks: what it made, or has taken over.
//!
//! OpsWorks takes no tags in its create calls, so that the mark goes into what it does take there: the custom JSON
//! of a stack or layer (`{"evenkeel": {"stack": …, "layer": …}}`), the description of an app.

use serde_json::{Map, Value, json};

const KEY: &str = "evenkeel";

/// True when a stack's custom JSON says that it is the stack called `stack`.
pub(super) fn on_stack(custom_json: Option<&str>, stack: &str) -> bool {
    let mark = read(custom_json);
    mark["stack"] == stack && mark.get("layer").is_none()
}

/// True when a layer's custom JSON says that it is that layer of that stack.
pub(super) fn on_layer(custom_json: Option<&str>, stack: &str, layer: &str) -> bool {
    let mark = read(custom_json);
    mark["stack"] == stack && mark["layer"] == layer
}

/// True when an app's description ends in the mark.
pub(super) fn on_app(description: Option<&str>, stack: &str, app: &str) -> bool {
    description.is_some_and(|text| text.ends_with(&app_mark(stack, app)))
}

/// The custom JSON of a stack with the mark put in, everything else kept.
///
/// # Errors
/// What is wrong with `present`, which then is better left alone.
pub(super) fn put_on_stack(present: Option<&str>, stack: &str) -> Result<String, String> {
    put(present, json!({"stack": stack}))
}

/// The custom JSON of a layer with the mark put in, everything else kept.
///
/// # Errors
/// What is wrong with `present`, which then is better left alone.
pub(super) fn put_on_layer(present: Option<&str>, stack: &str, layer: &str) -> Result<String, String> {
    put(present, json!({"stack": stack, "layer": layer}))
}

/// The description of an app with the mark at its end, everything else kept.
pub(super) fn put_on_app(present: Option<&str>, stack: &str, app: &str) -> String {
    let mark = app_mark(stack, app);
    match present.filter(|text| !text.trim().is_empty()) {
        None => mark,
        Some(text) if on_app(Some(text), stack, app) => text.to_owned(),
        Some(text) => format!("{text}; {mark}"),
    }
}

fn app_mark(stack: &str, app: &str) -> String {
    format!("managed by evenkeel: {stack}/{app}")
}

fn read(custom_json: Option<&str>) -> Value {
    custom_json.and_then(|text| object(text).ok()).and_then(|mut all| all.remove(KEY)).unwrap_or_default()
}

fn put(present: Option<&str>, mark: Value) -> Result<String, String> {
    let mut all = object(present.unwrap_or_default())?;
    all.insert(KEY.to_owned(), mark);
    Ok(Value::Object(all).to_string())
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(all)) => Ok(all),
        Ok(_) => Err("its custom JSON is not an object; make it one, so that the mark can be added to it".into()),
        Err(error) => {
            Err(format!("its custom JSON cannot be read ({error}); correct it, so that the mark can be added to it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_recognised_by_those_it_names_only() {
        let stack = put_on_stack(None, "shop").unwrap();
        assert!(on_stack(Some(&stack), "shop"));
        assert!(!on_stack(Some(&stack), "other"));
        let layer = put_on_layer(None, "shop", "docker").unwrap();
        assert!(on_layer(Some(&layer), "shop", "docker"));
        assert!(!on_layer(Some(&layer), "shop", "web"));
        assert!(!on_stack(Some(&layer), "shop"));
    }

    #[test]
    fn nothing_else_counts_as_a_mark() {
        for text in [None, Some(""), Some("{}"), Some("not json"), Some("[1]"), Some(r#"{"evenkeel": 1}"#)] {
            assert!(!on_stack(text, "shop"), "{text:?}");
        }
    }

    #[test]
    fn what_people_put_beside_the_mark_stays() {
        let text = put_on_stack(Some(r#"{"deploy": {"app": 1}, "evenkeel": {"stack": "old"}}"#), "shop").unwrap();
        let all: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(all, json!({"deploy": {"app": 1}, "evenkeel": {"stack": "shop"}}));
    }

    #[test]
    fn custom_json_that_cannot_be_read_is_left_alone() {
        assert!(put_on_stack(Some("{not json"), "shop").unwrap_err().contains("cannot be read"));
        assert!(put_on_layer(Some("[]"), "shop", "docker").unwrap_err().contains("not an object"));
    }

    #[test]
    fn an_apps_own_description_stays_in_front_of_the_mark() {
        let text = put_on_app(Some("The shop"), "shop", "web");
        assert_eq!(text, "The shop; managed by evenkeel: shop/web");
        assert!(on_app(Some(&text), "shop", "web"));
        assert!(!on_app(Some(&text), "shop", "we"));
        assert_eq!(put_on_app(Some(&text), "shop", "web"), text);
    }
}
