//! A stack's manifest that is there already.

use std::sync::Arc;

use super::{Options, ground::Ground, note::Place};
use crate::spec::{File, Problem, Stack, decode::decode, stack::Provider};

/// Manifests are YAML, and begin with a word; what AWS tells begins with a brace.
pub(super) fn is_json(file: &File) -> bool {
    file.text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '['])
}

/// The stack that is meant, word for word, and who runs its instances.
///
/// # Errors
/// What is wrong with the manifest, or with what is asked for.
pub(super) fn read<'a>(file: &Arc<File>, options: &Options) -> Result<(Ground<'a>, Provider), Vec<Problem>> {
    let told =
        |at: usize, message: String, help: Option<String>| Err(vec![Problem::new(file, &(at..at), message, help)]);
    let mut found: Vec<(Stack, usize, &str)> = Vec::new();
    for (at, text) in documents(&file.text) {
        // Ahead of it, so that places are those of the file.
        let lines = "\n".repeat(file.text[..at].matches('\n').count());
        let (documents, problems) = decode(vec![File::new(file.name.as_str(), format!("{lines}{text}"))]);
        if !problems.is_empty() {
            return Err(problems);
        }
        found.extend(documents.stacks.into_iter().map(|declared| (declared.value, at, text)));
    }
    let names: Vec<String> = found.iter().map(|(stack, ..)| format!("`{}`", stack.name)).collect();
    let mut meant =
        found.into_iter().filter(|(stack, ..)| options.stack.as_ref().is_none_or(|name| *name == stack.name));
    let (stack, at, text) = match (meant.next(), meant.next()) {
        (Some(one), None) => one,
        (None, _) if names.is_empty() => return told(0, "the file declares no stack".to_owned(), None),
        (None, _) => {
            return told(
                0,
                "the file does not declare that stack".to_owned(),
                Some(format!("it declares {}", names.join(", "))),
            );
        }
        (Some(_), Some(_)) => {
            let help = Some("say which with `--stack NAME`".to_owned());
            return told(0, format!("the file declares several stacks: {}", names.join(", ")), help);
        }
    };
    if options.provider.is_some_and(|wanted| wanted != stack.provider) {
        let help = Some("change `provider` there with all that belongs to it, or leave `--provider` out".to_owned());
        return told(at, format!("the stack `{}` has another provider", stack.name), help);
    }
    let layers: Vec<&str> = stack.layers.iter().map(|layer| layer.short_name.as_str()).collect();
    let layer = match (&options.layer, layers.as_slice()) {
        (Some(wanted), _) if !layers.contains(&wanted.as_str()) => {
            let help = Some(format!("it has {}", crate::spec::problem::list(&layers)));
            return told(at, format!("the stack `{}` has no layer `{wanted}`", stack.name), help);
        }
        (Some(wanted), _) => wanted.clone(),
        (None, [one]) => (*one).to_owned(),
        (None, all) if all.contains(&"docker") => "docker".to_owned(),
        (None, []) => return told(at, format!("the stack `{}` has no layer", stack.name), None),
        (None, _) => {
            let help = Some("say which with `--layer SHORTNAME`".to_owned());
            return told(at, format!("the stack `{}` has several layers", stack.name), help);
        }
    };
    let place = Place { file: Arc::clone(file), span: at..at };
    let ground = Ground {
        name: stack.name,
        layer,
        parts: Vec::new(),
        layers: Vec::new(),
        remarks: Vec::new(),
        pending: false,
        seen: None,
        verbatim: Some((text.to_owned(), place)),
    };
    Ok((ground, stack.provider))
}

/// The documents of a file, each with where it begins.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let mut starts = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        at += line.len();
        if line.starts_with("---") && line[3..].trim().is_empty() {
            starts.push(at);
        }
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let all = starts.iter().copied().zip(ends);
    all.map(|(from, to)| (from, text[from..to].trim_end().trim_end_matches("---"))).collect()
}
