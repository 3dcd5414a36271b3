//! Mounts, as `docker run -v` takes them.

/// What one `-v` mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// A path of the host: `/host:/path[:options]`, as given.
    Bind(String),
    /// A named volume of the engine.
    Named {
        /// The volume's name.
        volume: String,
        /// Where it is mounted.
        path: String,
        /// The options, `ro`.
        rest: Option<String>,
    },
    /// A path that gets an anonymous volume.
    Anonymous(String),
}

/// The options that an engine takes after the second colon.
const OPTIONS: [&str; 14] = [
    "ro",
    "rw",
    "z",
    "Z",
    "nocopy",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "private",
    "rprivate",
    "cached",
    "delegated",
    "consistent",
];

impl Mount {
    /// Reads `/path`, `name:/path[:options]` and `/host:/path[:options]`.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(text: &str) -> Result<Mount, String> {
        let mut parts = text.split(':');
        let first = parts.next().unwrap_or_default();
        let Some(path) = parts.next() else {
            absolute(first)?;
            return Ok(Mount::Anonymous(first.to_owned()));
        };
        let rest = parts.next();
        if parts.next().is_some() {
            return Err("more than two colons: the form is `source:/path:options`".to_owned());
        }
        absolute(path)?;
        if let Some(unknown) = rest.and_then(|rest| rest.split(',').find(|option| !OPTIONS.contains(option))) {
            return Err(format!("`{unknown}` is not an option of a volume: `ro` and `rw` are the usual ones"));
        }
        if first.starts_with('/') {
            return Ok(Mount::Bind(text.to_owned()));
        }
        let fine = first.starts_with(|c: char| c.is_ascii_alphanumeric())
            && first.len() > 1
            && first.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if !fine {
            return Err(format!("`{first}` is neither an absolute path nor the name of a volume"));
        }
        Ok(Mount::Named { volume: first.to_owned(), path: path.to_owned(), rest: rest.map(str::to_owned) })
    }
}

fn absolute(path: &str) -> Result<(), String> {
    if path.len() > 1 && path.starts_with('/') {
        Ok(())
    } else {
        Err(format!("`{path}` is not an absolute path inside the container"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_decides_what_is_mounted() {
        assert_eq!(Mount::parse("/data"), Ok(Mount::Anonymous("/data".into())));
        assert_eq!(Mount::parse("/srv:/data:ro"), Ok(Mount::Bind("/srv:/data:ro".into())));
        assert_eq!(
            Mount::parse("cache:/data:ro,z"),
            Ok(Mount::Named { volume: "cache".into(), path: "/data".into(), rest: Some("ro,z".into()) })
        );
    }

    #[test]
    fn what_docker_would_refuse_is_refused() {
        for text in
            ["", "data", "/", "cache:data", "/a:/b:ro:x", "/a:/b:rx", "./a:/b", "a b:/c", "/a:", ":/a", "/a:/b:"]
        {
            assert!(Mount::parse(text).is_err(), "{text}");
        }
    }
}
