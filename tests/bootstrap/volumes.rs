//! Volumes: a file system is made once, nothing is ever lost, and it grows.

use std::{fs, path::Path, thread, time::Duration};

use crate::{
    impatient,
    machine::{Disk, Machine, run},
    script,
};

const DATA: &str = "/var/lib/docker";

/// The smallest that `mkfs.xfs` takes is 300 MiB.
const SIZE: u64 = 512;

/// A machine whose AMI can make one kind of file system only.
fn machine_with(kind: &str) -> Machine {
    let there = |tool: &str| Path::new("/usr/sbin").join(tool).exists();
    assert!(there("mkfs.xfs") && there("mkfs.ext4"), "these tests need xfsprogs and e2fsprogs: apt-get install them");
    let mut machine = Machine::new();
    if kind == "ext4" {
        machine.lacks("mkfs.xfs");
    }
    machine
}

#[test]
fn an_empty_volume_gets_a_file_system_once_and_keeps_what_is_on_it() {
    for (kind, label, options) in
        [("xfs", "var-lib-dock", "defaults,nofail"), ("ext4", "var-lib-docker", "defaults,nofail,noinit_itable")]
    {
        let disk = Disk::new(SIZE);
        let mut machine = machine_with(kind);
        machine.attach("xvdf", &disk);
        let script = script(&[DATA]);
        let twice = machine.run(
            &script,
            "user_data && findmnt -no FSTYPE /var/lib/docker && echo precious >/var/lib/docker/data && user_data",
        );
        assert_eq!(twice.code, Some(0), "{}{}{}", twice.stdout, twice.stderr, machine.log());
        assert!(twice.stdout.contains(&format!("\n{kind}\n")), "{}", twice.stdout);
        let tag = |name: &str| run("blkid", &["-p", "-s", name, "-o", "value", disk.path().to_str().unwrap()]);
        assert_eq!(tag("LABEL").trim(), label);
        let uuid = tag("UUID");

        // Another instance takes the volume over.
        let mut successor = Machine::new();
        successor.attach("xvdf", &disk);
        let ran = successor.run(&script, "user_data >/dev/null && cat /var/lib/docker/data");
        assert_eq!(ran.stdout, "precious\n", "{}", successor.log());
        for machine in [machine, successor] {
            let line = format!("UUID={} /var/lib/docker {kind} {options} 0 2\n", uuid.trim());
            assert_eq!(machine.read("etc/fstab"), line);
        }
    }
}

#[test]
fn a_volume_with_anything_else_on_it_is_refused_and_left_as_it_is() {
    let mut partitions = vec![0; 512];
    partitions[446..462].copy_from_slice(&[0, 0, 2, 0, 0x83, 0, 8, 0, 0, 8, 0, 0, 0, 0x40, 0, 0]);
    partitions[510..].copy_from_slice(&[0x55, 0xAA]);
    let mut lvm = [0; 512];
    lvm[..9].copy_from_slice(b"LABELONE\x01");
    lvm[20..32].copy_from_slice(b"\x20\0\0\0LVM2 001");
    lvm[32..64].copy_from_slice(b"abcdefghijklmnopqrstuvwxyz012345");
    let sum = lvm_checksum(&lvm[20..]);
    lvm[16..20].copy_from_slice(&sum.to_le_bytes());
    let mut swap = vec![0; 4096];
    swap[1024] = 1;
    swap[1028] = 0xFF;
    swap[4086..].copy_from_slice(b"SWAPSPACE2");
    for (what, offset, bytes, expected) in [
        ("unknown", 1 << 16, b"accounts of 1998".to_vec(), "not blank"),
        ("unknown, at its end", (64 << 20) - 16, b"accounts of 1998".to_vec(), "not blank"),
        ("partitions", 0, partitions, "PTTYPE=dos"),
        ("LVM", 512, lvm.to_vec(), "LVM2_member"),
        ("swap", 0, swap, "TYPE=swap"),
    ] {
        let disk = Disk::new(64);
        disk.write(offset, &bytes);
        let before = run("sha256sum", &[disk.path().to_str().unwrap()]);
        let mut machine = Machine::new();
        machine.attach("xvdf", &disk);
        let said = machine.fails(&script(&[DATA]), "volumes");
        assert!(said.contains(expected) && said.contains("/dev/xvdf for /var/lib/docker"), "{what}: {said}");
        assert!(said.contains("left as it is"), "{what}: {said}");
        assert_eq!(run("sha256sum", &[disk.path().to_str().unwrap()]), before, "{what}");
        assert_eq!(machine.read("etc/fstab"), "", "{what}");
    }
}

#[test]
fn a_volume_that_cannot_be_probed_is_not_taken_for_an_empty_one() {
    let disk = Disk::new(64);
    let mut machine = Machine::new();
    machine.attach("xvdf", &disk);
    machine.put("local/bin/blkid", "#!/bin/bash\nexit 4\n");
    let before = run("sha256sum", &[disk.path().to_str().unwrap()]);
    machine.run(&script(&[DATA]), "chmod +x /usr/local/bin/blkid; user_data");
    let said = machine.log();
    assert!(said.contains("exit code 4") && said.contains("left as it is"), "{said}");
    assert_eq!(run("sha256sum", &[disk.path().to_str().unwrap()]), before);
}

