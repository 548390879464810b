"""Parts of the command line: the summary of people, progress, signals, numbers in words."""

from __future__ import annotations

import io
import logging
import os
import signal
import threading
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
from facestream.pipeline.cli.console import clock, logging_restored, plural, set_up_logging
from facestream.pipeline.cli.progress import describe, show_progress
from facestream.pipeline.cli.signals import stopping_on_signals
from facestream.pipeline.cli.summary import SummarySink, people_table
from facestream.pipeline.core.events import Moment
from facestream.pipeline.observability.report import Progress
from rich.console import Console

from tests.pipeline.tracks import picture, sighting


def shown(summary: SummarySink) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(people_table(summary.people()))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_summary_gathers_people_and_lists_known_ones_first() -> None:
    summary = SummarySink(pictures_below=Path("/out"))
    for number, (start, end) in enumerate([(0, 5), (60, 61), (70, 71), (3600, 3725)]):
        event = sighting(track_id=number, name="Ada")
        event = event.model_copy(
            update={
                "start": Moment.at(start, 1e9),
                "end": Moment.at(end, 1e9),
                "similarity": 0.5 + number / 10,
                "picture": f"pictures/{number}.jpg",
            }
        )
        summary.event(event)
    for number in range(3):
        summary.event(sighting(track_id=10 + number))
    ada, unknown = summary.people()
    assert (ada.name, ada.count, ada.best.similarity) == ("Ada", 4, 0.8)
    assert ada.picture == Path("/out/pictures/3.jpg"), "the picture of the surest sighting"
    assert ada.seconds == 132
    assert (unknown.name, unknown.count, unknown.reasons) == ("unknown", 3, {"below_threshold": 3})
    text = shown(summary)
    assert "0:00–0:05, 1:00–1:01," in text
    assert "and 1 more" in text
    assert "unknown (below threshold)" in text
    assert "Source" not in text, "one source needs no column"


@pytest.mark.parametrize("pictures", ["kept", "not kept"])
@pytest.mark.parametrize("order", list(permutations((0.5, 0.9, 0.2))))
def test_the_surest_sighting_is_shown_with_and_without_pictures(
    pictures: str, order: tuple[float, ...]
) -> None:
    summary = SummarySink()
    for number, similarity in enumerate(order):
        values = {
            "similarity": similarity,
            "uncertainty": 1 - similarity,
            "picture": f"{similarity}.jpg" if pictures == "kept" else None,
        }
        summary.event(sighting(track_id=number, name="Ada").model_copy(update=values))
    (ada,) = summary.people()
    assert ada.best.similarity == 0.9
    assert ada.best.uncertainty == pytest.approx(0.1)
    assert ada.picture == (Path("0.9.jpg") if pictures == "kept" else None)
    text = shown(summary)
    assert "0.90" in text
    assert "0.10" in text


def test_the_summary_keeps_no_pictures_in_memory() -> None:
    summary = SummarySink()
    summary.event(sighting(name="Ada").with_image(picture()))
    assert summary.people()[0].best.image is None


def test_names_are_not_taken_for_markup() -> None:
    summary = SummarySink()
    summary.event(sighting(name="[red]Ada[/red]", source="a[b].mp4"))
    summary.event(sighting(name="Bob", source="c.mp4"))
    text = shown(summary)
    assert "[red]Ada[/red]" in text
    assert "a[b].mp4" in text


def test_nobody_was_seen() -> None:
    assert people_table([]) == "Nobody was seen."
    brief = "13 faces, each seen too briefly (fewer than tracking.min_faces times)."
    assert people_table([], faces=13) == brief


def snapshot() -> Progress:
    return Progress(
        frames=50,
        total=150,
        faces=7,
        dropped=2,
        fps=25.0,
        queues={"inbox": 8, "found": 0},
        source="a.mp4",
    )


def test_progress_in_words() -> None:
    assert describe(snapshot()) == (
        "50/150 frames · 25.0 fps · 7 faces · queues inbox 8 found 0 · dropped 2 · 0:04 left"
    )


def test_without_a_terminal_progress_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "facestream")
    asked = threading.Event()

    def ask() -> Progress:
        asked.set()
        return snapshot()

    with show_progress(ask, every=0.001):
        assert asked.wait(30)
    assert "50/150 frames" in caplog.text
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


def test_the_first_signal_stops_and_the_second_aborts() -> None:
    stopped = threading.Event()
    before = signal.getsignal(signal.SIGTERM)
    with stopping_on_signals(stopped.set):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.wait(30)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_signals_are_left_alone_outside_the_main_thread() -> None:
    problems: list[BaseException] = []

    def work() -> None:
        try:
            with stopping_on_signals(lambda: None):
                pass
        except ValueError as error:
            problems.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert problems == []


def test_logging_is_as_before_when_the_command_ends() -> None:
    logger = logging.getLogger("facestream")
    before = (list(logger.handlers), logger.propagate, logger.level)
    with logging_restored():
        set_up_logging(debug=True)
        assert logger.level == logging.DEBUG
    assert (list(logger.handlers), logger.propagate, logger.level) == before


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.9, "0:00"), (7, "0:07"), (754, "12:34"), (3723, "1:02:03")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_plural() -> None:
    assert [plural(n, "face") for n in (0, 1, 1200)] == ["0 faces", "1 face", "1,200 faces"]


def test_progress_over_many_files_goes_by_the_files() -> None:
    now = replace(snapshot(), total=None, frames=100, fps=10.0, files=(40, 10))
    assert describe(now).startswith("10/40 files · 100 frames · 10.0 fps")
    assert describe(now).endswith("0:30 left")
    assert "left" not in describe(replace(now, files=(40, 0)))
