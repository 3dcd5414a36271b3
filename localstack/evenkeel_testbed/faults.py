"""Faults that a test switches on: errors, hangs, calls of unknown outcome, reads that lag behind writes, short pages."""

import itertools
import json
import threading
from fnmatch import fnmatchcase

STATUS = {
    "InternalFailure": 500,
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
    "RequestLimitExceeded": 503,
    "InternalError": 500,
    "InsufficientInstanceCapacity": 500,
    "Unavailable": 503,
    "AccessDenied": 403,
    "UnauthorizedOperation": 403,
}
# Of these, one at least: what it does.
DOES = {"error", "delay", "lag", "page"}
KEYS = DOES | {"service", "operation", "region", "match", "status", "message", "times", "every", "after"}


class Faults:
    def __init__(self):
        self._lock = threading.Lock()
        self._faults: dict[int, dict] = {}
        self._ids = itertools.count(1)

    def add(self, fault: dict) -> int:
        """Raises ValueError for a fault that could never do anything."""
        unknown = set(fault) - KEYS
        if unknown:
            raise ValueError(f"unknown keys {sorted(unknown)}; known are {sorted(KEYS)}")
        if not fault.get("service"):
            raise ValueError("a fault needs a service, such as opsworks, elb or machine")
        if not any(fault.get(key) for key in DOES):
            raise ValueError("a fault needs an error, a delay, a lag or a page")
        if not isinstance(fault.get("every", 1), int) or fault.get("every", 1) < 1:
            raise ValueError("every is a whole number from 1 on: the fault meets one call of so many")
        with self._lock:
            fault_id = next(self._ids)
            defaults = {"operation": "*", "times": None, "every": 1, "after": False}
            self._faults[fault_id] = {**defaults, **fault, "id": fault_id, "calls": 0, "hits": 0}
            return fault_id

    def list(self) -> list[dict]:
        with self._lock:
            return [dict(fault) for fault in self._faults.values()]

    def remove(self, fault_id: int | None = None) -> None:
        with self._lock:
            if fault_id is None:
                self._faults.clear()
            else:
                self._faults.pop(fault_id, None)

    def take(self, service: str, operation: str, region: str, request) -> dict | None:
        """The first fault that fits this call and whose turn it is, counted as used once."""
        with self._lock:
            for fault in self._faults.values():
                if fault.get("lag") or fault.get("page") or not self._fits(fault, service, operation, region, request):
                    continue
                fault["calls"] += 1
                if (fault["calls"] - 1) % fault["every"]:
                    continue
                fault["hits"] += 1
                if fault["times"] is not None and fault["hits"] >= fault["times"]:
                    del self._faults[fault["id"]]
                return dict(fault)
        return None

    def lag(self, service: str, region: str) -> float:
        return max(self._lasting("lag", service, region), default=0)

    def page(self, service: str, region: str) -> int | None:
        """So many records a page at most, whatever was asked for."""
        return min(self._lasting("page", service, region), default=None)

    def _lasting(self, key: str, service: str, region: str) -> list:
        with self._lock:
            return [
                fault[key]
                for fault in self._faults.values()
                if fault.get(key) and fault["service"] == service and fault.get("region") in (None, region)
            ]

    @staticmethod
    def _fits(fault: dict, service: str, operation: str, region: str, request) -> bool:
        return (
            fault["service"] == service
            and fnmatchcase(operation, fault["operation"])
            and fault.get("region") in (None, region)
            and (not fault.get("match") or fault["match"] in json.dumps(request, default=str))
        )


def code_status_message(fault: dict) -> tuple[str, int, str]:
    code = fault["error"]
    return code, fault.get("status") or STATUS.get(code, 400), fault.get("message") or MESSAGES.get(code, code)


MESSAGES = {
    "ThrottlingException": "Rate exceeded",
    "Throttling": "Rate exceeded",
    "RequestLimitExceeded": "Request limit exceeded.",
    "AccessDeniedException": "User is not authorized to perform this operation",
    "AccessDenied": "User is not authorized to perform this operation",
    "UnauthorizedOperation": "You are not authorized to perform this operation.",
    "InsufficientInstanceCapacity": "We currently do not have sufficient capacity in the Availability Zone you requested.",
    "InternalFailure": "The request processing has failed because of an unknown error.",
    "ServiceUnavailable": "The request has failed due to a temporary failure of the server.",
}

faults = Faults()
lag = faults.lag
