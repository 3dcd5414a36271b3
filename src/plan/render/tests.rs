//! What a container is given on an instance.

use super::{Place, Rendered, render};
use crate::{
    plan::slot::slots,
    spec::{Desired, File, validate},
    world::Engine,
};

fn desired(container: &str) -> Desired {
    let text = format!(
        "apiVersion: evenkeel/v1\nkind: Stack\nmetadata: {{name: My Shop}}\nspec:\n  provider: opsworks\n  region: r\n  \
         layers:\n    - {{shortName: docker, instances: {{count: 1, type: t3.nano}}}}\n---\napiVersion: evenkeel/v1\nkind: App\n\
         metadata: {{name: a}}\nspec:\n  stack: My Shop\n  layer: docker\n  dataVolumes: {{www: [/www]}}\n  environment: {{APP_TYPE: docker}}\n  containers:\n    \
         - {{name: app, image: \"app:1\", replicas: 2{container}}}\n"
    );
    validate::load("r", vec![File::new("f", text)]).unwrap().remove("My Shop").unwrap()
}

/// The second replica on the instance `Docker1`.
fn second(desired: &Desired) -> Rendered {
    let slots = slots(desired, &desired.stack.layers[0]);
    render(desired, &slots[1], Place { hostname: "Docker1", public_ip: "192.0.2.1" }, false)
}

#[test]
fn what_is_filled_in_differs_by_where_it_stands() {
    let all = "%{app_name} %{opsworks} %{public_ip} 5%%";
    let desired = desired(&format!(
        ", hostname: \"%{{app_name}}.%{{opsworks}}\", command: [\"{all}\"], env: {{A: \"{all}\"}}, volumes: [\"/srv/%{{app_name}}:/data\"]"
    ));
    let run = second(&desired).run;
    assert_eq!(run.hostname, "app1.my-shop-docker1");
    assert_eq!(run.command.unwrap(), ["app1 my-shop-docker1 192.0.2.1 5%"]);
    assert_eq!(run.env["A"], "app my-shop-docker1 192.0.2.1 5%");
    assert_eq!(run.binds, ["/srv/app:/data"]);
    assert_eq!(second(&self::desired("")).run.hostname, "app1.Docker1");
}

#[test]
fn release_tag_is_the_id_of_the_image_that_is_run() {
    let desired = desired(", env: {RELEASE_TAG: mine}");
    let rendered = second(&desired);
    let engine = Engine { images: [("app:1".to_owned(), "sha256:1234".to_owned())].into(), ..Engine::default() };
    assert_eq!(rendered.for_engine(&engine).env["RELEASE_TAG"], "sha256:1234");
}

#[test]
fn a_data_volume_is_mounted_read_only_where_that_is_said() {
    let read_only =
        |keys: &str| second(&desired(keys)).run.data_volumes.iter().map(|it| it.read_only).collect::<Vec<_>>();
    assert_eq!(read_only(", volumesFrom: [\"www:ro\"]"), [true]);
    assert_eq!(read_only(", volumesFrom: [www]"), [false]);
    assert_eq!(read_only(", volumesFrom: [\"www:rw\"]"), [false]);
}
