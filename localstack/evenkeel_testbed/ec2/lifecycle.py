"""What EC2 does when LocalStack starts: it goes on where a LocalStack that was killed had left it."""

import threading

from . import devices, life, metadata, status


def start() -> None:
    metadata.start()
    life.resume()
    devices.resume()
    threading.Thread(target=status.watch, name="status-checks", daemon=True).start()
