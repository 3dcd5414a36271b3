//! What an instance has to do.

use std::time::{Duration, Instant};

use evenkeel::ports::Engines as _;

use super::{Corner, OBEDIENT, run};

#[tokio::test]
async fn an_engine_tells_how_busy_its_containers_are() {
    let corner = Corner::new("figures").await;
    corner.launch(&run("figures0", OBEDIENT)).await;
    let told = || async { corner.engines.figures(&corner.node, false).await.unwrap() };
    // With nothing to compare with, the engine measures by itself.
    let first = told().await;
    assert!(first.cpu.is_some_and(|cpu| (0.0..=100.0).contains(&cpu)), "{first:?}");
    assert!(first.memory.is_some_and(|memory| memory > 0.0 && memory < 100.0), "{first:?}");
    assert_eq!(first.load, None);

    let id = corner.launch(&run("figures1", "while true; do :; done")).await;
    let began = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // Whatever else is done on this machine, what goes round and round gets some part of it.
        let busy = told().await;
        if busy.cpu.is_some_and(|cpu| cpu > 5.0) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{busy:?}");
    }
    let with_load = corner.engines.figures(&corner.node, true).await.unwrap();
    assert!(with_load.load.is_some_and(|load| load > 0.0), "{with_load:?}");
    corner.stop_for_good(&id).await;
    corner.clear().await;
}
