"""Finding OpsWorks resources the way AWS does: through the region that owns their stack."""

from . import faults
from .errors import not_found, validation
from .testbed import store


def reading(region: str):
    """The tables for a Describe call, which lag behind the writes when a test asked for it."""
    return store.read(faults.lag("opsworks", region))


def visible(stack: dict, region: str) -> bool:
    """A stack belongs to the endpoint that it was made through; the us-east-1 endpoint could make stacks in any
    region (CreateStack's `Region`), and those are found in their own region too."""
    return region in (stack["Region"], stack["_endpoint"])


def stack(tables: dict, region: str, stack_id: str) -> dict:
    found = tables["stacks"].get(stack_id)
    if found is None or not visible(found, region):
        raise not_found("stack", stack_id)
    return found


def find(tables: dict, region: str, table: str, resource_id: str) -> dict:
    """A layer, an app, an instance or a deployment by its id."""
    found = tables[table].get(resource_id)
    if found is None or not visible(tables["stacks"][found["StackId"]], region):
        raise not_found(table.rstrip("s"), resource_id)
    return found


def find_all(tables: dict, region: str, table: str, resource_ids: list[str]) -> list[dict]:
    return [find(tables, region, table, resource_id) for resource_id in resource_ids]


def of_stack(tables: dict, table: str, stack_id: str) -> list[dict]:
    return [record for record in tables[table].values() if record.get("StackId") == stack_id]


def exactly_one(request: dict, names: tuple[str, ...], message: str) -> str:
    """Which of the selectors was given; OpsWorks refuses none and refuses several."""
    given = [name for name in names if request.get(name)]
    if len(given) != 1:
        raise validation(message)
    return given[0]


def masked(source: dict | None) -> dict | None:
    """Repository credentials read back as `*****FILTERED*****` (API reference of Source)."""
    if source is None:
        return None
    hidden = {key: FILTERED for key in ("Password", "SshKey") if source.get(key)}
    return {**source, **hidden}


FILTERED = "*****FILTERED*****"
