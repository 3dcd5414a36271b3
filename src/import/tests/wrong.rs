//! What no manifest can be made of.

use super::{Options, import, problems, refused, with};
use crate::spec::File;

#[test]
fn a_stack_json_has_apps() {
    assert_eq!(
        problems(r#"{"docker": {}}"#),
        ["f:1:1: a Stack JSON needs `deploy` (it holds the apps: `{\"deploy\": {\"shop\": {\"containers\": […]}}}`)"]
    );
    assert_eq!(
        problems(r#"{"deplyo": {}}"#),
        ["f:1:1: a Stack JSON needs `deploy` (is `deplyo` meant to be `deploy`?)"]
    );
    assert!(problems(r#"{"deploy": {}}"#)[0].contains("`deploy` has no apps"));
    assert!(problems(r#"{"deploy": null}"#)[0].contains("needs `deploy`"));
    assert!(problems("[]")[0].contains("expected a Stack JSON (an object), found a list"));
}

#[test]
fn what_is_of_the_wrong_kind_is_told_at_its_place() {
    for (keys, words) in [
        (", \"containers\": \"two\"", ": expected a whole number, found a text"),
        (", \"containers\": -1", "expected a whole number, found `-1`"),
        (", \"startup_time\": 2.5", "expected a whole number"),
        (", \"env\": [\"A=b\"]", "expected an environment (an object), found a list"),
        (", \"env\": {\"A\": {}}", "expected a text, found an object"),
        (", \"ports\": \"80:80\"", "expected a list of ports, found a text (put it into brackets"),
        (", \"links\": {}", "expected a list of links, found an object"),
        (", \"volumes\": [[]]", "expected a text, found a list"),
        (", \"database\": \"yes\"", "expected true or false, found a text"),
        (", \"command\": {}", "expected a text, found an object"),
        (", \"notifications\": []", "expected `notifications` (an object)"),
    ] {
        let told = refused(keys);
        assert_eq!(told.len(), 1, "{keys}: {told:?}");
        assert!(told[0].contains(words), "{keys}: {told:?}");
    }
    assert!(refused(",\n\"containers\": \"two\"")[0].starts_with("f:2:15: expected a whole number, found a text"));
    for (json, words) in [
        (with("[]"), "expected an object with the names of containers, found a list"),
        (with("{\"a\": 1}"), "expected a container (an object), found `1`"),
        (with("{\"a\": {\"deploy\": \"auto\"}}"), "the container `a` needs `image`"),
        (with("{\"a\": {\"deploy\": \"auto\", \"imgae\": \"x\"}}"), "is `imgae` meant to be `image`?"),
        (
            with("{\"a\": {\"deploy\": \"atuo\", \"image\": \"x\"}}"),
            "`atuo` is no way to deploy (did you mean `auto`?)",
        ),
        (r#"{"deploy": {"a": {"containers": "x"}}}"#.to_owned(), "expected a list of containers"),
        (r#"{"deploy": {"a": {"data_volumes": [{"v": {}}]}}}"#.to_owned(), "the data volume `v` has no `volumes`"),
        (r#"{"deploy": {"a": []}}"#.to_owned(), "expected an app (an object)"),
        (
            r#"{"docker": {"registries": []}, "deploy": {"a": {"containers": []}}}"#.to_owned(),
            "expected `docker.registries`",
        ),
    ] {
        let told = problems(&json);
        assert!(told.iter().any(|it| it.contains(words)), "{json}: {told:?}");
    }
}

#[test]
fn what_a_manifest_would_be_refused_for_is_told_at_its_place_in_the_json() {
    for (keys, words) in [
        (",\n\"links\": [\"a\",\n \"redis0\"]", "f:2:11: the layer has no container `a`"),
        (",\n\"links\": [\"a\",\n \"redis0\"]", "f:3:2: the layer has no container `redis0`"),
        (",\n\"env_from\": \"web\"", "f:2:13: the app has no container `web`"),
        (",\n\"tag\": \"1.2 3\"", "`1.2 3` is not an image's tag"),
        (",\n\"hostname\": \"a b\"", "f:2:13: `a b` is not a hostname"),
        (",\n\"ports\": [\"80-90:80-90\"]", "f:2:11: `80-90` is a range"),
        (",\n\"containers\": 2, \"ports\": [\"80:80\"]", "cannot all publish the host's port 80"),
        (",\n\"env\": {\"A\":\n\"%{nobody}\"}", "f:3:1: unknown name %{nobody}"),
        (",\n\"command\": \"'a\"", "f:2:12: a quote is opened and not closed"),
        (",\n\"volumes_from\": [\"static\"]", "f:2:18: `static` is neither a data volume of the app nor a container"),
    ] {
        let told = refused(keys);
        assert!(told.iter().any(|it| it.contains(words)), "{keys}: {told:?}");
        assert!(told.iter().all(|it| !it.contains("(imported)")), "{told:?}");
    }
    let json = with(r#"{"a": {"image": "x:1", "tag": "2", "deploy": "auto"}}"#);
    assert!(problems(&json)[0].contains("the image carries the tag `1`, and `tag` says `2`"));
    let twice = r#"{"deploy": {"My App": {"containers": []}, "my-app": {"containers": []}}}"#;
    assert!(problems(twice)[0].starts_with("f:1:43: the apps `My App` and `my-app` would both be called `my-app`"));
}

/// Cuts, doubles and replaces parts of the example in every way that a fixed seed leads to.
#[test]
fn no_input_makes_it_panic() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below.max(1) as u64) as usize
    };
    let pieces = [
        "\"", "{", "}", "[", "]", ":", ",", "null", "1e9", "-", "\\u12", "\\", "\n", "\t", "ü", "\0", "%{", "// x\n",
        "{\"a\":", "true", "\"\"", "\u{2028}", "'", "#",
    ];
    let good = [
        include_bytes!("../../../deploy/examples/stack.json").as_slice(),
        include_bytes!("../../../deploy/examples/aws.json").as_slice(),
    ];
    for round in 0..3000 {
        let mut files = good.map(<[u8]>::to_vec);
        let bytes = &mut files[round % 2];
        for _ in 0..=random(4) {
            let (from, len) = (random(bytes.len()), random(40));
            let to = (from + len).min(bytes.len());
            match random(4) {
                0 => bytes.truncate(from),
                1 => drop(bytes.drain(from..to)),
                2 => drop(bytes.splice(from..from, pieces[random(pieces.len())].bytes())),
                _ => {
                    let copy = bytes[from..to].to_vec();
                    let at = random(bytes.len());
                    bytes.splice(at..at, copy);
                }
            }
        }
        let [json, aws] = files;
        if let Err(problems) = import(File::new("f", json), Some(File::new("a", aws)), &Options::default()) {
            assert!(!problems.is_empty());
            assert!(problems.iter().all(|it| it.line >= 1 && it.column >= 1 && !it.file.name.contains("(imported)")));
        }
    }
}
