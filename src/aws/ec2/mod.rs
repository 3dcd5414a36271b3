//! EC2 itself as the provider of instances.

mod api;
mod apply;
mod census;
mod console;
mod desk;
mod image;
mod launch;
mod look;
mod seen;
mod volume;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use super::{Aws, place::Place};
use crate::{
    action::Action,
    ports::Cloud,
    spec::Stack,
    world::{Provided, Trouble},
};

use api::Api;
use census::Census;

/// EC2, in every region and account. One for all stacks: those of one account and region share what it is asked.
#[derive(Debug)]
pub struct Ec2 {
    aws: Arc<Aws>,
    places: Mutex<BTreeMap<Place, Arc<Census>>>,
}

impl Ec2 {
    /// Makes no call yet.
    pub fn new(aws: Arc<Aws>) -> Ec2 {
        Ec2 { aws, places: Mutex::default() }
    }

    async fn census(&self, stack: &Stack) -> Arc<Census> {
        let place = Place::from(stack);
        let clients = self.aws.clients(place.clone()).await;
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let made = || Arc::new(Census::new(Api { clients, region: stack.region.clone() }));
        places.entry(place).or_insert_with(made).clone()
    }
}

#[async_trait]
impl Cloud for Ec2 {
    async fn look(&self, stack: &Stack) -> Provided {
        look::look(&*self.census(stack).await, stack).await
    }

    async fn apply(&self, stack: &Stack, action: &Action) -> Result<(), Trouble> {
        let census = self.census(stack).await;
        // Also when it is given up half-way: it may have happened.
        let _outdated = census.outdated_at_the_end();
        apply::apply(&census.api, stack, action).await
    }

    fn calls(&self) -> BTreeMap<String, u64> {
        self.aws.calls()
    }
}

#[cfg(test)]
mod tests;
