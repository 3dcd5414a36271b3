//! `%{…}` in strings.

use std::fmt;

/// What `%{…}` can stand for at one place.
#[derive(Debug, Clone, Copy, Default)]
pub struct Names<'a> {
    /// `%{public_ip}`: the instance's public address.
    pub public_ip: &'a str,
    /// `%{app_name}`: the container's key; with the index in `hostname` and `command`.
    pub app_name: &'a str,
    /// `%{opsworks}`: stack name and instance hostname, lower case, blanks as dashes.
    pub opsworks: &'a str,
}

/// The names that are known, for error messages and suggestions.
pub const KNOWN: [&str; 3] = ["public_ip", "app_name", "opsworks"];

/// A string that cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// `%{name}` with a name that nothing stands for.
    UnknownName(String),
    /// `%{` without its `}`.
    Unclosed,
    /// A `%` that is followed by neither `{` nor `%`.
    StrayPercent,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::UnknownName(name) => {
                write!(f, "unknown name %{{{name}}}: known are {}", known())
            }
            Problem::Unclosed => write!(f, "%{{ without its closing }}"),
            Problem::StrayPercent => write!(f, "a percent sign must be written %%"),
        }
    }
}

fn known() -> String {
    KNOWN.map(|name| format!("%{{{name}}}")).join(", ")
}

/// Fills in every `%{…}` of `text`; `%%` becomes a percent sign.
///
/// # Errors
/// The first [`Problem`] in the text.
pub fn interpolate(text: &str, names: &Names<'_>) -> Result<String, Problem> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = after.find('}').ok_or(Problem::Unclosed)?;
            match &after[..end] {
                "public_ip" => out.push_str(names.public_ip),
                "app_name" => out.push_str(names.app_name),
                "opsworks" => out.push_str(names.opsworks),
                other => return Err(Problem::UnknownName(other.to_owned())),
            }
            rest = &after[end + 1..];
        } else {
            return Err(Problem::StrayPercent);
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// What `%{opsworks}` stands for: both names in lower case, blanks as dashes.
pub fn opsworks_name(stack: &str, hostname: &str) -> String {
    format!("{stack}-{hostname}").to_lowercase().replace(' ', "-")
}

/// Lower case, with every run of other characters than ASCII letters and digits as one dash: what Docker takes
/// in a volume's name.
pub fn slug(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names<'_> = Names { public_ip: "192.0.2.1", app_name: "app0", opsworks: "shop-docker1" };

    #[test]
    fn every_known_name_is_filled_in() {
        let text = "%{public_ip} %{app_name}.sock %{opsworks}";
        assert_eq!(interpolate(text, &NAMES).unwrap(), "192.0.2.1 app0.sock shop-docker1");
    }

    #[test]
    fn two_percent_signs_are_one() {
        assert_eq!(interpolate("100%% %%{app_name}", &NAMES).unwrap(), "100% %{app_name}");
    }

    #[test]
    fn an_unknown_name_is_an_error_that_lists_the_known_ones() {
        let problem = interpolate("%{pubic_ip}", &NAMES).unwrap_err();
        assert_eq!(problem, Problem::UnknownName("pubic_ip".into()));
        assert!(problem.to_string().contains("%{public_ip}"));
    }

    #[test]
    fn an_open_brace_and_a_stray_percent_sign_are_errors() {
        assert_eq!(interpolate("%{app_name", &NAMES).unwrap_err(), Problem::Unclosed);
        assert_eq!(interpolate("50% off", &NAMES).unwrap_err(), Problem::StrayPercent);
    }

    #[test]
    fn a_slug_holds_only_what_docker_takes_in_a_name() {
        assert_eq!(slug("  Amazing  Application! "), "amazing-application");
        assert_eq!(slug("Süß 2"), "s-2");
    }
}
