use std::sync::Arc;

use super::super::decode;
use crate::spec::{
    File, Options,
    options::{Device, Resources, Restart, Ulimit},
};

/// The options of a container with these lines, and what is wrong with them, without places.
fn read(lines: &str) -> (Options, Vec<String>) {
    let lines: String = lines.lines().map(|line| format!("      {line}\n")).collect();
    let text = format!(
        "apiVersion: evenkeel/v1\nkind: App\nmetadata: {{name: a}}\nspec:\n  stack: s\n  layer: l\n  containers:\n    - name: x\n      image: x\n{lines}"
    );
    let (documents, problems) = decode(vec![File::new("f", text)]);
    let options = documents.apps[0].value.containers[0].options.clone();
    let told = problems.iter().map(ToString::to_string);
    (options, told.map(|problem| problem.splitn(4, ':').nth(3).unwrap().trim().to_owned()).collect())
}

fn good(lines: &str) -> Options {
    let (options, problems) = read(lines);
    assert_eq!(problems, Vec::<String>::new(), "{lines}");
    options
}

/// The only problem of these lines.
fn wrong(lines: &str) -> String {
    let problems = read(lines).1;
    assert_eq!(problems.len(), 1, "{lines}: {problems:#?}");
    problems[0].clone()
}

#[test]
fn a_container_without_options_has_none() {
    assert!(good("replicas: 1").is_empty());
    assert_eq!(serde_json::to_string(&Options::default()).unwrap(), "{}", "nothing of it may be in a hash");
}

#[test]
fn resources_take_units_and_keep_docker_s_limits() {
    let resources = "resources: {memory: 512MiB, memoryReservation: 256m, cpus: 1.5, cpuShares: 512, pids: 100}";
    let mib = 1024 * 1024;
    assert_eq!(
        good(resources).resources,
        Resources {
            memory: Some(512 * mib),
            memory_reservation: Some(256 * mib),
            nano_cpus: Some(1_500_000_000),
            cpu_shares: Some(512),
            pids: Some(100),
        }
    );
    assert_eq!(good("resources: {cpus: 2}").resources.nano_cpus, Some(2_000_000_000));
    assert_eq!(good("resources: {cpus: 0.01}").resources.nano_cpus, Some(10_000_000));
    for (key, said) in [
        ("memory: 10", "a size needs a unit: write `10MiB`"),
        ("memory: 5MiB", "5242880 bytes are too few for a container: Docker's minimum is 6MiB"),
        ("memory: 512MB", "write `512MiB`"),
        ("memory: 64m, memoryReservation: 65m", "it is more than `memory`"),
        ("cpus: 0", "0.01 to 4096 CPUs"),
        ("cpus: 0.009", "0.01 to 4096 CPUs"),
        ("cpus: -1", "a number of CPUs like `0.5`, found `-1`"),
        ("cpus: 1e3", "a number of CPUs like `0.5`, found `1e3`"),
        ("cpus: 99999999999999999999", "0.01 to 4096 CPUs"),
        ("cpus: \"0.\"", "a number of CPUs"),
        ("cpuShares: 1", "2 to 262144 are allowed"),
        ("pids: 0", "1 to 4194304 are allowed"),
        ("pids: -1", "1 to 4194304 are allowed"),
        ("cpu: 1", "unknown key `cpu` (did you mean `cpus`?)"),
    ] {
        let told = wrong(&format!("resources: {{{key}}}"));
        assert!(told.contains(said), "{key}: {told}");
    }
    assert!(wrong("resources: 512MiB").contains("`resources` (a mapping"));
}

