"""Which searches are captured and which captures go, over a fake of torch's CUDA graphs.

The fake computes on the CPU; ``test_resident_cuda.py`` replays real graphs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import pytest

torch = pytest.importorskip("torch")

from facestream.pipeline.detection.resident import recordings
from facestream.pipeline.detection.resident.cascade import Found
from torch import Tensor

FREQUENT = 3


class FakeStream:
    def __init__(self, device: object = None) -> None: ...

    def wait_stream(self, stream: object) -> None: ...


class FakeGraph:
    """Computes again what was launched while it was captured, into the same tensors."""

    def __init__(self) -> None:
        self.work: list[Callable[[], None]] = []

    def replay(self) -> None:
        for work in self.work:
            work()


class Device:
    """A search, the graph that is being captured of it, and what was launched plainly."""

    def __init__(self) -> None:
        self.capturing: FakeGraph | None = None
        self.launches = 0
        self.fails = ""
        self.loses_work = False
        self.stream: object = None

    def search(self, frames: Tensor) -> Found:
        self.launches += 1
        found = self.compute(frames)
        if self.capturing is not None and self.loses_work:
            return Found(found.faces + 1, found.needed)
        if self.capturing is not None:
            self.capturing.work.append(lambda: self.refresh(found, frames))
        return found

    def refresh(self, found: Found, frames: Tensor) -> None:
        for old, new in zip(found, self.compute(frames), strict=True):
            old.copy_(new)

    @staticmethod
    def compute(frames: Tensor) -> Found:
        return Found(frames.float() + 1, frames.long())

    @contextmanager
    def graph(self, graph: FakeGraph, **how: object) -> Iterator[None]:
        assert how["capture_error_mode"] == "thread_local"
        self.stream = how["stream"]
        if self.fails:
            raise RuntimeError(self.fails)
        self.capturing = graph
        yield
        self.capturing = None
        self.stream = None


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    fake = Device()
    cuda = torch.cuda
    monkeypatch.setattr(cuda, "Stream", FakeStream)
    monkeypatch.setattr(cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(cuda, "graph", fake.graph)
    monkeypatch.setattr(cuda, "current_stream", lambda device=None: FakeStream())
    monkeypatch.setattr(cuda, "set_stream", lambda stream: setattr(fake, "stream", None))
    monkeypatch.setattr(cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(cuda, "synchronize", lambda device=None: None)
    monkeypatch.setattr(recordings, "FREQUENT", FREQUENT)
    return fake


@pytest.fixture
def on_gpu(device: Device) -> recordings.Recordings:
    return recordings.Recordings(torch.device("cuda"))


def frames(seed: int) -> Tensor:
    values: Tensor = torch.arange(seed, seed + 3, dtype=torch.uint8)
    return values


def same(found: Found, seed: int) -> bool:
    return all(torch.equal(a, b) for a, b in zip(found, Device.compute(frames(seed)), strict=True))


def test_replays_and_launches_give_the_same(device: Device, on_gpu: recordings.Recordings) -> None:
    for turn in range(FREQUENT):
        assert same(on_gpu.run("one", device.search, frames(turn)), turn)
        assert on_gpu.captured == (turn == FREQUENT - 1)
    launches = device.launches
    first = on_gpu.run("one", device.search, frames(10))
    assert same(on_gpu.run("one", device.search, frames(20)), 20)
    assert same(first, 10)  # not overwritten by the next
    assert device.launches == launches


def test_many_kinds_in_turn_are_still_counted(
    device: Device, on_gpu: recordings.Recordings
) -> None:
    """More kinds than are kept: the least recently used go, and have to become frequent again."""
    kinds = range(2 * recordings.MOST)
    for _ in range(FREQUENT):
        for kind in kinds:
            on_gpu.run(kind, device.search, frames(kind))
    assert on_gpu.captured == recordings.MOST
    launches = device.launches
    on_gpu.run(kinds[-1], device.search, frames(0))
    assert device.launches == launches
    on_gpu.run(kinds[0], device.search, frames(0))
    assert device.launches == launches + 1
    on_gpu.close()
    assert on_gpu.captured == 0


def test_a_kind_that_is_forgotten_is_counted_anew(
    device: Device, on_gpu: recordings.Recordings
) -> None:
    for _ in range(FREQUENT - 1):
        on_gpu.run("rare", device.search, frames(0))
    for kind in range(recordings.WATCHED):
        on_gpu.run(kind, device.search, frames(0))
    on_gpu.run("rare", device.search, frames(0))
    assert on_gpu.captured == 0


@pytest.mark.parametrize("how", ["fails", "loses_work"])
def test_a_search_that_cannot_be_captured_is_launched_and_logged_once(
    device: Device, on_gpu: recordings.Recordings, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    if how == "fails":
        device.fails = "CUDA error: operation not permitted when stream is capturing\nmore"
    else:
        device.loses_work = True
    with caplog.at_level(logging.WARNING):
        for kind in ("one", "two"):
            for turn in range(2 * FREQUENT):
                assert same(on_gpu.run(kind, device.search, frames(turn)), turn)
    assert on_gpu.captured == 0
    (record,) = caplog.records
    assert record.message.startswith("the detector runs without CUDA graphs: ")
    assert "\n" not in record.message
    assert device.stream is None  # torch leaves its own stream in place when a capture fails


def test_what_is_nowhere_in_use_may_be_anything() -> None:
    """NaN is equal to itself here: it kept every graph from being used."""
    faces = torch.tensor([[0.0, 1.0], [float("nan"), -torch.inf]])
    needed = torch.tensor([3, 2])
    assert recordings.alike(Found(faces, needed), Found(faces + 1e-3, needed))
    assert not recordings.alike(Found(faces, needed), Found(faces + 1, needed))
    assert not recordings.alike(Found(faces, needed), Found(faces, needed + 1))


def test_on_the_cpu_nothing_is_captured(device: Device) -> None:
    cpu = recordings.Recordings(torch.device("cpu"))
    for turn in range(2 * FREQUENT):
        assert same(cpu.run("one", device.search, frames(turn)), turn)
    assert cpu.captured == 0
    cpu.close()
