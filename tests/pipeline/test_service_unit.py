"""The systemd unit in the documentation is one that systemd takes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "cameras.md"


def test_the_unit_is_valid_and_keeps_files_private(tmp_path: Path) -> None:
    found = re.search(
        r"```ini\n(# /etc/systemd.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL
    )
    assert found is not None
    unit = found[1]
    for line in ("UMask=0077", "StateDirectoryMode=0700", "NoNewPrivileges=yes", "PrivateTmp=yes"):
        assert f"\n{line}\n" in unit
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    file = tmp_path / "facestream.service"
    file.write_text(unit.replace("/opt/facestream/bin/facestream", "/bin/true"))
    command = ["systemd-analyze", "verify", str(file)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "facestream.service" not in ran.stderr, ran.stderr
