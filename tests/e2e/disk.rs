//! Disks that fill: real volumes of 1 GiB, filled for real; old images make way, and what does not fit is not pulled.

use std::{
    fs,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    controller::Status,
    ec2,
    fleet::{Fleet, beside_others, until},
    ground::{Instance, SHARED, run},
    load::Load,
    manifest::DISK,
    place::Place,
};

/// What no pull may take, in MiB.
const RESERVE: u64 = 100;
/// How the filler of a disk is called.
const FILLER: &str = "/var/lib/docker/filler";

/// Pushes a web server that carries so many MiB which nothing can press together: the same ones on every run, so that the
/// registry does not grow with each. The tag is the stack's own, for an image that another test pushes has another digest.
fn push(stack: &str, tag: &str, mib: usize) {
    let registry = std::env::var("EVENKEEL_TESTBED_REGISTRY").unwrap_or_else(|_| "127.0.0.1:5000".into());
    let dir = tempfile::tempdir().unwrap();
    let mut state = 0x9E37_79B9_7F4A_7C15 ^ tag.bytes().fold(0, |sum, byte| (sum << 8) | u64::from(byte));
    let mut next = || {
        // Xorshift: noise enough for a compressor.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let ballast: Vec<u8> = (0..(mib << 20) / 8).flat_map(|_| next()).collect();
    let mut file = fs::File::create(dir.path().join("ballast")).unwrap();
    file.write_all(&ballast).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    fs::write(dir.path().join("Dockerfile"), "FROM shop/web:1.0\nCOPY ballast /ballast\n").unwrap();
    let image = format!("{registry}/shop/large:{stack}-{tag}");
    run("docker", &["build", "-q", "--no-cache", "-t", &image, dir.path().to_str().unwrap()]);
    run("docker", &["push", "-q", &image]);
    run("docker", &["image", "rm", "-f", &image]);
}

/// Free and in all, in bytes, of the disk under the instance's engine: as the instance itself tells.
fn disk(instance: &Instance) -> (u64, u64) {
    let told = instance.run(&["df", "-Pk", "/var/lib/docker"]);
    let columns: Vec<&str> = told.lines().last().unwrap().split_whitespace().collect();
    let number = |at: usize| columns[at].parse::<u64>().unwrap() << 10;
    (number(3), number(2) + number(3))
}

/// Takes up everything but so many MiB.
fn leave(instance: &Instance, mib: u64) {
    instance.run(&["rm", "-f", FILLER]);
    let fill = disk(instance).0 - (mib << 20);
    instance.run(&["fallocate", "-l", &fill.to_string(), FILLER]);
}

/// The tags of the images that carry ballast, by what is left of them on the engine: the digests.
fn images(instance: &Instance) -> Vec<String> {
    let told = instance.docker(&["image", "ls", "--no-trunc", "--digests", "--format", "{{.Repository}} {{.Digest}}"]);
    let large = told.lines().filter(|line| line.contains("/shop/large "));
    let mut digests: Vec<String> = large.map(|line| line.split_whitespace().last().unwrap().to_owned()).collect();
    digests.sort();
    digests
}

fn web(instance: &Instance) -> (String, String) {
    let web = instance.containers()["web0"].clone();
    (web.id, web.digest)
}

/// The least that was ever free on an instance, in bytes, as long as this is watched.
struct Watch(Arc<AtomicBool>, Arc<AtomicU64>, std::thread::JoinHandle<()>);

impl Watch {
    fn on(instance: &Instance) -> Watch {
        let (over, least) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(u64::MAX)));
        let thread = std::thread::spawn({
            let (over, least, instance) = (over.clone(), least.clone(), instance.clone());
            move || {
                while !over.load(Ordering::Relaxed) {
                    least.fetch_min(disk(&instance).0, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        });
        Watch(over, least, thread)
    }

    fn end(self) -> u64 {
        self.0.store(true, Ordering::Relaxed);
        self.2.join().unwrap();
        self.1.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_opsworks_a_full_disk_is_made_room_on_or_left_alone_and_what_runs_serves_on() {
    let _turn = beside_others().await;
    let small = ("      docker:", "      volumes: [{mountPoint: /var/lib/docker, size: 1GiB}]\n      docker:");
    a_disk_fills(&Fleet::new("fills", "ap-south-2"), small).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_ec2_a_full_disk_is_made_room_on_or_left_alone_and_what_runs_serves_on() {
    let _turn = beside_others().await;
    a_disk_fills(&ec2::fleet::Fleet::new("ec2fills", SHARED), ("size: 120GiB", "size: 1GiB")).await;
}

/// `small` is the edit that puts a volume of 1 GiB under the engines.
async fn a_disk_fills<P: Place>(place: &P, small: (&str, &str)) {
    let name = place.name();
    for (tag, mib) in [("1", 30), ("2", 30), ("3", 30), ("4", 80)] {
        push(name, tag, mib);
    }
    let text = |tag: &str, warn_at: &str| {
        let disk = format!("port: 2376, disk: {{reserve: {RESERVE}MiB, warnAt: {warn_at}}}");
        let text =
            place.text(&place.manifest(2).image(&format!("large:{name}-{tag}"))).replace(&format!(", {DISK}"), "");
        assert!(text.contains(small.0) && text.contains("port: 2376"), "{text}");
        text.replace(small.0, small.1).replace("port: 2376", &disk)
    };
    let revision = place.commit(&text("1", "100%"));
    let mut controller = place.start(&[]);
    controller.until_converged(name, &revision, P::LIMIT + 90).await;
    let is_told = |status: &Status| status.0["instances"].as_array().unwrap().iter().all(|one| one["disk"].is_object());
    let status = controller.until(name, "told how full its disks are", 10, is_told).await;
    let hosts: Vec<Instance> = place.instances().into_values().collect();
    let first = images(&hosts[0]);
    assert_eq!((hosts.len(), first.len()), (2, 1));

    // What a container tells of its own root is what the instance tells of the volume.
    for (instance, seen) in hosts.iter().zip(status.0["instances"].as_array().unwrap()) {
        let told = |key: &str| seen["disk"][key].as_u64().unwrap_or_else(|| panic!("{key}: {seen:#}"));
        let (free, total) = disk(instance);
        assert!(total > 800 << 20 && total < 1 << 30, "{total}");
        assert!(told("totalBytes").abs_diff(total) < 1 << 20, "{seen:#}: {total}");
        assert!(told("freeBytes").abs_diff(free) < 30 << 20, "{seen:#}: {free}");
        assert_eq!(told("images"), 1);
    }

    // Room enough: the image of before stays, to be gone back to.
    let load = Load::on(&place.address());
    let revision = place.commit(&text("2", "100%"));
    controller.until_converged(name, &revision, 120).await;
    for instance in &hosts {
        assert!(images(instance).contains(&first[0]) && images(instance).len() == 2, "{:?}", images(instance));
    }

    // Too little: what is oldest makes way.
    hosts.iter().for_each(|instance| leave(instance, RESERVE + 70));
    let second = web(&hosts[0]).1;
    let revision = place.commit(&text("3", "100%"));
    controller.until_converged(name, &revision, 120).await;
    for instance in &hosts {
        let there = images(instance);
        assert!(!there.contains(&first[0]) && there.contains(&second) && there.len() == 2, "{there:?}");
    }

    // Too little even so: the pull is given up before it fills the disk, and nothing is touched.
    hosts.iter().for_each(|instance| leave(instance, RESERVE + 100));
    let before: Vec<(String, String)> = hosts.iter().map(web).collect();
    let watches: Vec<Watch> = hosts.iter().map(Watch::on).collect();
    place.commit(&text("4", "100%"));
    let told = |status: &Status| status.conditions("NoRoom").len() == 2 && status.phase() == "Blocked";
    let status = controller.until(name, "told that there is no room", 120, told).await;
    for said in status.conditions("NoRoom") {
        let no_room = format!("no room for registry.example.com/shop/large:{name}-4");
        for part in [&no_room, "was given up", "(now 1GiB)", "What runs goes on"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    for watch in watches {
        let least = watch.end();
        assert!(least > (RESERVE - 20) << 20, "{} MiB were free at the worst", least >> 20);
    }
    assert_eq!(hosts.iter().map(web).collect::<Vec<_>>(), before);
    place.assert_in_service(2);
    for instance in &hosts {
        // The engine keeps nothing of what was given up; the image of before has made way for it.
        assert_eq!(images(instance), [before[0].1.clone()]);
        until("the engine has cleared away", 30, || disk(instance).0 > (RESERVE + 95) << 20).await;
    }

    // As soon as there is room, it goes on: here because less is to be kept.
    hosts.iter().for_each(|instance| drop(instance.run(&["rm", "-f", FILLER])));
    let revision = place.commit(&text("4", "99%"));
    let status = controller.until_converged(name, &revision, 120).await;
    assert!(status.conditions("NoRoom").is_empty(), "{:?}", status.all_conditions());
    for (instance, (_, digest)) in hosts.iter().zip(&before) {
        assert_ne!(web(instance).1, *digest);
    }
    load.end().await.assert_none_lost(600);
}
