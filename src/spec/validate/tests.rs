use super::*;

pub(super) const STACK: &str = "apiVersion: evenkeel/v1\nkind: Stack\nmetadata: {name: shop}\nspec:\n  provider: opsworks\n  \
    region: eu-west-1\n  layers:\n    - {shortName: docker, instances: {count: 1, type: t3.micro}}\n";

/// A document for an app whose containers are given in one line each.
pub(super) fn app(name: &str, containers: &[&str]) -> String {
    let containers: String = containers.iter().map(|container| format!("    - {{{container}}}\n")).collect();
    format!(
        "---\napiVersion: evenkeel/v1\nkind: App\nmetadata: {{name: {name}}}\nspec:\n  stack: shop\n  layer: docker\n  \
         environment: {{APP_TYPE: docker}}\n  dataVolumes: {{socks: [/socks]}}\n  containers:\n{containers}"
    )
}

pub(super) fn loaded(text: &str) -> Result<Manifests, Vec<String>> {
    load("r1", vec![File::new("f", text)])
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())
}

/// The problems of one app with these containers beside a good stack, without their places.
pub(super) fn problems(containers: &[&str]) -> Vec<String> {
    let Err(problems) = loaded(&format!("{STACK}{}", app("a", containers))) else { return Vec::new() };
    problems.iter().map(|problem| problem.splitn(4, ':').nth(3).unwrap().trim().to_owned()).collect()
}

