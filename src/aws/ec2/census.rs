//! What EC2 is asked on behalf of every stack of one account and region: one paged request a kind and tick.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_sdk_ec2::types;
use tokio::time::Instant;

use super::{api::Api, console::Consoles};
use crate::{
    aws::flight::{Flight, TICK},
    world::Trouble,
};

/// Images and the parameters that name them change seldom.
const SELDOM: Duration = Duration::from_secs(60);
/// After so long, what a stack asked for is not asked for any more on its behalf.
const GONE: Duration = Duration::from_secs(600);

/// See the module.
#[derive(Debug)]
pub(super) struct Census {
    pub api: Api,
    pub consoles: Consoles,
    instances: Flight<Vec<types::Instance>>,
    statuses: Flight<BTreeMap<String, types::InstanceStatus>>,
    volumes: Flight<Vec<types::Volume>>,
    modifications: Flight<BTreeMap<String, String>>,
    subnets: Flight<Told<types::Subnet>>,
    images: Flight<Told<types::Image>>,
    parameters: Flight<Told<Result<String, Trouble>>>,
    subnets_wanted: Wanted,
    images_wanted: Wanted,
    parameters_wanted: Wanted,
}

/// What was asked for by name, and what of it there is.
#[derive(Debug)]
pub(super) struct Told<T> {
    asked: BTreeSet<String>,
    pub found: BTreeMap<String, T>,
}

/// What each stack asks for by name, and when it did last.
type Wanted = Mutex<BTreeMap<String, (Instant, BTreeSet<String>)>>;

impl Census {
    pub(super) fn new(api: Api) -> Census {
        Census {
            api,
            consoles: Consoles::default(),
            instances: Flight::default(),
            statuses: Flight::default(),
            volumes: Flight::default(),
            modifications: Flight::default(),
            subnets: Flight::default(),
            images: Flight::default(),
            parameters: Flight::default(),
            subnets_wanted: Wanted::default(),
            images_wanted: Wanted::default(),
            parameters_wanted: Wanted::default(),
        }
    }

    /// Whatever a mutation may have changed is asked for again by whoever looks after it.
    pub(super) fn outdated_at_the_end(&self) -> Outdated<'_> {
        Outdated(self)
    }

    pub(super) async fn instances(&self) -> Result<Arc<Vec<types::Instance>>, Trouble> {
        self.instances.share(TICK, |_| true, || self.api.all_instances()).await
    }

    /// By instance id.
    pub(super) async fn statuses(&self) -> Result<Arc<BTreeMap<String, types::InstanceStatus>>, Trouble> {
        let ask = || async {
            let all = self.api.all_statuses().await?.into_iter();
            Ok(all.filter_map(|status| Some((status.instance_id.clone()?, status))).collect())
        };
        self.statuses.share(TICK, |_| true, ask).await
    }

    pub(super) async fn volumes(&self) -> Result<Arc<Vec<types::Volume>>, Trouble> {
        self.volumes.share(TICK, |_| true, || self.api.all_volumes()).await
    }

    /// The state of those that are under way, by volume id.
    pub(super) async fn modifications(&self) -> Result<Arc<BTreeMap<String, String>>, Trouble> {
        let ask = || async {
            let all = self.api.all_modifications().await?.into_iter();
            Ok(all.filter_map(|one| Some((one.volume_id?, one.modification_state?.as_str().to_owned()))).collect())
        };
        self.modifications.share(TICK, |_| true, ask).await
    }

    pub(super) async fn subnets(
        &self,
        stack: &str,
        ids: BTreeSet<String>,
    ) -> Result<Arc<Told<types::Subnet>>, Trouble> {
        let ask = |ids: BTreeSet<String>| async move {
            let found = self.api.subnets(&ids).await?;
            Ok(told(ids, found, |subnet| subnet.subnet_id.clone()))
        };
        by_name(&self.subnets, TICK, &self.subnets_wanted, stack, ids, ask).await
    }

    pub(super) async fn images(&self, stack: &str, ids: BTreeSet<String>) -> Result<Arc<Told<types::Image>>, Trouble> {
        let ask = |ids: BTreeSet<String>| async move {
            let found = self.api.images(&ids).await?;
            Ok(told(ids, found, |image| image.image_id.clone()))
        };
        by_name(&self.images, SELDOM, &self.images_wanted, stack, ids, ask).await
    }

    pub(super) async fn parameters(
        &self,
        stack: &str,
        names: BTreeSet<String>,
    ) -> Result<Arc<Told<Result<String, Trouble>>>, Trouble> {
        let ask = |names: BTreeSet<String>| async move {
            let found = self.api.parameters(&names).await?;
            Ok(Told { asked: names, found: found.into_iter().collect() })
        };
        by_name(&self.parameters, SELDOM, &self.parameters_wanted, stack, names, ask).await
    }
}

fn told<T>(asked: BTreeSet<String>, found: Vec<T>, name: impl Fn(&T) -> Option<String>) -> Told<T> {
    Told { asked, found: found.into_iter().filter_map(|one| Some((name(&one)?, one))).collect() }
}

/// Asks for what every stack wants at once; nothing is asked for nothing.
async fn by_name<T, F>(
    flight: &Flight<Told<T>>,
    age: Duration,
    wanted: &Wanted,
    stack: &str,
    names: BTreeSet<String>,
    ask: impl FnOnce(BTreeSet<String>) -> F,
) -> Result<Arc<Told<T>>, Trouble>
where
    F: Future<Output = Result<Told<T>, Trouble>>,
{
    let lock = || -> MutexGuard<'_, _> { wanted.lock().unwrap_or_else(PoisonError::into_inner) };
    lock().insert(stack.to_owned(), (Instant::now(), names.clone()));
    if names.is_empty() {
        return Ok(Arc::new(Told { asked: names, found: BTreeMap::new() }));
    }
    let everybodys = || {
        let mut wanted = lock();
        wanted.retain(|_, (at, _)| at.elapsed() < GONE);
        wanted.values().flat_map(|(_, names)| names.iter().cloned()).collect()
    };
    flight.share(age, |told| names.is_subset(&told.asked), || ask(everybodys())).await
}

/// Outdates the census when it is dropped.
pub(super) struct Outdated<'a>(&'a Census);

impl Drop for Outdated<'_> {
    fn drop(&mut self) {
        let census = self.0;
        census.instances.outdate();
        census.statuses.outdate();
        census.volumes.outdate();
        census.modifications.outdate();
        census.subnets.outdate();
    }
}
