//! What changed on the way from a Stack JSON to manifests.

use std::{fmt, ops::Range, sync::Arc};

use crate::spec::{File, Problem};

/// A place in a file that was imported.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) file: Arc<File>,
    pub(super) span: Range<usize>,
}

/// Something that is not as it was, or that a person has to decide. Its `Display` is one line:
/// `file:line:column: kind: message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// What has become of it.
    pub kind: Kind,
    /// Where it stands in the file that was imported, and what there is to know.
    pub at: Problem,
}

/// What has become of something that was imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A person has to decide.
    Decide,
    /// It means something else now.
    Changed,
    /// Something else does it now.
    Replaced,
    /// It is in no manifest.
    LeftOut,
}

impl Kind {
    /// All of them, the most urgent first.
    pub const ALL: [Kind; 4] = [Kind::Decide, Kind::Changed, Kind::Replaced, Kind::LeftOut];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Decide => "decide",
            Kind::Changed => "changed",
            Kind::Replaced => "replaced",
            Kind::LeftOut => "left out",
        })
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { file, line, column, message, .. } = &self.at;
        write!(f, "{}:{line}:{column}: {}: {message}", file.name, self.kind)
    }
}
