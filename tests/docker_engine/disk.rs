//! Images that go or stay, and how full the disk under them is.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};

use evenkeel::{
    action::{EngineAction, Run},
    ports::{Engines as _, Given, Progress, Room},
    spec::image::{familiar, pinned},
    world::{Class, Engine, Seen},
};

use super::{Corner, OBEDIENT, ground::GROUND, image, run};

/// The names of an image as its engine lists it, by one of them; nothing when no image has it.
fn names(engine: &Engine, name: &str) -> Option<Vec<String>> {
    let found = engine.stored.values().find(|image| image.names.contains(&familiar(name)))?;
    assert!(found.size > 0, "{found:?}");
    Some(found.names.iter().cloned().collect())
}

#[tokio::test]
async fn an_image_goes_once_nothing_needs_it_and_one_that_somebody_named_stays() {
    let corner = Corner::new("image").await;
    if !image().contains("/shop/busybox:") {
        eprintln!("the engine that is named has one image to pull, which the other tests need");
        return;
    }
    let tagged = image().replace("/busybox:", "/static:");
    let told = corner.engines.digest(&corner.node, &tagged, None).await.expect("the engine answers");
    let Seen::Known(digest) = told else { panic!("{told:?}") };
    let fixed = pinned(&tagged, &digest);
    let remove = || corner.apply(EngineAction::RemoveImage { image: fixed.clone() });

    corner.apply(EngineAction::Pull { image: fixed.clone() }).await.unwrap();
    assert_eq!(names(&corner.see().await, &fixed), Some(vec![familiar(&fixed)]));
    corner.create(&Run { image: fixed.clone(), ..run("image0", OBEDIENT) }).await.unwrap();
    let refused = remove().await.unwrap_err();
    assert_eq!(refused.class, Class::Transient);
    assert!(refused.message.contains("cannot remove the image") && refused.message.contains("docker1"), "{refused:?}");
    assert!(names(&corner.see().await, &fixed).is_some());

    corner.clear().await;
    corner.docker(&["tag", &familiar(&fixed), "mine:1"]);
    remove().await.unwrap();
    assert_eq!(names(&corner.see().await, "mine:1"), Some(vec!["mine:1".to_owned()]));
    corner.docker(&["image", "rm", "mine:1"]);

    corner.apply(EngineAction::Pull { image: fixed.clone() }).await.unwrap();
    remove().await.unwrap();
    remove().await.unwrap();
    assert_eq!(names(&corner.see().await, &fixed), None);
}

#[tokio::test]
async fn a_container_tells_how_full_the_disk_is_and_a_pull_that_leaves_too_little_is_given_up() {
    let corner = Corner::new("full").await;
    corner.launch(&run("full0", OBEDIENT)).await;
    let disk = corner.engines.disk(&corner.node).await.expect("BusyBox has df");
    assert!(disk.free > 0 && disk.total > disk.free, "{disk:?}");

    if image().contains("/shop/busybox:") {
        // A registry that takes the connection and says nothing: the engine would wait for long.
        let silent = TcpListener::bind("0.0.0.0:0").unwrap();
        let gateway = GROUND.endpoint_of_instances().replace("http://", "");
        let host = format!("{}:{}", gateway.split(':').next().unwrap(), silent.local_addr().unwrap().port());
        let pull = EngineAction::Pull { image: format!("{host}/app:1") };
        let room = Room { free: u64::MAX, reserve: disk.total };
        let given = Given { room: Some(room), ..Given::default() };
        let progress: Progress = Arc::new(|_| {});
        let begun = Instant::now();
        let trouble = corner.engines.apply(&corner.node, &pull, &given, &progress).await.unwrap_err();
        assert_eq!(trouble.class, Class::NoRoom, "{trouble:?}");
        assert!(trouble.message.contains("was given up: it left"), "{trouble:?}");
        assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
    }
    corner.clear().await;
    let wanted = BTreeSet::from([image()]);
    assert!(corner.engines.look(&corner.node, &wanted).await.known().is_some(), "the engine goes on");
}
