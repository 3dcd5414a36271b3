//! How plans and statuses look on a terminal.

use std::fmt::Write;

use crate::{
    action::Action,
    plan::{Plan, forecast::Forecast},
    spec::image,
    status::{Event, StackStatus},
};

/// Prints a forecast.
pub fn forecast(stack: &str, revision: &str, now: &Plan, forecast: &Forecast) {
    print!("{}", forecast_text(stack, revision, now, forecast));
}

fn forecast_text(stack: &str, revision: &str, now: &Plan, forecast: &Forecast) -> String {
    let mut out = format!("stack {stack}, revision {revision}\n");
    for replacement in &now.replacements {
        let _ = writeln!(out, "  ~  {replacement}");
    }
    let _ = write!(out, "{forecast}");
    let mut conditions = now.conditions.clone();
    conditions.extend(forecast.end.conditions.iter().cloned());
    conditions.sort();
    conditions.dedup();
    for condition in &conditions {
        let _ = writeln!(out, "  !  {condition}");
    }
    for hold in &forecast.stuck_on {
        let _ = writeln!(out, "  …  {hold}");
    }
    if forecast.steps.is_empty() {
        for hold in now.holds.iter().filter(|hold| !forecast.stuck_on.contains(hold)) {
            let _ = writeln!(out, "  …  {hold}");
        }
        let _ = writeln!(out, "Nothing to do.");
    } else {
        let containers = forecast.steps.iter().filter(|s| matches!(s.action, Action::Engine { .. })).count();
        let aws = forecast.steps.len() - containers;
        let _ = writeln!(
            out,
            "{} to do: {aws} on AWS, {containers} on the engines. Steps of one number may run side by side. Nothing \
             was changed.",
            forecast.steps.len()
        );
    }
    out
}

/// One stack's status, for people.
pub fn status_text(status: &StackStatus, events: &[Event]) -> String {
    let mut out = format!(
        "stack {}  {}  revision {}  (seen {})\n",
        status.stack,
        status.phase,
        status.revision,
        status.at.strftime("%H:%M:%S UTC")
    );
    for instance in &status.instances {
        let balancers: Vec<String> =
            instance.balancers.iter().map(|(name, standing)| format!("{name}: {standing}")).collect();
        let _ = writeln!(out, "  {}  {}  {}", instance.hostname, instance.state, balancers.join(", "));
        if let Some(trouble) = &instance.engine {
            let _ = writeln!(out, "      {trouble}");
        }
        for (name, container) in &instance.containers {
            let _ = writeln!(out, "      {name:<18} {:<12} {}", container.state, image::shown(&container.image));
        }
    }
    for doing in &status.doing {
        let _ = writeln!(out, "  >  {doing}");
    }
    for asked in &status.asked {
        let _ = writeln!(out, "  ?  {asked}");
    }
    for condition in &status.conditions {
        let _ = writeln!(out, "  !  {condition}");
    }
    for hold in &status.holds {
        let _ = writeln!(out, "  …  {hold}");
    }
    for event in events {
        let _ = writeln!(out, "  {}  {}", event.at.strftime("%H:%M:%S"), event.text);
    }
    out
}
