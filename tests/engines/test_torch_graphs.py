"""Which CUDA graphs of torch are captured and replayed, over a fake of what torch has for them.

The fake computes on the CPU; ``test_gpu.py`` replays real graphs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from facestream.engines.base import TensorSpec
from facestream.engines.options import EngineOptions, ImageInput, ShapeRange
from facestream.engines.torch_cuda import Replays, Tensors

X = TensorSpec("x", (None, 3, 2, 2), np.dtype(np.float32))
Y = TensorSpec("y", (None, 2), np.dtype(np.float32))
SHAPES = ShapeRange((1, 3, 2, 2), (4, 3, 2, 2), (16, 3, 2, 2), (1, 4, 16))
OPTIONS = EngineOptions(shapes=SHAPES)
OFTEN = EngineOptions(static_shapes=True, max_shapes=2)


class FakeStream:
    def __init__(self, device: object = None) -> None: ...

    def wait_event(self, event: object) -> None: ...

    def wait_stream(self, stream: object) -> None: ...


class FakeEvent:
    def record(self, stream: object) -> None: ...

    def synchronize(self) -> None: ...


class FakeGraph:
    """Computes again what was launched while it was captured, into the same tensors."""

    def __init__(self) -> None:
        self.work: list[Callable[[], None]] = []

    def replay(self) -> None:
        for work in self.work:
            work()


class Device:
    """A network, the graphs that are being captured of it, and what was launched plainly."""

    def __init__(self) -> None:
        self.capturing: FakeGraph | None = None
        self.foreign = False
        self.launches = 0
        self.fails = ""
        self.forgets = False
        self.stream: object = None

    def launch(self, feeds: Any) -> Tensors:
        self.launches += 1
        x = feeds["x"]
        result = self.compute(x)
        if self.capturing is not None and self.forgets:
            result = result + 1  # what a graph without the work would leave there
        elif self.capturing is not None:
            self.capturing.work.append(lambda: self.refresh(result, x))
        return {"y": result}

    def refresh(self, result: torch.Tensor, x: torch.Tensor) -> None:
        result.copy_(self.compute(x))

    @staticmethod
    def compute(x: torch.Tensor) -> torch.Tensor:
        rows = x.float().flatten(1)
        return torch.stack([rows.sum(1), rows.amax(1)], 1)

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
    monkeypatch.setattr(cuda, "Event", FakeEvent)
    monkeypatch.setattr(cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(cuda, "graph", fake.graph)
    monkeypatch.setattr(cuda, "graph_pool_handle", object)
    monkeypatch.setattr(cuda, "current_stream", lambda device=None: FakeStream())
    monkeypatch.setattr(cuda, "set_stream", lambda stream: setattr(fake, "stream", None))
    monkeypatch.setattr(cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(cuda, "is_current_stream_capturing", lambda: fake.foreign)
    return fake


def replays(device: Device, options: EngineOptions, *, x: TensorSpec = X) -> Replays:
    made = Replays(device.launch, (x,), (Y,), options, torch.device("cpu"), "small")
    made.capture_batches()
    device.launches = 0
    return made


def rows(count: int, *, seed: int = 0) -> torch.Tensor:
    return torch.rand((count, 3, 2, 2), generator=torch.Generator().manual_seed(seed))


def test_batches_are_captured_and_any_other_is_made_of_them(device: Device) -> None:
    graphs = replays(device, OPTIONS)
    assert (graphs.counts.captured, graphs.counts.failed) == (3, 0)
    for count in (1, 2, 3, 4, 5, 15, 16, 17, 50):
        x = rows(count, seed=count)
        found = graphs.run({"x": x})
        assert found is not None
        torch.testing.assert_close(found["y"], Device.compute(x))
    assert device.launches == 0


def test_results_are_not_overwritten_by_the_next_call(device: Device) -> None:
    graphs = replays(device, OPTIONS)
    first = graphs.run({"x": rows(3, seed=1)})
    assert first is not None
    kept = first["y"].clone()
    graphs.run({"x": rows(3, seed=2)})
    torch.testing.assert_close(first["y"], kept)


def test_another_picture_size_is_launched(device: Device) -> None:
    graphs = replays(device, OPTIONS)
    x = torch.rand(4, 3, 5, 5)
    found = graphs.run({"x": x})
    assert found is not None
    torch.testing.assert_close(found["y"], Device.compute(x))
    assert device.launches == 1


def test_inside_a_callers_capture_there_is_no_replay(device: Device) -> None:
    graphs = replays(device, OPTIONS)
    device.foreign = True
    assert graphs.run({"x": rows(4)}) is None


@pytest.mark.parametrize(
    ("options", "x", "captured"),
    [
        (EngineOptions(), X, 0),
        (EngineOptions(shapes=ShapeRange((1, 3, 2, 2), (4, 3, 9, 9), (16, 3, 9, 9), (1, 4))), X, 0),
        (OPTIONS, TensorSpec("x", (4, 3, 2, 2), np.dtype(np.float32)), 0),
        (
            EngineOptions(shapes=SHAPES, image_input=ImageInput()),
            TensorSpec("x", (None, 2, 2, 3), np.dtype(np.uint8)),
            3,
        ),
    ],
)
def test_what_is_known_beforehand(
    device: Device, options: EngineOptions, x: TensorSpec, captured: int
) -> None:
    assert replays(device, options, x=x).counts.captured == captured


def test_a_shape_that_comes_often_is_captured_and_the_oldest_goes(device: Device) -> None:
    graphs = replays(device, OFTEN)
    for count in (2, 3, 5):
        for turn in range(40):
            x = rows(count, seed=turn)
            found = graphs.run({"x": x})
            assert (found is None) == (turn < 31)
            if found is not None:
                torch.testing.assert_close(found["y"], Device.compute(x))
    assert graphs.counts.captured == 2
    assert graphs.run({"x": rows(2)}) is None
    assert graphs.run({"x": rows(5)}) is not None


@pytest.mark.parametrize("how", ["fails", "forgets"])
def test_what_cannot_be_captured_is_launched_and_said_once(
    device: Device, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    if how == "fails":
        device.fails = "CUDA error: operation not permitted when stream is capturing\nmore"
    else:
        device.forgets = True
    with caplog.at_level(logging.WARNING):
        graphs = replays(device, OPTIONS)
        assert (graphs.counts.captured, graphs.counts.failed) == (0, 3)
        assert graphs.run({"x": rows(4)}) is None
    (record,) = caplog.records
    assert record.message.startswith("small runs without CUDA graphs: ")
    assert "\n" not in record.message
    assert device.stream is None  # torch leaves its own stream in place when a capture fails


def test_a_closed_one_holds_no_graphs(device: Device) -> None:
    graphs = replays(device, OPTIONS)
    graphs.close()
    graphs.close()
    assert graphs.counts.captured == 0
    assert graphs.run({"x": rows(4)}) is None
