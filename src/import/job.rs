//! `cron` of a container.

use super::{
    container::{Context, Deploy, unheard},
    cursor::Map,
    json::Entry,
    note::Kind,
    yaml::{Part, Yaml},
};

/// When it is run, of a container with `deploy: cron`.
pub(super) fn read(context: Context<'_>, map: &Map<'_>, deploy: Deploy, container: &Entry, parts: &mut Vec<Part>) {
    let reader = context.reader;
    let cron = map.get("cron");
    if deploy != Deploy::Cron {
        if let Some(entry) = cron {
            unheard(context, parts, entry, "it means nothing without `deploy: cron`, and did not then");
        }
        return;
    }
    let mut fields = Vec::new();
    let mut unknown = Vec::new();
    if let Some(entry) = cron {
        let Some(given) = reader.map(&entry.value, "`cron`") else { return };
        for key in ["minute", "hour", "weekday"] {
            if let Some(field) = given.get(key)
                && let Some(text) = reader.word(&field.value)
            {
                fields.push(Part::text(key, text).from(reader.place(&field.value.span)));
            }
        }
        unknown = reader.finish(&given, &format!("{}.containers.{}.cron.", context.at, container.key));
    }
    if fields.is_empty() {
        fields.push(Part::text("minute", "*"));
    }
    let span = cron.map_or(&container.key_span, |entry| &entry.key_span);
    let message = format!(
        "`{}` ran on every instance, by the clock of each; it runs once per stack and time, by UTC, and not while the run before \
         goes on. The old way is `runOn: everyInstance` and `concurrency: Allow`; `timeZone` names another clock",
        container.key
    );
    let remark = reader.note(Kind::Changed, span, message);
    parts.push(Part::new("cron", Yaml::Map(fields)).from(reader.place(span)).remark([remark]).remark(unknown));
}
