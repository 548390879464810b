"""Sources of other packages: the one of docs/extending.md, and entry points that cannot be used."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline import Pipeline
from facestream.pipeline.core.config import Settings
from facestream.pipeline.core.errors import SourceError
from facestream.pipeline.core.types import Frame, Image
from facestream.pipeline.sources import BaseSource, SourceSpec, expand_sources

from tests.media import levels, picture
from tests.pipeline.ingest.loopback import watching

DOCUMENT = Path(__file__).parents[3] / "docs" / "extending.md"
Install = Callable[[str, str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a module as pip would, with one entry point: scheme, object, content."""
    folder = tmp_path / "site-packages"

    def to_folder(scheme: str, target: str, content: str) -> None:
        module = target.partition(":")[0]
        metadata = folder / f"{module}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (folder / f"{module}.py").write_text(content, encoding="utf-8")
        (metadata / "METADATA").write_text(f"Name: {module}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[facestream.sources]\n{scheme} = {target}\n")
        monkeypatch.syspath_prepend(folder)

    before = set(sys.modules)
    yield to_folder
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def documented(language: str) -> str:
    """The section's block of code in this language."""
    section = DOCUMENT.read_text(encoding="utf-8").split("## A custom source")[1]
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def arrays(tmp_path: Path, install: Install) -> Path:
    """A folder of 12 arrays, one of them damaged, and the documented package installed."""
    registration = documented("toml")
    assert '[project.entry-points."facestream.sources"]' in registration
    scheme, _, target = registration.splitlines()[1].partition(" = ")
    install(scheme, target.strip('"'), documented("python"))
    folder = tmp_path / "take 1"
    folder.mkdir()
    for number in range(12):
        np.save(folder / f"{number:02}.npy", picture(number, (64, 48)))
    (folder / "05.npy").write_bytes(b"no array")
    return folder


def test_the_documented_source_runs_through_a_pipeline(arrays: Path) -> None:
    url = f"npy://{arrays}?fps=10"
    with Pipeline([url]) as pipeline:
        frames = [result.frame for result in pipeline]
        report = pipeline.report()
    assert [frame.index for frame in frames] == list(range(11))
    assert [frame.pts for frame in frames] == pytest.approx([n / 10 for n in range(11)])
    shown = [n for n in range(12) if n != 5]
    assert levels(f.image for f in frames) == levels(picture(n, (64, 48)) for n in shown)
    (source,) = report.sources
    assert {frame.source for frame in frames} == {source.name}
    assert (source.frames, source.expected, source.corrupt) == (11, 12, 1)
    assert source.problem is not None
    assert "05.npy" in source.problem
    assert source.state is None  # it is read like a file


def test_the_documented_source_skips_and_stops_like_others(arrays: Path) -> None:
    settings = Settings().with_values(
        {"tracking": {"detect_every": 4}, "runtime": {"max_frames": 9}}
    )
    with Pipeline([f"npy://{arrays}"], settings=settings, frames="searched") as pipeline:
        indexes = [result.frame.index for result in pipeline]
        report = pipeline.report()
    assert indexes == [0, 4, 8]
    assert (report.frames, report.skipped) == (9, 6)


def test_the_documented_source_says_what_is_missing(arrays: Path, tmp_path: Path) -> None:
    with Pipeline([f"npy://{tmp_path}"]) as pipeline:
        report = pipeline.run()
    assert "there is no .npy file in" in report.problems[0]


LIVE = """
import time

import numpy as np
from facestream.pipeline.sources import BaseSource


class Live(BaseSource):
    live = True
    opened = 0

    def images(self):
        type(self).opened += 1
        for number in range(5):
            yield None, np.full((16, 24, 3), number, np.uint8)
            time.sleep(0.03)  # slower than the reader: nothing is dropped
        if self.opened == 3:
            self.options.halt.wait()
"""


def test_a_live_source_is_opened_again(install: Install) -> None:
    install("pattern", "live_source:Live", LIVE)
    (spec,) = expand_sources(["pattern://x"])
    assert spec.live
    with watching(spec) as watched:
        watched.until(lambda: len(watched.frames) == 15)
        assert watched.reader.state.restarts == 2
    assert [frame.index for frame in watched.frames] == list(range(15))
    assert all(isinstance(frame, Frame) for frame in watched.frames)


class Flat(BaseSource):
    live = True

    def images(self) -> Iterator[tuple[float | None, Image]]:
        yield None, np.zeros((8, 8), np.uint8)


def test_a_picture_of_another_shape_is_the_sources_failure_not_the_workers() -> None:
    spec = SourceSpec("url", "flat://x", "flat")
    with watching(spec, opener=Flat) as watched:
        watched.thread.join(10)
    assert watched.states[-1] == "failed"
    with pytest.raises(ValueError, match="must be H×W×3 uint8"):
        list(Flat(spec).pictures())
    with pytest.raises(ValueError, match="image must be"):
        list(Flat(spec))


@pytest.mark.parametrize(
    ("target", "content", "message"),
    [
        (
            "broken:Source",
            "import no_such_module",
            r"^the source 'odd' \(broken:Source\) cannot be loaded: ModuleNotFoundError",
        ),
        ("plain:Source", "Source = 7", r"^the source 'odd' \(plain:Source\) is not callable$"),
    ],
)
def test_an_entry_point_that_cannot_be_used_is_one_line(
    install: Install, *, target: str, content: str, message: str
) -> None:
    install("odd", target, content)
    with pytest.raises(SourceError, match=message) as caught:
        expand_sources(["odd://x"])
    assert caught.value.retry == "never"
    assert "\n" not in str(caught.value)


def test_entry_points_are_not_loaded_for_ffmpegs_schemes(install: Install) -> None:
    install("rtsp", "greedy:Source", "raise RuntimeError")
    (spec,) = expand_sources(["rtsp://door/x"])
    assert (spec.kind, spec.live) == ("url", True)
