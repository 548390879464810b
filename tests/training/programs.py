"""``facestream-train`` as a real process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# A job in the background of a shell inherits that Ctrl-C is ignored; a terminal's program does not.
CODE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
import conftest
from facestream.training.cli import main
main()
"""


def start(*arguments: object) -> subprocess.Popen[str]:
    """The command in a process group of its own, as a terminal would start it."""
    return subprocess.Popen(
        [sys.executable, "-c", CODE, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
