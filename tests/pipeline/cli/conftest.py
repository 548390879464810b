"""Pictures, a clip and a gallery for the commands."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from facestream.pipeline.cli import main
from facestream.pipeline.core.types import Image

ROOT = Path(__file__).parents[3]
Run = Callable[..., tuple[int, str, str]]
LAUNCH = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); import conftest; "
    "from facestream.pipeline.cli import main; sys.exit(main())"
)


@pytest.fixture(autouse=True)
def _own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own gallery is neither read nor written."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data-home"))


@pytest.fixture(scope="session")
def portrait() -> Image:
    """Eileen Collins (NASA, public domain), 512×512 BGR."""
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut()[:, :, ::-1])


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory, portrait: Image) -> Path:
    """20 frames, 320×240, in which her face moves slowly."""
    path = tmp_path_factory.mktemp("clip") / "collins.mp4"
    write_clip(path, portrait, frames=20)
    return path


def write_clip(path: Path, portrait: Image, *, frames: int, rate: int = 25) -> None:
    """A window of 320×240 that moves over the portrait's face."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.time_base = Fraction(1, rate)
        for number in range(frames):
            left = 60 + number % 40
            window = np.ascontiguousarray(portrait[:240, left : left + 320])
            file.mux(stream.encode(av.VideoFrame.from_ndarray(window, format="bgr24")))
        file.mux(stream.encode(None))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory, portrait: Image) -> Path:
    """A folder with a portrait, two faces, none, and one file that is no picture."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "below").mkdir()
    cv2.imwrite(str(folder / "a_one.png"), portrait)
    small = cv2.resize(portrait, None, fx=0.5, fy=0.5)
    wide = np.full((512, 900, 3), 90, np.uint8)
    wide[:, :512] = portrait
    wide[:256, 600:856] = small
    cv2.imwrite(str(folder / "b_two.png"), wide)
    cv2.imwrite(str(folder / "c_none.png"), np.full((200, 300, 3), 127, np.uint8))
    (folder / "d_text.jpg").write_text("no picture")
    cv2.imwrite(str(folder / "below" / "e_one.jpg"), portrait)
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process: status, stdout, stderr."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        output = capsys.readouterr()
        return status, output.out, output.err

    return call


def start(*arguments: str | Path, cwd: Path, descriptors: int = 0) -> subprocess.Popen[str]:
    """Runs a command in a process of its own, which may open so many files; 0: as many as here."""
    limit = f"resource.setrlimit(resource.RLIMIT_NOFILE, ({descriptors}, {descriptors}))"
    code = f"import resource; {limit}; {LAUNCH}" if descriptors else LAUNCH
    command = [sys.executable, "-c", code, str(ROOT), *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def mistake(outcome: tuple[int, str, str]) -> str:
    """The one line that describes a user's mistake."""
    status, _, error = outcome
    assert status == 2, error
    assert "Traceback" not in error
    lines = error.splitlines()
    assert len(lines) == 1, error
    assert lines[0].startswith("facestream: ")
    return lines[0].removeprefix("facestream: ")
