"""Which searches are recorded and which recordings go, over stand-ins for CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from facestream.pipeline.detection.resident import recordings
from facestream.pipeline.detection.resident.cascade import Found

OFTEN = 3


class Graph:
    """Launches until a search came often, then replays it."""

    made: list[Graph]

    def __init__(self, launch: Callable[[Any], Any], *_: Any) -> None:
        self._launch = launch
        self._runs = 0
        self.closed = False
        Graph.made.append(self)

    @property
    def counts(self) -> SimpleNamespace:
        return SimpleNamespace(captured=int(self._runs >= OFTEN), failed=0)

    def run(self, feeds: Mapping[str, Any]) -> Any:
        self._runs += 1
        return self._launch(feeds) if self._runs >= OFTEN else None

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> recordings.Recordings:
    Graph.made = []
    monkeypatch.setattr(recordings, "Replays", Graph)
    return recordings.Recordings(torch.device("cuda"))


def search(frames: Any) -> Found:
    return Found(frames.float() + 1, frames.long())


FRAMES = torch.arange(3, dtype=torch.uint8)


def test_replays_and_launches_give_the_same(on_gpu: recordings.Recordings) -> None:
    for _ in range(2 * OFTEN):
        found = on_gpu.run("one", search, FRAMES)
        assert found.faces.tolist() == [1, 2, 3]
        assert found.needed.tolist() == [0, 1, 2]
    assert len(Graph.made) == 1


def test_many_kinds_in_turn_are_still_counted(on_gpu: recordings.Recordings) -> None:
    """More kinds than are recorded: the least recently used recordings go, and are closed."""
    kinds = range(2 * recordings._MOST)
    for _ in range(OFTEN):
        for kind in kinds:
            on_gpu.run(kind, search, FRAMES)
    assert len(Graph.made) == len(kinds)
    assert [graph.closed for graph in Graph.made] == [True] * recordings._MOST + [
        False
    ] * recordings._MOST
    on_gpu.close()
    assert all(graph.closed for graph in Graph.made)


def test_no_more_kinds_are_watched_than_that(on_gpu: recordings.Recordings) -> None:
    for kind in range(recordings._WATCHED + 5):
        on_gpu.run(kind, search, FRAMES)
    assert sum(graph.closed for graph in Graph.made) == 5


def test_on_the_cpu_nothing_is_recorded() -> None:
    cpu = recordings.Recordings(torch.device("cpu"))
    assert cpu.run("one", search, FRAMES).faces.tolist() == [1, 2, 3]
    cpu.close()
