//! Each stack's provider.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;

use super::{Aws, Ec2, OpsWorks};
use crate::{
    action::Action,
    ports::{Access, Cloud},
    spec::{Stack, stack::Provider},
    world::{Figures, Provided, Trouble},
};

/// OpsWorks or EC2, as each stack declares.
#[derive(Debug)]
pub struct Clouds {
    aws: Arc<Aws>,
    opsworks: OpsWorks,
    ec2: Ec2,
}

impl Clouds {
    /// Makes no call yet.
    pub fn new(aws: Arc<Aws>) -> Clouds {
        Clouds { opsworks: OpsWorks::new(aws.clone()), ec2: Ec2::new(aws.clone()), aws }
    }

    fn of(&self, stack: &Stack) -> &dyn Cloud {
        match stack.provider {
            Provider::Opsworks => &self.opsworks,
            Provider::Ec2 => &self.ec2,
        }
    }
}

#[async_trait]
impl Cloud for Clouds {
    async fn look(&self, stack: &Stack) -> Provided {
        self.of(stack).look(stack).await
    }

    async fn apply(&self, stack: &Stack, action: &Action) -> Result<(), Trouble> {
        self.of(stack).apply(stack, action).await
    }

    async fn tell_of_database(&self, stack: &Stack, action: &Action, access: &Access) -> Result<(), Trouble> {
        self.of(stack).tell_of_database(stack, action, access).await
    }

    async fn metered(&self, stack: &Stack, ec2_ids: &BTreeSet<String>) -> Result<BTreeMap<String, Figures>, Trouble> {
        self.aws.metered(stack, ec2_ids).await
    }

    fn calls(&self) -> BTreeMap<String, u64> {
        self.aws.calls()
    }
}
