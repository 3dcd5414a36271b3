//! What is written reads back the same.

use super::{app, container, printed, with};
use crate::{import::yaml::quoted, spec::Value};

/// What YAML readers take for something else, or lose.
const ODD: [&str; 46] = [
    "",
    " ",
    " a",
    "a ",
    "yes",
    "No",
    "on",
    "y",
    "true",
    "null",
    "~",
    "1.10",
    "007",
    "1e3",
    "0x1f",
    ".5",
    "+1",
    "-",
    "- a",
    "a: b",
    "a:",
    ": a",
    "#a",
    "a #b",
    "@a",
    "`a",
    "%a%",
    "&a",
    "*a",
    "!a",
    "|",
    ">",
    "{a}",
    "[a]",
    "a,b",
    "'a'",
    "\"a\"",
    "\\n",
    "a\nb\n",
    "\t",
    "2026-01-05",
    "12:30:45",
    "ü😀",
    "\u{85}\u{2028}\u{feff}\u{7f}\u{1}",
    "<<",
    "=",
];

fn read_back(name: &str, value: &str) -> Option<Value> {
    let json = serde_json::json!({"deploy": {"shop": {"containers": [
        {"app": {"image": "x", "deploy": "auto", "env": {name: value.replace('%', "%%")}}}
    ]}}});
    app(&json.to_string()).0.containers[0].env.get(name).cloned()
}

#[test]
fn every_text_reads_back_the_same() {
    for odd in ODD {
        assert_eq!(read_back("A", odd), Some(Value::Text(odd.replace('%', "%%"))), "{odd:?}");
    }
    for name in ["yes", "1.10", "a:b", "#a", "@", "null", "ü", "-", "\"a\"", "?", "{a}", "%"] {
        assert_eq!(read_back(name, "x"), Some("x".into()), "{name}");
    }
}

#[test]
fn any_text_reads_back_the_same() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let alphabet: Vec<char> =
        "aZ09 _-./:#@%&*!|>{}[],'\"\\\n\t\r?=~`$^()+<;\u{85}\u{a0}\u{2028}\u{feff}\u{7f}ü😀é".chars().collect();
    for _ in 0..60 {
        let words: Vec<String> = (0..40)
            .map(|_| (0..random(9)).map(|_| alphabet[random(alphabet.len() as u64) as usize]).collect())
            .collect();
        let env: serde_json::Map<String, serde_json::Value> =
            words.iter().enumerate().map(|(at, word)| (format!("V{at}"), word.replace('%', "%%").into())).collect();
        let json = serde_json::json!({"deploy": {"shop": {"containers": [{"app": {"image": "x", "deploy": "auto", "env": env}}]}}});
        let read = app(&json.to_string()).0.containers.remove(0).env;
        for (at, word) in words.iter().enumerate() {
            assert_eq!(read[&format!("V{at}")], Value::Text(word.replace('%', "%%")), "{word:?}: {}", quoted(word));
        }
    }
}

#[test]
fn long_lists_and_comments_are_broken_into_lines_that_read_the_same() {
    let ports: Vec<String> = (0..40).map(|at| format!("\"{}\"", 8000 + at)).collect();
    let (it, _) = container(&format!(r#", "ports": [{}], "links_{}": 1"#, ports.join(", "), "very_".repeat(60)));
    assert_eq!(it.ports.len(), 40);
    let text = printed(&with(r#"{"app": {"image": "x", "deploy": "auto", "a\nb: c": 1, "env": {"PASSWORD": "x"}}}"#))
        .manifests;
    assert!(
        text.lines().filter(|line| line.trim_start().starts_with('#')).all(|line| line.chars().count() <= 110),
        "{text}"
    );
    assert!(text.contains("containers.app.a b: c` is not known"), "{text}");
}
