"""Every AWS API call that was received, newest last, so that a test can assert on what a controller did."""

import threading
import time
from collections import deque

LIMIT = 50_000
SECRET_WORDS = ("password", "secret", "sshkey", "privatekey", "token", "userdata")
# Tokens that open nothing.
HARMLESS = ("clienttoken", "nexttoken")


class Calls:
    def __init__(self):
        self._lock = threading.Lock()
        self._ring: deque[dict] = deque(maxlen=LIMIT)
        self._seq = 0

    def received(self, service: str, operation: str, region: str, request: dict) -> dict:
        with self._lock:
            self._seq += 1
            call = {
                "seq": self._seq,
                "time": time.time(),
                "service": service,
                "operation": operation,
                "region": region,
                "request": masked(request),
                "status": None,
            }
            self._ring.append(call)
            return call

    def since(self, seq: int) -> dict:
        """The calls after `seq`. A status of null means that the call has not been answered yet."""
        with self._lock:
            newer = []
            for call in reversed(self._ring):
                if call["seq"] <= seq:
                    break
                newer.append(dict(call))
            newer.reverse()
            return {"next": self._seq, "calls": newer}

    def reset(self) -> None:
        """Forgets the calls; the numbers go on, so that a reader's `since` stays right."""
        with self._lock:
            self._ring.clear()


def masked(value, key: str = ""):
    if isinstance(value, dict):
        hidden = bool(value.get("Secure")) or value.get("Type") == "SecureString"
        return {
            k: "*****" if hidden and k == "Value" else masked(v, k)
            for k, v in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [masked(item, key) for item in value]
    if isinstance(value, str) and key.lower() not in HARMLESS and any(word in key.lower() for word in SECRET_WORDS):
        return "*****"
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value)


calls = Calls()
