//! Database instances of RDS: registered with a stack, with who signs in and the password.

use super::api::Api;
use crate::{
    action::Action,
    ports::Access,
    world::{Class, Trouble},
};

/// One that is registered with the stack already is left as it is: a call whose answer was lost did it, or somebody else.
pub(super) async fn tell(api: &Api<'_>, action: &Action, access: &Access) -> Result<(), Trouble> {
    let write = &api.clients.opsworks.write;
    let on = |rds: &str| format!("rds {rds}, stack {}", api.stack.name);
    match action {
        Action::RegisterDatabase { stack_id, rds } => {
            let on = on(rds);
            let arn = access.arn.as_str();
            let there = api.databases(stack_id).await?;
            if there.iter().any(|database| database.rds_db_instance_arn.as_deref() == Some(arn)) {
                return Ok(());
            }
            let request = write
                .register_rds_db_instance()
                .stack_id(stack_id)
                .rds_db_instance_arn(arn)
                .db_user(access.username.expose())
                .db_password(access.password.expose());
            let sent = request.send().await;
            sent.map(drop).map_err(|error| api.call("RegisterRdsDbInstance", &on).failed(&error))
        }
        Action::UpdateDatabase { rds, arn, .. } => {
            let on = on(rds);
            let request = write
                .update_rds_db_instance()
                .rds_db_instance_arn(arn)
                .db_user(access.username.expose())
                .db_password(access.password.expose());
            let sent = request.send().await;
            sent.map(drop).map_err(|error| api.call("UpdateRdsDbInstance", &on).failed(&error))
        }
        _ => Err(Trouble { class: Class::Terminal, message: format!("{action}: tells of no database") }),
    }
}