#[test]
fn a_restart_policy_is_one_of_docker_s_and_its_default_is_as_good_as_none() {
    assert_eq!(good("restart: \"no\"").restart, Some(Restart::No));
    assert_eq!(good("restart: no").restart, Some(Restart::No));
    assert_eq!(good("restart: always").restart, Some(Restart::Always));
    assert_eq!(good("restart: on-failure").restart, Some(Restart::OnFailure(None)));
    assert_eq!(good("restart: on-failure:3").restart, Some(Restart::OnFailure(Some(3))));
    assert!(good("restart: unless-stopped").is_empty());
    for (policy, said) in [
        ("on-failure:-1", "`-1` is not how often a container can be started again (write `on-failure:3`"),
        ("on-failure:0", "`0` is not how often"),
        ("on-failure:x", "`x` is not how often"),
        ("on-failure:99999999999", "is not how often"),
        ("unless-stoped", "`unless-stoped` is no restart policy (did you mean `unless-stopped`?)"),
        ("sometimes", "known are `no`, `always`, `unless-stopped` and `on-failure`"),
        ("[always]", "expected a text, found a list"),
    ] {
        assert!(
            wrong(&format!("restart: {policy}")).contains(said),
            "{policy}: {}",
            wrong(&format!("restart: {policy}"))
        );
    }
}

#[test]
fn a_limit_is_one_number_or_two() {
    let ulimits = good("ulimits: {nofile: 65536, nproc: {soft: 1024, hard: 2048}, memlock: -1}").ulimits;
    assert_eq!(ulimits["nofile"], Ulimit { soft: 65536, hard: 65536 });
    assert_eq!(ulimits["nproc"], Ulimit { soft: 1024, hard: 2048 });
    assert_eq!(ulimits["memlock"], Ulimit { soft: -1, hard: -1 });
    for (limit, said) in [
        ("nofiles: 1", "`nofiles` is no limit (did you mean `nofile`?)"),
        ("nofile: many", "a whole number, or -1 for no limit, found `many`"),
        ("nofile: -2", "a whole number, or -1 for no limit"),
        ("nofile: {soft: 1}", "a limit needs `hard`"),
        ("nofile: {soft: 2, hard: 1}", "`soft` is more than `hard`"),
        ("nofile: {soft: -1, hard: 1}", "`soft` is more than `hard`"),
    ] {
        assert!(wrong(&format!("ulimits: {{{limit}}}")).contains(said), "{limit}");
    }
    assert!(wrong("ulimits: [nofile]").contains("`ulimits` (a mapping"));
}

#[test]
fn capabilities_are_taken_with_and_without_their_prefix() {
    let options = good("capabilities: {add: [net_admin, CAP_SYS_TIME], drop: [ALL]}");
    assert_eq!(options.cap_add, ["CAP_NET_ADMIN", "CAP_SYS_TIME"]);
    assert_eq!(options.cap_drop, ["ALL"]);
    assert!(wrong("capabilities: {add: [NET_ADMN]}").contains("no capability (did you mean `NET_ADMIN`?)"));
    assert!(wrong("capabilities: {add: [MKNOD], drop: [cap_mknod]}").contains("`CAP_MKNOD` is both added and dropped"));
    assert!(wrong("capabilities: [NET_ADMIN]").contains("`capabilities` (a mapping"));
}

#[test]
fn a_tmpfs_is_a_path_with_options_of_its_kind() {
    let tmpfs = good("tmpfs: [/run, \"/tmp:size=64m,mode=1777,noexec\"]").tmpfs;
    assert_eq!((tmpfs["/run"].as_str(), tmpfs["/tmp"].as_str()), ("", "size=64m,mode=1777,noexec"));
    for (path, said) in [
        ("run", "an absolute path inside the container"),
        ("/", "an absolute path inside the container"),
        ("\"/tmp:siz=1\"", "`siz` is no option of a tmpfs (did you mean `size`?)"),
        ("/run, \"/run:ro\"", "`/run` is given twice"),
    ] {
        assert!(wrong(&format!("tmpfs: [{path}]")).contains(said), "{path}");
    }
    assert!(wrong("tmpfs: /run").contains("expected a list of paths"));
}

