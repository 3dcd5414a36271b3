"""Filters and pages of EC2's Describe calls."""

import base64
import binascii
import re
from typing import Callable

from .world import Where, error
from ..faults import faults

FILTER_VALUES = 200


def filtered(found: list[dict], request: dict, getters: dict[str, Callable]) -> list[dict]:
    """Those that pass every filter; within a filter one value has to fit, `*` and `?` being wildcards ("List and
    filter using the CLI and API", EC2 user guide). A getter gives a record's value or list of values."""
    for wanted in request.get("Filters") or []:
        name, values = wanted.get("Name", ""), wanted.get("Values") or []
        if len(values) > FILTER_VALUES:
            raise error("FilterLimitExceeded", f"The maximum number of filter values is {FILTER_VALUES}")
        get = _getter(name, getters)
        patterns = [_pattern(value) for value in values]
        found = [r for r in found if any(p.fullmatch(text) for text in _texts(get(r)) for p in patterns)]
    return found


def page(
    where: Where, found: list[dict], request: dict, id_name: str, ids: str | None = None, bounds: tuple = (5, 1000)
) -> tuple:
    """One page of the records in the order of their ids, and the members of the answer that lead to the next one.
    `ids` names the member of the request that MaxResults may not be combined with."""
    size, token = request.get("MaxResults"), request.get("NextToken")
    if ids and size is not None and request.get(ids):
        raise error(
            "InvalidParameterCombination", f"The parameter {ids} cannot be used with the parameter maxResults"
        )
    if size is not None and size < bounds[0]:
        raise error(
            "InvalidParameterValue",
            f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value greater than {bounds[0]}.",
        )
    found = sorted(found, key=lambda r: r[id_name])
    if token:
        after = _decoded(token)
        found = [r for r in found if r[id_name] > after]
    # AWS may give fewer than MaxResults; without MaxResults it gives everything.
    shorter = faults.page("ec2", where.region) if size or token else None
    limits = [n for n in (size and min(size, bounds[1]), shorter) if n]
    if limits and len(found) > min(limits):
        found = found[: min(limits)]
        return found, {"NextToken": base64.urlsafe_b64encode(found[-1][id_name].encode()).decode()}
    return found, {}


def tag_list(tags: dict) -> list[dict]:
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def _getter(name: str, getters: dict[str, Callable]) -> Callable:
    if name.startswith("tag:"):
        return lambda r: r["Tags"].get(name[4:])
    if name == "tag-key":
        return lambda r: list(r["Tags"])
    if name == "tag-value":
        return lambda r: list(r["Tags"].values())
    if name not in getters:
        raise error("InvalidParameterValue", f"The filter '{name}' is invalid")
    return getters[name]


def _texts(value) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [str(v).lower() if isinstance(v, bool) else str(v) for v in values if v is not None]


def _pattern(value: str) -> re.Pattern:
    parts = re.split(r"(\\.|\*|\?)", value)
    known = {"*": ".*", "?": "."}
    return re.compile(
        "".join(known.get(p) or re.escape(p[1:] if len(p) == 2 and p[0] == "\\" else p) for p in parts), re.S
    )


def _decoded(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        raise error("InvalidNextToken", "The specified NextToken is not valid") from None
