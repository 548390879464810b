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

import numpy as np
import pytest
from facestream.pipeline.cli import console
from facestream.pipeline.cli.console import clock, logging_restored, plural, set_up_logging
from facestream.pipeline.cli.progress import describe, show_progress
from facestream.pipeline.cli.signals import stopping_on_signals
from facestream.pipeline.cli.summary import SummarySink, people_table
from facestream.pipeline.core.events import FusedTemplate, Left, Moment
from facestream.pipeline.identity.decision import Thresholds
from facestream.pipeline.identity.grouping import GroupingRule
from facestream.pipeline.observability.report import Progress
from rich.console import Console
from rich.text import Text

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


def test_a_photo_is_named_where_a_video_has_a_time() -> None:
    summary = SummarySink()
    summary.event(sighting().model_copy(update={"file": "/photos/2024/party.jpg"}))
    assert "party.jpg" in shown(summary)
    assert "0:00" not in shown(summary)


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


def test_an_ambiguous_person_is_shown_with_both_names() -> None:
    summary = SummarySink()
    pair = ({"person_id": 2, "name": ":smile:"}, {"person_id": 1, "name": "[b]Ann"})
    for order in (pair, pair[::-1]):
        event = sighting().model_dump() | {"reason": "ambiguous"}
        event["candidates"] = [{**one, "similarity": 0.7} for one in order]
        summary.event(Left.model_validate(event))
    (unknown,) = summary.people()
    assert unknown.to_dict()["ambiguous"] == [{"names": (":smile:", "[b]Ann"), "sightings": 2}]
    assert "unknown (ambiguous: :smile: or [b]Ann)" in shown(summary)


def unknown(number: int, person: int, *, source: str = "a.mp4", sigma: float = 0.6) -> Left:
    """A sighting, one second long, of a person without a name; no two at the same time."""
    template = FusedTemplate(np.eye(4, dtype=np.float32)[person], np.zeros(4, np.float32), sigma)
    values = {
        "reason": "no_gallery",
        "uncertainty": sigma,
        "start": Moment.at(2 * number, 1e9),
        "end": Moment.at(2 * number + 1, 1e9),
        "picture": f"pictures/{number}.jpg",
    }
    event = sighting(track_id=number, source=source).model_copy(update=values)
    return event.with_template(template)


def test_unknown_people_are_told_apart() -> None:
    summary = SummarySink(pictures_below=Path("/out"))
    for number, (person, sigma) in enumerate([(1, 0.8), (2, 0.6), (1, 0.5), (3, 9.0)]):
        summary.event(unknown(number, person, sigma=sigma))
    summary.event(unknown(9, 2, source="b.mp4"))
    summary.event(unknown(10, 2, source="b.mp4"))
    rows = summary.grouped(GroupingRule(Thresholds(0.4, max_sigma=1.2)))
    assert [(row.group, row.source, row.count) for row in rows] == [
        (1, "a.mp4", 1),
        (1, "b.mp4", 2),
        (2, "a.mp4", 2),
        (None, "a.mp4", 1),
    ]
    assert rows[2].picture == Path("/out/pictures/2.jpg"), "the surest"
    assert rows[2].group_dict()["sighting_ids"] == ["a.mp4-0", "a.mp4-2"]
    assert [person.count for person in summary.people()] == [4, 2], "as before"
    console = Console(file=io.StringIO(), width=200)
    console.print(people_table(rows))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "person 2" in text
    assert "unknown (uncertain)" in text
    assert "Similarity" not in text, "nothing was compared"


def test_pictures_that_do_not_fit_are_listed_below_the_table() -> None:
    summary = SummarySink(pictures_below=Path("/a/rather/long/folder/of/the/results"))
    summary.event(sighting(name="Ada Lovelace").model_copy(update={"picture": "pictures/1.jpg"}))
    path = "/a/rather/long/folder/of/the/results/pictures/1.jpg"
    for width, line in ((80, f"Ada Lovelace: {path}"), (200, f" │ {path} │")):
        console = Console(file=io.StringIO(), width=width)
        console.print(people_table(summary.people()))
        assert isinstance(console.file, io.StringIO)
        assert line in console.file.getvalue()


def test_a_working_folder_that_was_deleted_does_not_cost_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = SummarySink(pictures_below=tmp_path / "seen")
    summary.event(sighting(name="Ada").model_copy(update={"picture": "1.jpg"}))
    monkeypatch.chdir(tmp_path)
    assert " seen/1.jpg " in shown(summary)
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert str(tmp_path / "seen" / "1.jpg") in shown(summary)


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
        "50/150 frames · 25.0 fps · 7 faces · 0:04 left · queues inbox 8 found 0 · dropped 2"
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


def test_the_first_signal_stops_and_a_later_one_aborts() -> None:
    stopped = threading.Event()
    before = signal.getsignal(signal.SIGTERM)
    now = [100.0]
    with stopping_on_signals(stopped.set, clock=lambda: now[0]):
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.wait(30)
        now[0] += 0.9
        os.kill(os.getpid(), signal.SIGINT)  # the same request, repeated
        now[0] += 0.2
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    try:
        with stopping_on_signals(lambda: pytest.fail("stopped")):
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


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
    assert " · 0:30 left · " in describe(now)
    assert "left" not in describe(replace(now, files=(40, 0)))


def test_names_control_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b[2J\u202eb\x9bc"
    shown = console.table("Name")
    shown.add_row(name)
    shown.add_row(Text(name))
    console.stdout().print(shown)
    console.say(name)
    with console.logging_restored():
        console.set_up_logging()
        logging.getLogger("facestream.x").warning("%s", name)
    printed = "".join(capsys.readouterr())
    assert printed.count("a\\x1b[2J\\u202eb\\x9bc") == 4
    assert not {"\x1b", "\u202e", "\x9b"} & set(printed)