#[test]
fn apps_are_put_to_their_stack_in_the_order_of_their_names() {
    let manifests =
        loaded(&format!("{}{}{STACK}", app("b", &[]), app("a", &[]).replace("docker}", "other}") + "---\n"));
    let shop = &manifests.unwrap()["shop"];
    assert_eq!(shop.revision, "r1");
    assert_eq!(shop.apps.iter().map(|app| app.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn what_is_declared_twice_is_told_with_both_places() {
    let problems = loaded(&format!("{STACK}---\n{STACK}{}{}", app("my app", &[]), app("My-App", &[]))).unwrap_err();
    assert_eq!(
        problems,
        [
            "f:12:18: the stack `shop` is declared twice (the first one is at f:3)",
            "f:31:18: the apps `my app` and `My-App` would both be called `my-app` (the first one is at f:21)",
        ]
    );
    assert_eq!(
        self::problems(&["name: x, image: x", "name: x, image: y"]),
        ["the container `x` is declared twice (the first one is at f:19)"]
    );
}

#[test]
fn an_unknown_stack_or_layer_is_told_with_the_nearest() {
    let text = format!("{STACK}{}", app("a", &[]).replace("stack: shop", "stack: shp"));
    assert_eq!(loaded(&text).unwrap_err(), ["f:14:10: unknown stack `shp` (did you mean `shop`?)"]);
    let text = format!("{STACK}{}", app("a", &[]).replace("layer: docker", "layer: web"));
    assert_eq!(
        loaded(&text).unwrap_err(),
        ["f:15:10: the stack `shop` has no layer with the short name `web` (declared: `docker`)"]
    );
}

#[test]
fn nothing_is_called_missing_that_a_broken_document_may_declare() {
    let text = format!("{}{}", STACK.replace("region: eu-west-1", "regio: x"), app("a", &["name: x, image: x"]));
    let problems = loaded(&text).unwrap_err();
    assert!(problems.iter().all(|problem| problem.contains("regio")), "{problems:#?}");
    let text = format!("{STACK}{}{}", app("a", &["name: x, image: x, links: [y0]"]), app("b", &["name: y, imag: x"]));
    let problems = loaded(&text).unwrap_err();
    assert!(problems.iter().all(|problem| problem.contains("imag")), "{problems:#?}");
}

#[test]
fn runs_of_two_jobs_never_share_a_name_and_nothing_is_linked_with_one() {
    let job = "name: x, image: x, deploy: cron, cron: {hour: 3}";
    let text = format!("{STACK}{}{}", app("a", &[job]), app("b", &[job]));
    assert_eq!(
        loaded(&text).unwrap_err(),
        ["f:30:14: a second container of the layer would be called `x.<time>` (the first one is at f:19)"]
    );
    assert_eq!(problems(&[job, "name: y, image: y, links: [x0]"]).len(), 1);
    assert_eq!(
        problems(&[job, "name: y, image: y, links: [x]"]),
        ["the layer has no container `x` (`x` is run by the clock (`deploy: cron`), and nothing can rely on it to be \
          there)"]
    );
    assert_eq!(
        problems(&["name: y, image: y", "name: x, image: x, deploy: cron, cron: {hour: 3}, links: [y0]"]),
        [""; 0]
    );
}

#[test]
fn replicas_of_two_containers_never_share_a_name() {
    assert_eq!(
        problems(&["name: app, image: x, replicas: 11", "name: app1, image: x"]),
        ["a second container of the layer would be called `app10` (the first one is at f:19)"]
    );
    let text = format!("{STACK}{}{}", app("a", &["name: x, image: x"]), app("b", &["name: x, image: x"]));
    assert_eq!(
        loaded(&text).unwrap_err(),
        ["f:30:14: a second container of the layer would be called `x0` (the first one is at f:19)"]
    );
}

#[test]
fn a_link_names_a_replica_of_the_layer() {
    let redis = "name: redis, image: redis";
    assert_eq!(problems(&[redis, "name: app, image: x, links: [\"redis0:redis\", redis0]"]), Vec::<String>::new());
    assert_eq!(
        problems(&[redis, "name: app, image: x, links: [redis]"]),
        ["the layer has no container `redis` (did you mean `redis0`? A replica is called by its container and index)"]
    );
    assert_eq!(
        problems(&["name: app, image: x, replicas: 2, links: [app1]"]),
        ["a container cannot be linked to itself"]
    );
    assert_eq!(problems(&[redis, "name: app, image: x, links: [\"redis0:\"]"]).len(), 1);
}

#[test]
fn volumes_come_from_a_data_volume_or_a_replica() {
    let redis = "name: redis, image: redis";
    assert_eq!(problems(&[redis, "name: app, image: x, volumesFrom: [socks, \"redis0:ro\"]"]), Vec::<String>::new());
    assert_eq!(
        problems(&["name: app, image: x, volumesFrom: [sock]"]),
        ["`sock` is neither a data volume of the app nor a container of the layer (did you mean `socks`?)"]
    );
    assert_eq!(
        problems(&["name: app, image: x, volumesFrom: [\"socks:rx\"]"]),
        ["unknown mode `rx` (`:ro` makes the volumes read-only)"]
    );
}

#[test]
fn a_circle_of_links_and_volumes_is_told_once() {
    assert_eq!(
        problems(&[
            "name: a, image: x, links: [b0]",
            "name: b, image: x, volumesFrom: [c0]",
            "name: c, image: x, links: [a0, d0]",
            "name: d, image: x",
            "name: e, image: x, links: [a0]",
        ]),
        ["a circle of links or shared volumes: a → b → c → a (nothing in it could be started first)"]
    );
}

#[test]
fn a_host_port_is_published_once_in_a_layer() {
    assert_eq!(
        problems(&["name: a, image: x, ports: [\"80:80\"]", "name: b, image: x, ports: [\"127.0.0.1:80:8080\"]"]),
        ["the host's port 80/tcp is published twice in the layer (the first one is at f:19)"]
    );
    assert_eq!(problems(&["name: a, image: x, replicas: 2, ports: [\"80:80\"]"]).len(), 1);
    assert_eq!(problems(&["name: a, image: x, replicas: 2, ports: [\"80\"]"]), Vec::<String>::new());
}

#[test]
fn what_stands_in_braces_is_known() {
    assert_eq!(
        problems(&[
            "name: a, image: x, command: \"run %{app_nam}\", env: {A: \"50%\"}, ports: [\"%{public_ip}:80:80\"]"
        ]),
        [
            "unknown name %{app_nam}: known are %{public_ip}, %{app_name}, %{opsworks} (did you mean `%{app_name}`?)",
            "a percent sign must be written %%",
        ]
    );
}

#[test]
fn ports_volumes_and_hostnames_are_what_docker_takes() {
    let problems =
        problems(&["name: a, image: x, ports: [\"80-90:80-90\"], volumes: [data], hostname: \"a b\", envFrom: b"]);
    assert_eq!(problems.len(), 4, "{problems:#?}");
}

#[test]
fn short_names_mount_points_and_balancers_are_used_once_in_a_stack() {
    let layer = "{shortName: docker, instances: {count: 1, type: t3.micro}, loadBalancers: [{classic: lb}], \
        volumes: [{mountPoint: /a, size: 1GiB}, {mountPoint: /a/, size: 1GiB}]}";
    let text = format!(
        "apiVersion: evenkeel/v1\nkind: Stack\nmetadata: {{name: s}}\nspec:\n  provider: opsworks\n  region: r\n  layers:\n    - {layer}\n    - {layer}\n"
    );
    let problems = loaded(&text).unwrap_err();
    assert_eq!(problems.len(), 4, "{problems:#?}");
}

/// The problems of a stack on EC2 whose layers have these load balancers.
fn balancers(of_layers: &[&str]) -> Vec<String> {
    let layers: String = of_layers
        .iter()
        .zip('a'..)
        .map(|(one, name)| {
            let access = "docker: {transport: ssh, user: admin}, instances: {count: 1, type: t3.micro}";
            format!("    - {{shortName: {name}, {access}, loadBalancers: [{one}]}}\n")
        })
        .collect();
    let stack = format!(
        "apiVersion: evenkeel/v1\nkind: Stack\nmetadata: {{name: shop}}\nspec:\n  provider: ec2\n  region: eu-west-1\n  \
         subnetIds: [subnet-1]\n  amiId: ami-00000001\n  sshKeyName: ops\n  layers:\n{layers}"
    );
    loaded(&stack).err().unwrap_or_default()
}

#[test]
fn a_load_balancer_that_is_made_belongs_to_one_layer_and_speaks_one_protocol_to_a_port() {
    let on = |port: u16| format!("{{application: shop, listeners: [{{port: {port}}}]}}");
    assert_eq!(balancers(&[&on(80)]), Vec::<String>::new());
    let twice = balancers(&[&on(80), &on(81)]);
    assert!(twice.len() == 1 && twice[0].contains("the load balancer `shop` is used twice"), "{twice:#?}");
    let mixed = "{application: shop, listeners: [{port: 80, instancePort: 8080}, \
                 {port: 81, instancePort: 8080, instanceProtocol: HTTPS}]}";
    let mixed = balancers(&[mixed]);
    assert!(
        mixed.len() == 1 && mixed[0].contains("port 8080 of the instances has two instanceProtocols"),
        "{mixed:#?}"
    );
}

#[test]
fn a_container_of_which_there_cannot_be_two_at_once_cannot_start_first() {
    let help = "(leave `strategy` out, and the way that loses no request is chosen)";
    assert_eq!(
        problems(&["name: x, image: x, ports: [\"80:8080\"], strategy: startFirst"]),
        [format!("the old and the new container cannot both publish `80:8080` {help}")]
    );
    assert_eq!(
        problems(&["name: x, image: x, strategy: startFirst", "name: y, image: y, links: [\"x0:x\"]"]),
        [format!("`y` uses it, and would be left with the old container, which goes {help}")]
    );
    assert_eq!(problems(&["name: x, image: x, network: host, strategy: startFirst"]).len(), 1);
    let fine = ["name: x, image: x, ports: [\"8080\"], strategy: startFirst", "name: y, image: y, strategy: drain"];
    assert_eq!(problems(&fine), Vec::<String>::new());
    let unknown = problems(&["name: x, image: x, strategy: inplace"]);
    assert!(unknown[0].contains("did you mean `inPlace`?"), "{unknown:?}");
}