#[test]
fn a_volume_is_not_mounted_over_what_is_there_already() {
    let disk = Disk::new(64);
    let mut machine = Machine::new();
    machine.attach("xvdf", &disk);
    machine.put("var/lib/docker/engine-id", "it has run");
    let said = machine.fails(&script(&[DATA]), "volumes");
    assert!(said.contains("/var/lib/docker is not empty"), "{said}");
    assert!(said.contains("systemctl disable docker"), "{said}");
}

#[test]
fn a_volume_that_is_attached_later_is_waited_for() {
    let disk = Disk::new(SIZE);
    let machine = Machine::new();
    let node = machine.node("/dev/xvdf", &disk).replacen(' ', " b ", 1);
    machine.put("run/meanwhile", &format!("mknod {node}"));
    let ran = machine.boot(&script(&[DATA]));
    assert_eq!(ran.code, Some(0), "{}", machine.log());
    assert!(ran.stdout.contains("evenkeel: waiting: /dev/sdf for /var/lib/docker to be attached\n"), "{}", ran.stdout);

    let machine = Machine::new();
    let said = machine.fails(&impatient(&script(&[DATA])), "volumes");
    assert!(said.contains("gave up after 0 s: /dev/sdf for /var/lib/docker to be attached"), "{said}");
}

#[test]
fn an_nvme_volume_is_found_by_the_name_its_controller_tells() {
    let (data, other) = (Disk::new(SIZE), Disk::new(SIZE));
    let mut machine = Machine::new();
    machine.attach("nvme0n1", &other);
    machine.attach("nvme1n1", &other);
    machine.attach("nvme2n1", &data);
    let ebs = "Amazon Elastic Block Store";
    machine.put(
        "run/nvme.json",
        &format!(
            r#"{{"nvme0n1": ["Amazon EC2 NVMe Instance Storage", "sdf"], "nvme1n1": ["{ebs}", "/dev/sdg"], "nvme2n1": ["{ebs}", "sdf"]}}"#
        ),
    );
    let ran = machine.run(&script(&[DATA]), "user_data && findmnt -no SOURCE /var/lib/docker");
    assert!(ran.stdout.ends_with("\n/dev/nvme2n1\n"), "{}{}", ran.stdout, machine.log());
}

#[test]
fn several_volumes_are_mounted_one_in_the_other_and_whatever_their_names() {
    let (outer, inner) = (Disk::new(SIZE), Disk::new(SIZE));
    let mut machine = Machine::new();
    machine.attach("xvdf", &inner);
    machine.attach("xvdg", &outer);
    let script = script(&["/var/srv of/50%/it's", "/var/srv of"]);
    let ran = machine.run(&script, "user_data && findmnt -rno SOURCE -M \"/var/srv of/50%/it's\"");
    assert_eq!(ran.code, Some(0), "{}{}", ran.stderr, machine.log());
    assert!(ran.stdout.ends_with("\n/dev/xvdf\n"), "{}", ran.stdout);
    assert!(machine.read("etc/fstab").contains(" /var/srv\\040of/50%/it's xfs "));
    let unit = machine.read("etc/systemd/system/docker.service.d/evenkeel.conf");
    assert!(unit.contains("RequiresMountsFor=\"/var/srv of/50%%/it's\"\n"), "{unit}");
}

#[test]
fn a_volume_that_has_grown_gets_a_larger_file_system_while_it_is_in_use() {
    for kind in ["xfs", "ext4"] {
        let disk = Disk::new(SIZE);
        let mut machine = machine_with(kind);
        machine.attach("xvdf", &disk);
        machine.joins(&script(&[DATA]));
        assert!(machine.calls().contains("systemctl enable --now evenkeel-grow.service\n"));
        assert!(machine.read("etc/systemd/system/evenkeel-grow.service").contains("Restart=always"));

        machine.environment("SIZE", &(SIZE << 20).to_string());
        let ran = thread::scope(|scope| {
            let inside = scope.spawn(|| machine.run("", IN_USE));
            while !machine.exists("run/begun") && !inside.is_finished() {
                thread::sleep(Duration::from_millis(20));
            }
            disk.grow(2 * SIZE);
            inside.join().expect("it ran")
        });
        if kind == "ext4" && !may_resize_ext4() {
            println!("of note: the kernel lets nobody here resize ext4 in use, so that was not tried");
            assert!(ran.stderr.contains("Permission denied to resize filesystem"), "{}", ran.stderr);
            continue;
        }
        assert!(ran.stdout.ends_with("larger\n"), "{kind}: {}{}", ran.stdout, ran.stderr);
    }
}

/// Waits until the file system is larger than the device was at first, while `evenkeel-grow` runs.
const IN_USE: &str = "\
    mount /dev/xvdf /var/lib/docker
    echo open >/var/lib/docker/file
    evenkeel-grow &
    /bin/sleep 0.5
    exec 5</var/lib/docker/file
    touch /run/begun
    for _ in {1..100}; do
        if (($(stat -f -c '%b * %S' /var/lib/docker) > SIZE)); then
            echo larger
            break
        fi
        /bin/sleep 0.1
    done
    kill %1";

/// Growing ext4 in use needs CAP_SYS_RESOURCE, which root may lack in a container.
fn may_resize_ext4() -> bool {
    let status = fs::read_to_string("/proc/self/status").expect("proc");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).expect("capabilities");
    u64::from_str_radix(effective, 16).expect("a number") >> 24 & 1 == 1
}

/// LVM's CRC-32, with which libblkid tells a label from a coincidence.
fn lvm_checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0xF597_A6CF, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xEDB8_8320 } else { sum >> 1 })
    })
}
