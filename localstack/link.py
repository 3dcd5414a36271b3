"""Makes the plug-in known to the virtual environment that runs this: a path, and its entry points.

An editable install does not work here: plux, LocalStack's plug-in loader, is part of the same environment, hooks
itself into setuptools, and leaves out the entry points that pyproject.toml declares.
"""

import sysconfig
import tomllib
from pathlib import Path

here = Path(__file__).resolve().parent
project = tomllib.loads((here / "pyproject.toml").read_text())["project"]
site = Path(sysconfig.get_paths()["purelib"])

(site / "evenkeel_testbed.pth").write_text(f"{here}\n")
info = site / f"evenkeel_testbed-{project['version']}.dist-info"
info.mkdir(exist_ok=True)
(info / "METADATA").write_text(
    f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
)
lines = []
for group, points in project["entry-points"].items():
    lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items()), ""]
(info / "entry_points.txt").write_text("\n".join(lines))
