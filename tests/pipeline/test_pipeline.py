"""The whole pipeline over real files with the real networks, and what happens when it breaks."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facestream.engines.errors import InferenceError
from facestream.pipeline import Event, FaceAnalyzer, Gallery, Left, Pipeline, Settings, Sink
from facestream.pipeline.core.errors import GalleryError, ModelMismatch, SourceError, StageFailed
from facestream.pipeline.core.types import FrameResult
from facestream.pipeline.detection.mtcnn.detector import Mtcnn

from tests.faces import face_clip, portrait, portrait_path
from tests.media import make_clip, truncate


class Collector(Sink):
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.frames: list[tuple[str, int]] = []
        self.sightings: list[Left] = []
        self.ended: list[str] = []
        self.closed = 0

    def write(self, result: FrameResult) -> None:
        self.frames.append((result.frame.source, result.frame.index))

    def event(self, event: Event) -> None:
        if isinstance(event, Left):
            self.sightings.append(event)

    def source_ended(self, source: str) -> None:
        self.ended.append(source)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return face_clip(tmp_path_factory.mktemp("clip") / "walk.mp4", frames=30)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gallery") / "people.db"
    with Gallery(path) as gallery:
        (added,) = gallery.add("Eileen Collins", portrait_path())
        assert added.accepted
    return path


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    yield
    left = [t.name for t in threading.enumerate() if t.name.startswith("facestream-")]
    assert left == []


def test_a_clip_becomes_who_was_seen_and_when(clip: Path, people: Path) -> None:
    sink = Collector()
    with Pipeline([clip], gallery=people, sinks=[sink]) as pipeline:
        results = list(pipeline)
        report = pipeline.report()
    assert [r.frame.index for r in results] == list(range(30))
    # A second look, a tenth of a second later, confirms the name.
    assert [r.tracks[0].identity.reason for r in results[:3]] == ["pending"] * 3
    assert all(r.tracks[0].identity.name == "Eileen Collins" for r in results[3:])
    (seen,) = sink.sightings
    assert (seen.name, seen.reason, seen.faces) == ("Eileen Collins", None, 30)
    assert seen.similarity > 0.8
    assert seen.start.pts == 0
    assert seen.end.pts == pytest.approx(29 / 25, abs=1e-3)
    assert seen.start.utc is not None
    assert seen.end.utc is not None
    assert (seen.end.utc - seen.start.utc).total_seconds() == pytest.approx(29 / 25, abs=1e-3)
    assert seen.uncertainty is not None
    assert seen.uncertainty > 0
    assert seen.image is not None
    assert sink.closed == 1
    assert sink.ended == [str(clip)]
    assert (report.frames, report.faces, report.sightings) == (30, 30, 1)
    assert report.sources[0].expected == 30
    assert report.problems == ()
    assert not report.interrupted
    assert report.first_result_seconds is not None
    assert set(report.stages) == {"detect", "recognise"}
    assert report.stages["detect"].frames == 30
    assert list(report.queues) == ["inbox", "found", "results"]


def test_without_a_gallery_everybody_is_unknown(clip: Path) -> None:
    sink = Collector()
    with Pipeline([clip], sinks=[sink]) as pipeline:
        pipeline.run()
    assert [(s.name, s.reason) for s in sink.sightings] == [("unknown", "no_gallery")]


def test_sparse_detection_follows_the_face_in_between(clip: Path, people: Path) -> None:
    settings = Settings().with_values({"tracking.detect_every": 4})
    with Pipeline([clip], gallery=people, settings=settings) as pipeline:
        results = list(pipeline)
    assert [r.detected for r in results] == [i % 4 == 0 for i in range(30)]
    assert {t.track_id for r in results for t in r.tracks} == {1}
    assert all(len(r.tracks) == 1 for r in results)


def test_several_sources_keep_their_order_and_their_tracks(clip: Path, tmp_path: Path) -> None:
    other = face_clip(tmp_path / "other.mkv", frames=12)
    sink = Collector()
    with Pipeline([clip, other], sinks=[sink]) as pipeline:
        report = pipeline.run()
    for source, count in ((clip, 30), (other, 12)):
        assert [i for name, i in sink.frames if name == str(source)] == list(range(count))
    assert len({s.track_id for s in sink.sightings}) == 2
    assert sink.ended == [str(clip), str(other)]
    assert [s.frames for s in report.sources] == [30, 12]


def test_photos_are_looked_at_one_by_one(tmp_path: Path, people: Path) -> None:
    for number in range(3):
        picture = np.roll(portrait(), number * 10, axis=1)
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    sink = Collector()
    with Pipeline([tmp_path], gallery=people, sinks=[sink]) as pipeline:
        pipeline.run()
    assert [s.name for s in sink.sightings] == ["Eileen Collins"] * 3
    assert [s.file for s in sink.sightings] == [str(tmp_path / f"{n}.png") for n in range(3)]
    assert len({s.track_id for s in sink.sightings}) == 3


def test_a_bad_source_does_not_stop_the_others(clip: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.mp4"
    text.write_text("this is not a video")
    with Pipeline([tmp_path / "missing.mp4", text, clip]) as pipeline:
        report = pipeline.run()
    assert report.frames == 30
    assert len(report.problems) == 2
    assert {s.name: s.opened for s in report.sources}[str(clip)]
    assert any("missing.mp4" in line for line in report.problems)
    assert any("text.mp4" in line for line in report.problems)


def test_no_source_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"missing\.mp4"):
        Pipeline([tmp_path / "missing.mp4"])
    with pytest.raises(SourceError, match="no sources"):
        Pipeline([])


def test_a_truncated_video_gives_what_decodes(tmp_path: Path) -> None:
    path = face_clip(tmp_path / "cut.mkv", frames=40)
    truncate(path, 0.6)
    sink = Collector()
    with Pipeline([path], sinks=[sink]) as pipeline:
        report = pipeline.run()
    assert 0 < report.frames < 40
    assert len(sink.sightings) == 1
    assert report.problems != ()


def test_a_size_that_changes_midway_is_followed(tmp_path: Path) -> None:
    from tests.media import join_clips

    parts = [
        face_clip(tmp_path / "a.ts", frames=10, size=(320, 240)),
        face_clip(tmp_path / "b.ts", frames=10, size=(400, 300)),
    ]
    joined = join_clips(tmp_path / "joined.ts", parts)
    with Pipeline([joined]) as pipeline:
        sizes = [r.frame.image.shape[:2] for r in pipeline]
    assert set(sizes) == {(240, 320), (300, 400)}


def test_a_sink_that_raises_ends_the_run_and_is_named(clip: Path) -> None:
    class Full(Collector):
        def write(self, result: FrameResult) -> None:
            super().write(result)
            if result.frame.index == 5:
                raise OSError("no space left")

    sink, other = Full(), Collector()
    with (
        Pipeline([clip], sinks=[sink, other]) as pipeline,
        pytest.raises(StageFailed, match=r"stage 'Full' failed: OSError: no space left") as caught,
    ):
        pipeline.run()
    assert caught.value.stage == "Full"
    assert isinstance(caught.value.__cause__, OSError)
    assert (sink.closed, other.closed) == (1, 1)


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception, *, at: int) -> None:
    """The detector raises in its ``at``-th call."""
    real, calls = Mtcnn.detect_batch, []

    def detect_batch(self: Mtcnn, images: Any) -> Any:
        calls.append(len(images))
        if len(calls) == at:
            raise error
        return real(self, images)

    monkeypatch.setattr(Mtcnn, "detect_batch", detect_batch)


def test_an_engine_that_raises_ends_the_run_and_is_named(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, InferenceError("out of memory"), at=3)
    sink = Collector()
    with (
        Pipeline([clip], sinks=[sink]) as pipeline,
        pytest.raises(StageFailed, match="stage 'detect' failed: InferenceError: out of memory"),
    ):
        pipeline.run()
    assert sink.closed == 1


def test_a_batch_that_raises_once_is_searched_frame_by_frame(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, RuntimeError("a strange shape"), at=3)
    with Pipeline([clip]) as pipeline:
        report = pipeline.run()
    assert (report.frames, report.faces, report.dropped, report.problems) == (30, 30, {}, ())


def test_sinks_are_closed_once_however_a_run_ends(clip: Path, tmp_path: Path) -> None:
    ran, unused, refused = Collector(), Collector(), Collector()
    pipeline = Pipeline([clip], sinks=[ran])
    pipeline.run()
    pipeline.close()
    pipeline.close()
    with Pipeline([clip], sinks=[unused]):
        assert unused.closed == 0
    with pytest.raises(SourceError):
        Pipeline([tmp_path / "missing.mp4"], sinks=[refused])
    assert (ran.closed, unused.closed, refused.closed) == (1, 1, 1)


def test_networks_that_are_lent_stay_usable(clip: Path) -> None:
    with FaceAnalyzer(Settings()) as analyzer:
        for _ in range(2):  # as a service does when its cameras change
            with Pipeline([clip], sinks=[], analyzer=analyzer) as pipeline:
                assert pipeline.run().faces == 30
        assert len(analyzer.analyze(portrait()).faces) == 1


def test_leaving_the_loop_early_ends_the_run(clip: Path) -> None:
    sink = Collector()
    with Pipeline([clip], sinks=[sink]) as pipeline:
        for result in pipeline:
            if result.frame.index == 3:
                break
    assert sink.closed == 1
    assert sink.frames[-1][1] == 3


def test_a_stop_processes_what_was_read(tmp_path: Path, people: Path) -> None:
    path = face_clip(tmp_path / "long.mp4", frames=150)
    sink = Collector()
    with Pipeline([path], gallery=people, sinks=[sink]) as pipeline:
        for result in pipeline:
            if result.frame.index == 10:
                pipeline.stop()
        report = pipeline.report()
    assert report.interrupted
    assert 10 < report.frames < 150
    assert [i for _, i in sink.frames] == list(range(report.frames))
    assert [s.faces for s in sink.sightings] == [report.frames]


def test_a_pipeline_that_is_never_run_can_be_closed(clip: Path) -> None:
    with Pipeline([clip]) as pipeline:
        assert pipeline.report().frames == 0
        assert pipeline.progress().frames == 0


def test_a_pipeline_runs_once(clip: Path) -> None:
    with Pipeline([clip]) as pipeline:
        pipeline.run()
        with pytest.raises(RuntimeError, match="runs once"):
            pipeline.run()


def test_a_gallery_of_another_model_is_refused(clip: Path, people: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.db"
    foreign.write_bytes(people.read_bytes())
    with closing(sqlite3.connect(foreign)) as database:
        database.execute("UPDATE templates SET model_id = 'another-model-1'")
        database.execute("UPDATE meta SET value = 'another-model-1' WHERE key = 'model_id'")
        database.commit()
    with pytest.raises(ModelMismatch, match="gallery re-embed"):
        Pipeline([clip], gallery=foreign)


def test_a_missing_gallery_is_an_error(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="nobody"):
        Pipeline([clip], gallery=tmp_path / "nobody.db")


def test_progress_counts_up_to_the_total(clip: Path) -> None:
    with Pipeline([clip]) as pipeline:
        seen = [pipeline.progress() for _ in pipeline]
    assert [p.frames for p in seen] == list(range(1, 31))
    assert seen[-1].total == 30
    assert seen[-1].source == str(clip)


def test_frames_without_faces_are_results_too(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "empty.mp4", frames=8)
    with Pipeline([path]) as pipeline:
        results = list(pipeline)
    assert [len(r.faces) for r in results] == [0] * 8
    assert all(r.detected for r in results)


def test_results_are_frozen(clip: Path) -> None:
    with Pipeline([clip]) as pipeline:
        result = next(iter(pipeline))
    with pytest.raises(AttributeError):
        result.detected = False  # type: ignore[misc]
    assert replace(result, detected=False).detected is False


def test_a_report_after_the_end_loads_no_networks(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Pipeline([clip]) as pipeline:
        pipeline.run()
    monkeypatch.setattr("facestream.pipeline.analysis.open_detector", pytest.fail)
    monkeypatch.setattr("facestream.pipeline.analysis.Encoder", pytest.fail)
    assert pipeline.report().backends.keys() == {"detector", "encoder"}
