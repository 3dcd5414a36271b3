"""Unit files and drop-ins, as systemd reads them, and what is known of a unit's state."""

import json
import os
import re
from pathlib import Path

UNITS = [Path("/etc/systemd/system"), Path("/run/systemd/system"), Path("/lib/systemd/system")]
STATE = Path("/run/evenkeel-units")
LOG = Path("/var/log/units")
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1, "sec": 1, "second": 1, "seconds": 1, "m": 60, "min": 60, "h": 3600, "hr": 3600, "d": 86400}


class Wrong(Exception):
    """What systemctl says before it exits, with its exit status."""

    def __init__(self, message: str, status: int = 1):
        super().__init__(message)
        self.status = status


def unit_name(name: str) -> str:
    return name if re.search(r"\.(service|socket|timer|target|mount|path|slice)$", name) else f"{name}.service"


def fragment(name: str) -> Path | None:
    found = next((d / name for d in UNITS if (d / name).exists()), None)
    return found.resolve() if found else None


def drop_ins(name: str) -> list[Path]:
    """By file name over all directories, /etc winning over /lib where the names are the same."""
    files: dict[str, Path] = {}
    for directory in reversed(UNITS):
        for file in sorted((directory / f"{name}.d").glob("*.conf")):
            files[file.name] = file
    return [files[key] for key in sorted(files)]


def load(name: str, fresh: bool = False) -> dict:
    """{section: {key: [values]}}. An empty assignment forgets what was assigned before, as systemd has it."""
    kept = STATE / name / "loaded.json"
    if kept.exists() and not fresh:
        return json.loads(kept.read_text())
    main = fragment(name)
    if main is None:
        raise Wrong(f"Unit {name} not found.", 5)
    if main == Path("/dev/null"):
        raise Wrong(f"Unit {name} is masked.")
    unit: dict = {}
    for file in [main, *drop_ins(name)]:
        section = None
        text = re.sub(r"\\\n", " ", file.read_text())
        for line in text.splitlines():
            line = line.strip()
            if not line or line[0] in "#;":
                continue
            if heading := re.fullmatch(r"\[(.+)\]", line):
                section = unit.setdefault(heading[1], {})
                continue
            key, assigned, value = line.partition("=")
            if not assigned or section is None:
                raise Wrong(f"{file}: not an assignment: {line}")
            values = section.setdefault(key.strip(), [])
            if value.strip():
                values.append(value.strip().replace("%n", name).replace("%N", name.rpartition(".")[0]).replace("%%", "%"))
            else:
                values.clear()
    return unit


def one(unit: dict, section: str, key: str, otherwise: str = "") -> str:
    values = unit.get(section, {}).get(key)
    return values[-1] if values else otherwise


def words(unit: dict, section: str, key: str) -> list[str]:
    return [word for value in unit.get(section, {}).get(key, []) for word in value.split()]


def seconds(text: str) -> float:
    if text == "infinity":
        return float("inf")
    total = 0.0
    for number, word in re.findall(r"([\d.]+)\s*([a-z]*)", text):
        total += float(number) * SECONDS.get(word or "s", 1)
    return total


def read(name: str, what: str, otherwise: str = "") -> str:
    try:
        return (STATE / name / what).read_text().strip()
    except FileNotFoundError:
        return otherwise


def write(name: str, **values) -> None:
    (STATE / name).mkdir(parents=True, exist_ok=True)
    for what, value in values.items():
        partial = STATE / name / f".{what}.{os.getpid()}"
        partial.write_text(f"{value}\n")
        partial.rename(STATE / name / what)


def supervisor(name: str) -> int | None:
    pid = read(name, "supervisor")
    return int(pid) if pid and Path(f"/proc/{pid}").exists() else None


def state(name: str) -> str:
    said = read(name, "state", "inactive")
    if said in ("active", "activating", "deactivating", "reloading") and supervisor(name) is None:
        return "active" if said == "active" and read(name, "remains") else "failed"
    return said
