"""Python's share of the machine: short waits, and NVMe controllers, which are told in /run/nvme.json."""
import ctypes
import fcntl
import json
import os
import struct
import time

sleep = time.sleep
time.sleep = lambda seconds: sleep(seconds / 100)

ioctl = fcntl.ioctl


def identify(device, request, command=0, *rest):
    if request != 0xC0484E41:
        return ioctl(device, request, command, *rest)
    opcode, address, length, what = (struct.unpack_from(f, command, at)[0] for f, at in (("B", 0), ("Q", 24), ("I", 36), ("I", 40)))
    assert (len(command), opcode, length, what) == (72, 6, 4096, 1)
    with open("/run/nvme.json") as file:
        model, name = json.load(file)[os.path.basename(device.name)]
    page = bytearray(4096)
    page[24:64] = model.encode().ljust(40)
    page[3072:3104] = name.encode().ljust(32)
    ctypes.memmove(address, bytes(page), 4096)
    return command


fcntl.ioctl = identify
