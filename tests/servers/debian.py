"""What the servers need from Debian."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess

import pytest

PYTHON = "/usr/bin/python3"
PACKAGES = (
    "gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly ffmpeg"
)
_PROBE = """
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
names = "qtdemux", "matroskademux", "tsdemux", "h264parse", "rtph264pay"
missing = [name for name in names if Gst.ElementFactory.find(name) is None]
raise SystemExit(f"no {missing}" if missing else 0)
"""


@functools.cache
def servers_missing() -> str:
    """Why no server can be started here, with the command that helps; empty where all is there."""
    if shutil.which("ffmpeg") is None or shutil.which(PYTHON) is None:
        return f"needs real servers: apt-get install {PACKAGES}"
    probe = subprocess.run([PYTHON, "-c", _PROBE], capture_output=True, text=True, check=False)
    if probe.returncode == 0:
        return ""
    why = (probe.stderr.strip().splitlines() or ["?"])[-1]
    return f"needs real servers: apt-get install {PACKAGES} ({why})"


def require_servers() -> None:
    """Skip the test where no server can be started, or fail where REQUIRE_SERVERS=1 says it can."""
    missing = servers_missing()
    if not missing:
        return
    if os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail(f"REQUIRE_SERVERS=1, but this {missing}")
    pytest.skip(missing)
