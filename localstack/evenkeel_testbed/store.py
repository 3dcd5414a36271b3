"""What the plug-in remembers, in one JSON file that is written again after every change.

The file is replaced atomically, so a LocalStack that was killed at any moment finds a whole state when it
comes back. Each written state is also kept for a while as a snapshot: a read that has to lag behind the
writes (faults.py) answers from one.
"""

import json
import os
import threading
import time
from collections import deque
from contextlib import contextmanager
from pathlib import Path

TABLES = (
    "stacks", "layers", "apps", "instances", "deployments", "commands", "volumes", "attachments",
    "rds", "databases", "load_scaling", "time_scaling", "tags", "service_errors", "machines", "balancers", "config",
    "v2_balancers", "v2_groups", "v2_listeners", "v2_rules",
    "ec2_seeds", "ec2_instances", "ec2_tokens", "ec2_volumes", "ec2_vpcs", "ec2_subnets", "ec2_security_groups",
    "ec2_images", "ec2_key_pairs", "ec2_credentials", "ssm_parameters",
)  # fmt: skip

SNAPSHOT_SECONDS = 120


def empty() -> dict:
    return {table: {} for table in TABLES}


class Store:
    """Tables of plain dictionaries. Read and write under `lock`; every write goes through `change()`."""

    def __init__(self, path: Path):
        self.path = path
        self.lock = threading.RLock()
        self.tables = empty()
        self._depth = 0
        self._snapshots: deque[tuple[float, bytes]] = deque()
        self._parsed: tuple[float, dict] | None = None

    def load(self) -> None:
        with self.lock:
            self.tables = empty()
            if self.path.exists():
                self.tables.update(json.loads(self.path.read_bytes()))
            self._remember(json.dumps(self.tables).encode())

    @contextmanager
    def change(self):
        """Holds the lock, and persists on the way out of the outermost block, errors included."""
        with self.lock:
            self._depth += 1
            try:
                yield self.tables
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._persist()

    @contextmanager
    def read(self, lag: float = 0):
        """The tables now, or as they stood `lag` seconds ago."""
        with self.lock:
            yield self.as_of(time.time() - lag) if lag > 0 else self.tables

    def as_of(self, moment: float) -> dict:
        chosen = None
        for at, blob in self._snapshots:
            if at > moment and chosen is not None:
                break
            chosen = (at, blob)
        if chosen is None:
            return self.tables
        if self._parsed is None or self._parsed[0] != chosen[0]:
            self._parsed = (chosen[0], json.loads(chosen[1]))
        return self._parsed[1]

    def _persist(self) -> None:
        blob = json.dumps(self.tables).encode()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_bytes(blob)
        os.replace(partial, self.path)
        self._remember(blob)

    def _remember(self, blob: bytes) -> None:
        now = time.time()
        self._snapshots.append((now, blob))
        # One snapshot older than the horizon stays: it is what was true at the horizon.
        while len(self._snapshots) > 1 and self._snapshots[1][0] < now - SNAPSHOT_SECONDS:
            self._snapshots.popleft()
