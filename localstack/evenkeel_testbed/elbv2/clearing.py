"""How load balancers and target groups go when a test, or the end, clears the table."""

from . import balancers
from .records import BALANCERS, GROUPS, users


def clear(tables: dict, stack: str | None) -> int:
    """Removes what is tagged `evenkeel:stack` with this value, or everything, and says how many that were. A target
    group stays while a balancer that stays forwards to it."""
    mine = [b for b in tables[BALANCERS].values() if _of(b, stack)]
    for balancer in mine:
        balancers.forget(tables, balancer)
    used = users(tables)
    groups = [arn for arn, group in tables[GROUPS].items() if _of(group, stack) and arn not in used]
    for arn in groups:
        del tables[GROUPS][arn]
    return len(mine) + len(groups)


def _of(record: dict, stack: str | None) -> bool:
    return stack is None or record["Tags"].get("evenkeel:stack") == stack
