//! `notifications` of a container.

use super::{
    container::{Context, Deploy},
    cursor::Map,
    json::Entry,
    note::Kind,
    secrets,
    yaml::{Part, Yaml},
};

/// `rollbar`, where it says enough to be told anything.
pub(super) fn read(context: Context<'_>, map: &Map<'_>, deploy: Deploy, container: &str, parts: &mut Vec<Part>) {
    let reader = context.reader;
    let Some(entry) = map.get("notifications") else { return };
    let at = format!("{}.containers.{container}.notifications.", context.at);
    let Some(given) = reader.map(&entry.value, "`notifications`") else { return };
    let rollbar = given.get("rollbar");
    let mut remarks = reader.finish(&given, &at);
    if let Some(rollbar) = rollbar {
        match told(context, rollbar, deploy, container, &mut remarks) {
            Some(part) => return parts.push(part.remark(remarks)),
            None if remarks.is_empty() => return,
            None => {}
        }
    }
    if let Some(name) = parts.first_mut() {
        *name = name.clone().remark(remarks);
    }
}

fn told(
    context: Context<'_>,
    rollbar: &Entry,
    deploy: Deploy,
    container: &str,
    remarks: &mut Vec<String>,
) -> Option<Part> {
    let reader = context.reader;
    let at = format!("{}.containers.{container}.notifications.rollbar.", context.at);
    let keys = reader.map(&rollbar.value, "`rollbar`")?;
    let mut parts = Vec::new();
    let mut missing = Vec::new();
    for (key, to) in [("access_token", "accessToken"), ("env_var", "envVar"), ("rev_var", "revVar")] {
        let said = keys.get(key).map(|entry| (entry, reader.text(&entry.value)));
        match said {
            Some((entry, Some(text))) if !text.trim().is_empty() => {
                parts.push(Part::text(to, text).from(reader.place(&entry.value.span)));
            }
            Some((_, None)) => return None,
            _ => missing.push(key),
        }
    }
    remarks.extend(reader.finish(&keys, &at));
    if let Some(key) = missing.first() {
        let message = format!("`rollbar` of `{container}` has no `{key}`: nobody is told of its releases");
        remarks.push(reader.note(Kind::LeftOut, &rollbar.key_span, message));
        return None;
    }
    if deploy == Deploy::Cron {
        let message =
            format!("`rollbar` of `{container}`: a job has no release that is done, and nobody is told of one");
        remarks.push(reader.note(Kind::LeftOut, &rollbar.key_span, message));
        return None;
    }
    let parameter = secrets::parameter(&[context.stack, context.app, "rollbar"]);
    let changed = format!(
        "Rollbar is told of `{container}` once per release, when every instance runs it, and not by each instance"
    );
    let decide = format!(
        "the access token for Rollbar of `{container}` stands here in plain text: keep it in Parameter Store, and write \
         `accessToken: {{ssm: {parameter}}}`"
    );
    remarks.push(reader.note(Kind::Changed, &rollbar.key_span, changed));
    remarks.push(reader.note(Kind::Decide, &rollbar.key_span, decide));
    let place = reader.place(&rollbar.key_span);
    let rollbar = Part::new("rollbar", Yaml::Map(parts)).from(place.clone());
    Some(Part::new("notifications", Yaml::Map(vec![rollbar])).from(place))
}
