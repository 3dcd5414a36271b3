//! Carries out one action. Decides nothing: each action has a deadline, and a precondition that is checked just
//! before.

use crate::{
    action::{Action, EngineAction, Guard},
    observe::Ports,
    ports::Progress,
    spec::{Stack, balancer::words},
    world::{Class, Seen, Target, Trouble},
};

/// Carries out one action.
///
/// # Errors
/// What went wrong. An action that did not answer within its deadline has an unknown outcome.
pub async fn apply(ports: &Ports, stack: &Stack, action: &Action, progress: &Progress) -> Result<(), Trouble> {
    let deadline = action.deadline();
    match tokio::time::timeout(deadline, carry_out(ports, stack, action, progress)).await {
        Ok(result) => result,
        Err(_) => Err(Trouble {
            class: Class::UnknownOutcome,
            message: format!("no answer within {}s; it is looked at again before anything else", deadline.as_secs()),
        }),
    }
}

async fn carry_out(ports: &Ports, stack: &Stack, action: &Action, progress: &Progress) -> Result<(), Trouble> {
    match action {
        Action::Register { .. } | Action::Deregister { .. } | Action::Owned { .. } => {
            ports.balancers.apply(stack, action).await
        }
        Action::Engine { node, what } => {
            if let EngineAction::Stop { name, guard: Some(guard), .. } = what {
                still_out(ports, stack, guard, &format!("{}/{name}", node.hostname)).await?;
            }
            ports.engines.apply(node, what, progress).await
        }
        _ => ports.cloud.apply(stack, action).await,
    }
}

/// The precondition of stopping what serves: no balancer sends the instance requests.
async fn still_out(ports: &Ports, stack: &Stack, guard: &Guard, subject: &str) -> Result<(), Trouble> {
    for name in &guard.balancers {
        let trouble = match ports.balancers.target(stack, name, &guard.ec2_id).await {
            Seen::Known(None) => continue,
            Seen::Known(Some(Target::InService)) => format!("{} sends it requests again", words(name)),
            Seen::Known(Some(Target::OutOfService(why))) => {
                format!("it is registered with {} again ({why})", words(name))
            }
            Seen::Known(Some(Target::Draining)) => format!("{} still drains it", words(name)),
            Seen::Unknown(trouble) => trouble.message,
        };
        return Err(Trouble { class: Class::Transient, message: format!("{subject} was not stopped: {trouble}") });
    }
    Ok(())
}
