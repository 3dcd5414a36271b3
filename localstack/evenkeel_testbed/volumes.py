"""EBS volumes: a sparse file of the declared size behind a loop device."""

import fcntl
import glob
import os
import struct
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


def grow(file: Path, size_gib: int) -> None:
    """Makes the volume larger under whoever uses it: the device has the new size at once, the file system does not."""
    os.truncate(file, size_gib << 30)
    device = attached(file)
    if device:
        _losetup("--set-capacity", device)


# FS_IOC_SHUTDOWN of ext4 and XFS, without a last flush (EXT4_GOING_FLAGS_NOLOGFLUSH).
SHUT_DOWN, AT_ONCE = 0x8004587D, 2


def sever(file: Path, device: str) -> None:
    """Takes the volume from under a mounted file system, which has only I/O errors for its users from then on. The old
    device lasts until it is unmounted; so that it never meets the volume again, that is a copy in the file's place."""
    number = os.stat(device).st_rdev
    for process in glob.glob("/proc/[0-9]*"):
        mounted = _mounted(process, f"{os.major(number)}:{os.minor(number)}")
        if mounted:
            handle = os.open(f"{process}/root{mounted}", os.O_RDONLY)
            try:
                fcntl.ioctl(handle, SHUT_DOWN, struct.pack("I", AT_ONCE))
            finally:
                os.close(handle)
            break
    copy = file.with_suffix(".copy")
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(file), str(copy)], check=True)
    _losetup("--detach", device)
    os.replace(copy, file)


def _mounted(process: str, number: str) -> str | None:
    """Where the device is mounted in the process's view of the file system."""
    try:
        with open(f"{process}/mountinfo") as table:
            fields = next((line.split() for line in table if line.split()[2] == number), None)
    except OSError:
        return None
    return fields and fields[4].encode().decode("unicode_escape")


def delete(file: Path) -> None:
    if file.exists():
        detach(file)
        file.unlink(missing_ok=True)


def _losetup(*arguments: str) -> str:
    done = subprocess.run(["losetup", *arguments], capture_output=True, text=True, timeout=20)
    if done.returncode != 0:
        raise RuntimeError(f"losetup {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()
