//! `migration`.

use super::{
    container::arguments,
    cursor::Report,
    node::{Data, Node},
    quantity::duration_above_zero,
};
use crate::spec::migration::{Migration, TIMEOUT};

/// A command, or `{command, reversible, timeout}`.
pub(super) fn read(report: &Report<'_>, node: &Node) -> Option<Migration> {
    if !matches!(&node.data, Data::Map(_)) {
        return Some(Migration { command: arguments(report, node)?, reversible: true, timeout: TIMEOUT });
    }
    let map = report.map(node, "a migration")?;
    let command = map.required("command", arguments);
    let reversible = map.optional("reversible", Report::boolean).unwrap_or(true);
    let timeout = map.optional("timeout", duration_above_zero).unwrap_or(TIMEOUT);
    map.finish();
    Some(Migration { command: command?, reversible, timeout })
}
