"""Cameras in the running pipeline: regions, sizes and skipping of each hold for it alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from facestream.pipeline import Gallery, Pipeline
from facestream.pipeline.core.config import Settings
from facestream.pipeline.core.types import FrameResult
from facestream.pipeline.ingest.readers import expand_cameras

from tests.faces import face_clip, portrait

EVERYWHERE = [[0, 0], [1, 0], [1, 1], [0, 1]]
RIGHT = [[0.3, 0], [1, 0], [1, 1], [0.3, 1]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[FrameResult]]:
    """The results of five cameras that look at the same face, which walks from left to right."""
    pytest.importorskip("skimage")
    clip = face_clip(tmp_path_factory.mktemp("cameras") / "hall.mp4", frames=60, size=(400, 240))
    url = f"file://{clip}"
    settings = Settings().with_values(
        {
            "cameras": {
                "hall": {"url": url},
                "blind": {"url": url, "mask": [EVERYWHERE]},
                "exit": {"url": url, "watch": [RIGHT], "detect_size": 300},
                "strict": {"url": url, "recognition": {"threshold": 0.999}},
                "seldom": {"url": url, "detect_every": 7, "detector": {"min_face": 30}},
            }
        }
    )
    found: dict[str, list[FrameResult]] = {name: [] for name in settings.cameras}
    sources = [s for s in expand_cameras([], settings, {}) if not isinstance(s, str)]
    people = tmp_path_factory.mktemp("people") / "people.db"
    with Gallery(people) as gallery:
        gallery.add("Eileen Collins", portrait())
    with Pipeline(sources, settings=settings, gallery=people) as pipeline:
        for result in pipeline:
            found[result.frame.source].append(result)
    return found


def searched(results: list[FrameResult]) -> list[int]:
    return [r.frame.index for r in results if r.detected]


def test_a_camera_without_rules_is_searched_whole(results: dict[str, list[FrameResult]]) -> None:
    assert searched(results["hall"]) == list(range(60))
    assert all(len(r.faces) == 1 for r in results["hall"])


def test_what_is_masked_is_never_there(results: dict[str, list[FrameResult]]) -> None:
    assert searched(results["blind"]) == list(range(60))
    assert not any(len(r.faces) or r.tracks for r in results["blind"])


def test_a_face_is_there_once_it_is_in_the_watched_part(
    results: dict[str, list[FrameResult]],
) -> None:
    seen = {r.frame.index for r in results["exit"] if len(r.faces)}
    for hall, exit_ in zip(results["hall"], results["exit"], strict=True):
        x1, _, x2, _ = hall.faces.boxes[0]
        # At the edge half of it may be out of what is searched.
        if abs((x1 + x2) / 2 - 120) > 15:
            assert (exit_.frame.index in seen) == ((x1 + x2) / 2 > 120)
        if len(exit_.faces):
            # In pixels of the whole frame, though a small part was searched.
            assert abs(exit_.faces.boxes - hall.faces.boxes).max() < 12
    assert 10 < len(seen) < 50


def test_a_camera_can_be_searched_seldom(results: dict[str, list[FrameResult]]) -> None:
    assert searched(results["seldom"]) == list(range(0, 60, 7))


def test_names_of_cameras_are_names_of_sources(
    results: dict[str, list[FrameResult]], tmp_path: Path
) -> None:
    assert all(r.frame.source == name for name, rs in results.items() for r in rs)
    assert all(str(tmp_path.parent) not in r.frame.source for r in results["hall"])


def test_a_camera_can_be_surer_than_the_others(results: dict[str, list[FrameResult]]) -> None:
    last = {name: rs[-1].tracks[0].identity for name, rs in results.items() if rs[-1].tracks}
    assert last["hall"].name == last["seldom"].name == "Eileen Collins"
    assert (last["strict"].name, last["strict"].reason) == (None, "below_threshold")
    assert last["strict"].similarity > 0.5