#[test]
fn names_and_addresses_are_what_docker_takes() {
    let options = good(
        "user: 1000:1000\nworkingDir: /srv\nextraHosts: [\"db:10.0.0.5\", \"v6:::1\", \"host:host-gateway\"]\ndns: [10.0.0.2]",
    );
    assert_eq!((options.user.as_deref(), options.working_dir.as_deref()), (Some("1000:1000"), Some("/srv")));
    assert_eq!(options.extra_hosts, ["db:10.0.0.5", "v6:::1", "host:host-gateway"]);
    assert_eq!(options.dns, ["10.0.0.2"]);
    assert_eq!(good("extraHosts: {db: 10.0.0.5}").extra_hosts, ["db:10.0.0.5"]);
    assert_eq!(good("user: 1000").user.as_deref(), Some("1000"));
    for (lines, said) in [
        ("user: \"a b\"", "a user like `app`"),
        ("user: \"1:2:3\"", "a user like `app`"),
        ("workingDir: srv", "expected an absolute path, found `srv`"),
        ("extraHosts: [db]", "a name with its address"),
        ("extraHosts: [\"db:ten\"]", "`ten` is not an address (an IP address, or `host-gateway`"),
        ("extraHosts: {\"-db\": 10.0.0.5}", "`-db` is not the name of a host"),
        ("dns: [ns1]", "expected an IP address, found `ns1`"),
        ("dns: 10.0.0.2", "expected a list of addresses"),
        ("privileged: 1", "expected true or false"),
        ("readOnly: on", "write `true`"),
        ("init: \"true\"", "expected true or false"),
        ("shmSize: 0m", "`0m` is out of range"),
        ("shmSize: 64", "write `64MiB`"),
    ] {
        assert!(wrong(lines).contains(said), "{lines}: {}", wrong(lines));
    }
}

#[test]
fn kernel_parameters_are_those_that_a_container_has_to_itself() {
    let sysctls = good("sysctls: {net.core.somaxconn: 1024, kernel.shmmax: 1}").sysctls;
    assert_eq!(sysctls["net.core.somaxconn"], "1024");
    assert!(wrong("sysctls: {vm.swappiness: 1}").contains("`vm.swappiness` is not a container's own"));
    assert!(wrong("sysctls: {net.core.somaxconn: }").contains("a value is missing"));
}

#[test]
fn a_device_has_a_path_on_either_side_and_permissions() {
    let device = |host: &str, path: &str, permissions: &str| Device {
        host: host.into(),
        path: path.into(),
        permissions: permissions.into(),
    };
    assert_eq!(
        good("devices: [/dev/fuse, \"/dev/a:/dev/b\", \"/dev/a:r\", \"/dev/a:/dev/b:rw\"]").devices,
        [
            device("/dev/fuse", "/dev/fuse", "rwm"),
            device("/dev/a", "/dev/b", "rwm"),
            device("/dev/a", "/dev/a", "r"),
            device("/dev/a", "/dev/b", "rw"),
        ]
    );
    for bad in ["fuse", "\"/dev/a:b\"", "\"/dev/a:/dev/b:x\"", "\"/dev/a:/dev/b:rr\"", "\"/dev/a:/dev/b:r:w\"", "\":\""]
    {
        assert!(wrong(&format!("devices: [{bad}]")).contains("a device like"), "{bad}");
    }
}

#[test]
fn labels_are_free_but_for_evenkeel_s_own() {
    assert_eq!(good("labels: {com.example/team: web, empty: \"\"}").labels["com.example/team"], "web");
    assert!(wrong("labels: {evenkeel.stack: other}").starts_with("a label must not begin with `evenkeel.`"));
    assert!(wrong("labels: {\"a b\": c}").contains("`a b` is not the name of a label"));
    assert!(wrong("labels: [a=b]").contains("`labels` (a mapping"));
}

#[test]
fn the_place_is_that_of_what_is_wrong() {
    let text = "apiVersion: evenkeel/v1\nkind: App\nmetadata: {name: a}\nspec:\n  stack: s\n  layer: l\n  containers:\n    - name: x\n      image: x\n      resources: {memory: 10}\n      ulimits: {nofil: 1}\n";
    let (_, problems) = decode(vec![File::new("f", text)]);
    let at: Vec<_> = problems.iter().map(|problem| (problem.line, problem.column)).collect();
    assert_eq!(at, [(10, 27), (11, 17)]);
    assert!(problems.iter().all(|problem| Arc::ptr_eq(&problem.file, &problems[0].file)));
}
