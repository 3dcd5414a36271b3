"""EBS volumes: a sparse file of the declared size behind a loop device."""

import os
import subprocess
from pathlib import Path

from . import paths


def create(ec2_volume_id: str, size_gib: int) -> Path:
    """The backing file; a 120 GiB volume takes a few megabytes until it is written to."""
    paths.VOLUMES.mkdir(parents=True, exist_ok=True)
    file = paths.VOLUMES / ec2_volume_id
    with open(file, "ab") as handle:
        os.truncate(handle.fileno(), size_gib << 30)
    return file


def attach(file: Path) -> str:
    """The loop device of the file. Attaching twice gives the same device: a volume has one."""
    return attached(file) or _losetup("--find", "--show", str(file))


def attached(file: Path) -> str | None:
    lines = _losetup("--associated", str(file), "--noheadings", "--output", "NAME").split()
    return lines[0] if lines else None


def detach(file: Path) -> None:
    device = attached(file)
    if device:
        _losetup("--detach", device)


def delete(file: Path) -> None:
    if file.exists():
        detach(file)
        file.unlink(missing_ok=True)


def _losetup(*arguments: str) -> str:
    done = subprocess.run(["losetup", *arguments], capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        raise RuntimeError(f"losetup {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()
