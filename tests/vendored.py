"""Fetches the scripts of others that the page and its tests have, as ``vendor.json`` names them.

`make vendor` runs this file, which needs npm. For another version change ``vendor.json``: the run
says which hashes do not fit, and with ``--accept`` takes them over.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LISTS = (
    ROOT / "pipeline" / "server" / "page" / "static" / "vendor" / "vendor.json",
    ROOT / "tests" / "pipeline" / "server" / "axe" / "vendor.json",
)


def fetch(listed: Path, *, accept: bool) -> list[str]:
    """Write the files of a list beside it; returns what does not fit."""
    entries = json.loads(listed.read_text(encoding="utf-8"))
    wrong = []
    for entry in entries:
        with tempfile.TemporaryDirectory() as folder:
            package = f"{entry['package']}@{entry['version']}"
            subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True)
            with tarfile.open(next(Path(folder).glob("*.tgz"))) as packed:
                for name, one in entry["files"].items():
                    member = packed.extractfile(one["from"])
                    assert member is not None
                    content = member.read()
                    found = hashlib.sha256(content).hexdigest()
                    if accept:
                        one["sha256"] = found
                    elif found != one["sha256"]:
                        wrong.append(f"{listed.parent / name}: sha256 {found}")
                        continue
                    (listed.parent / name).write_bytes(content)
    if accept:
        listed.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    return wrong


if __name__ == "__main__":
    problems = [one for listed in LISTS for one in fetch(listed, accept="--accept" in sys.argv)]
    sys.exit("\n".join(problems) or 0)
