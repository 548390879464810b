"""Several engines may be the first to use OpenVINO at the same moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import sys, threading
import conftest
from facestream.engines.cards import model_path
from facestream.engines.registry import load_engine

names = ["mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet", "vae_encoder"]
together = threading.Barrier(len(names))

def load(name):
    together.wait()
    load_engine(model_path(name))

threads = [threading.Thread(target=load, args=(name,), daemon=True) for name in names]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize("turn", range(5))
def test_engines_that_load_side_by_side_do_not_wait_for_each_other(turn: int) -> None:
    """Without the start under a lock this hung in most turns."""
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, check=True, timeout=60)
