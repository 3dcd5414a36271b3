//! How plans and statuses look on a terminal.

use std::fmt::Write;

use crate::{
    action::Action,
    plan::{Plan, forecast::Forecast},
    spec::{image, upkeep::in_words},
    status::{DiskStatus, Event, JobStatus, StackStatus},
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
    for scaling in &now.scaling {
        let _ = writeln!(out, "  #  {scaling}");
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
        if let Some(disk) = &instance.disk {
            let _ = writeln!(out, "      {}", disk_text(disk));
        }
        for (name, container) in &instance.containers {
            let _ = writeln!(out, "      {name:<18} {:<12} {}", container.state, image::shown(&container.image));
        }
    }
    for balancer in &status.balancers {
        let _ = writeln!(out, "  {balancer}");
    }
    for job in &status.jobs {
        let _ = writeln!(out, "  @  {}", job_text(job));
    }
    for scaling in &status.scaling {
        let _ = writeln!(out, "  #  {scaling}");
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

/// One disk on a line.
fn disk_text(disk: &DiskStatus) -> String {
    let (free, total) = (in_words(disk.free_bytes), in_words(disk.total_bytes));
    let images = if disk.images == 1 { "image" } else { "images" };
    format!("disk: {}% in use, {free} of {total} free, {} {images}", disk.used_percent, disk.images)
}

/// One job on a line.
fn job_text(job: &JobStatus) -> String {
    let time = |at: jiff::Timestamp| at.strftime("%F %H:%M UTC").to_string();
    let mut parts = vec![format!("{}/{}  {}", job.app, job.container, job.schedule)];
    for run in &job.running {
        parts.push(format!("that of {} runs on {}", time(run.due), run.hostname));
    }
    parts.extend(job.waits.iter().map(|waits| format!("waits for {waits}")));
    parts.extend(job.next.map(|next| format!("next {}", time(next))));
    if let Some(last) = &job.last {
        let code = last.exit_code.map_or_else(String::new, |code| format!(" (exit code {code})"));
        parts.push(format!("that of {} {}{code} on {}", time(last.due), last.outcome.word(), last.hostname));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        action::Outcome,
        status::{LastRun, RunStatus},
    };

    #[test]
    fn a_disk_tells_how_much_of_it_is_in_use() {
        let disk = DiskStatus { total_bytes: 118 << 30, free_bytes: 10 << 30, used_percent: 92, images: 7 };
        assert_eq!(disk_text(&disk), "disk: 92% in use, 10 GiB of 118 GiB free, 7 images");
    }

    #[test]
    fn a_job_tells_what_runs_what_waits_and_how_the_last_run_went() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        let job = JobStatus {
            app: "shop".into(),
            container: "clean".into(),
            schedule: "*/5 * * * * (UTC)".into(),
            next: Some(at("2026-01-05T12:10:00Z")),
            running: vec![RunStatus { due: at("2026-01-05T12:00:00Z"), hostname: "docker1".into() }],
            waits: Some("the run of 2026-01-05 12:00 UTC on docker1 to end".into()),
            last: Some(LastRun {
                due: at("2026-01-05T11:55:00Z"),
                hostname: "docker2".into(),
                outcome: Outcome::Failed,
                exit_code: Some(1),
                started: None,
                finished: at("2026-01-05T11:56:00Z"),
                words: "no space left".into(),
            }),
        };
        assert_eq!(
            job_text(&job),
            "shop/clean  */5 * * * * (UTC), that of 2026-01-05 12:00 UTC runs on docker1, waits for the run of \
             2026-01-05 12:00 UTC on docker1 to end, next 2026-01-05 12:10 UTC, that of 2026-01-05 11:55 UTC failed \
             (exit code 1) on docker2"
        );
    }
}
