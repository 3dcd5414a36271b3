"""While a test asks for lagging reads of a service, remembers what they will have to say of targets' health, which
no table holds."""

import threading
import time
from collections import deque
from typing import Callable

from .faults import faults

EVERY = 0.25

_all: dict[str, "Samples"] = {}


class Samples:
    """`look` gives the present health of everything of the service, by its key."""

    def __init__(self, service: str, look: Callable[[], dict]):
        self.service = service
        self._look = look
        self._taken: deque[tuple[float, dict]] = deque(maxlen=1000)
        self._thread: threading.Thread | None = None
        _all[service] = self

    def before(self, moment: float) -> dict | None:
        """What there was to say at that moment, or as soon after as anything was kept; None if nothing was."""
        chosen = None
        for at, sample in list(self._taken):
            if at > moment and chosen is not None:
                break
            chosen = sample
        return chosen

    def keep(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._taken.clear()
            self._thread = threading.Thread(target=self._run, name=f"{self.service}-samples", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while any(fault.get("lag") and fault["service"] == self.service for fault in faults.list()):
            self._taken.append((time.time(), self._look()))
            time.sleep(EVERY)


def keep(service: str) -> None:
    """Called when a lag of the service is switched on; ends by itself with the last of them."""
    if service in _all:
        _all[service].keep()
