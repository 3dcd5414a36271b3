//! OpsWorks Stacks as the provider of instances.

mod api;
mod apply;
mod databases;
mod look;
mod mark;
mod request;
mod scaling;
mod seen;

use std::sync::Arc;

use async_trait::async_trait;

use super::Aws;
use crate::{
    action::Action,
    ports::{Access, Cloud},
    spec::Stack,
    world::{Provided, Trouble},
};

use api::Api;

/// OpsWorks Stacks, in every region.
#[derive(Debug, Clone)]
pub struct OpsWorks {
    aws: Arc<Aws>,
}

impl OpsWorks {
    /// Makes no call yet.
    pub fn new(aws: Arc<Aws>) -> OpsWorks {
        OpsWorks { aws }
    }

    async fn api<'a>(&self, stack: &'a Stack) -> Api<'a> {
        Api { clients: self.aws.clients(stack).await, stack }
    }
}

#[async_trait]
impl Cloud for OpsWorks {
    async fn look(&self, stack: &Stack) -> Provided {
        look::look(&self.api(stack).await).await
    }

    async fn apply(&self, stack: &Stack, action: &Action) -> Result<(), Trouble> {
        apply::apply(&self.api(stack).await, action).await
    }

    async fn tell_of_database(&self, stack: &Stack, action: &Action, access: &Access) -> Result<(), Trouble> {
        databases::tell(&self.api(stack).await, action, access).await
    }
}
