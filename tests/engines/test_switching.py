"""Real engines take over from each other while threads go on calling."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from facestream.engines.base import Array, Engine
from facestream.engines.errors import (
    BackendUnavailable,
    EngineError,
    InferenceError,
    ModelError,
    ParityRefused,
)
from facestream.engines.onnxruntime import OnnxRuntimeEngine
from facestream.engines.options import EngineOptions
from facestream.engines.registry import load_engine
from facestream.engines.switching import SwitchingEngine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FLOAT32 = EngineOptions(precision="float32")
Build = Callable[[], Engine]


def picture(seed: int = 0) -> dict[str, Array]:
    values = np.random.default_rng(seed).standard_normal((1, 3, 16, 16))
    return {"x": values.astype(np.float32)}


def openvino(path: Path) -> Engine:
    return load_engine(path, backend="openvino", options=FLOAT32)


def onnxruntime(path: Path) -> Engine:
    return load_engine(path, backend="onnxruntime", options=FLOAT32)


def is_closed(engine: Engine) -> bool:
    try:
        engine.infer(picture())
    except InferenceError as error:
        return "is closed" in str(error)
    return False


class Held:
    """A build that begins when it is let go, and can be asked what it built."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self.go = threading.Event()
        self.built: Engine | None = None

    def __call__(self) -> Engine:
        assert self.go.wait(30)
        self.built = self._build()
        return self.built


@contextmanager
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize(("first", "second"), [(openvino, onnxruntime), (onnxruntime, openvino)])
def test_the_fallback_serves_until_the_other_is_built(
    network: Path, first: Callable[[Path], Engine], second: Callable[[Path], Engine]
) -> None:
    fallback, build = first(network), Held(lambda: second(network))
    with no_thread_stays(), SwitchingEngine(fallback, build, name="small") as engine:
        assert isinstance(engine, Engine)
        expected = engine.infer(picture())
        assert (engine.backend, engine.state) == (fallback.backend, "building")
        assert "is being built" in engine.reason
        assert not engine.wait(0)

        build.go.set()
        assert engine.wait(30)
        assert build.built is not None
        assert (engine.backend, engine.state) == (build.built.backend, "switched")
        assert engine.reason == ""
        found = engine.infer(picture())
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, atol=1e-5)
        assert is_closed(fallback)
    assert is_closed(build.built)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BackendUnavailable("no plan for this card"), "no plan for this card"),
        (ParityRefused("cosine 0.98 < 0.999\nmore"), "cosine 0.98 < 0.999"),
        (ModelError("damaged"), "damaged"),
        (RuntimeError(), "RuntimeError"),
        (OSError(28, "No space left on device"), "No space left"),
    ],
)
def test_what_cannot_be_built_leaves_the_fallback_and_a_reason(
    network: Path, caplog: pytest.LogCaptureFixture, error: Exception, reason: str
) -> None:
    def build() -> Engine:
        raise error

    fallback = openvino(network)
    with (
        caplog.at_level(logging.WARNING),
        no_thread_stays(),
        SwitchingEngine(fallback, build, name="small") as engine,
    ):
        assert engine.wait(30)
        assert (engine.state, engine.backend) == ("stayed", "openvino")
        assert reason in engine.reason
        assert "\n" not in engine.reason
        assert engine.infer(picture())["map"].size
    assert is_closed(fallback)
    assert [record.message for record in caplog.records] == [
        f"small stays on openvino: {engine.reason}"
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_in_the_build_itself_is_no_silent_death(network: Path) -> None:
    def build() -> Engine:
        raise KeyError("a bug")

    with SwitchingEngine(openvino(network), build) as engine:
        assert engine.wait(30)
        assert engine.state == "stayed"
        assert engine.reason == "the build ended without a result"
        assert engine.infer(picture())["map"].size


def test_an_engine_with_other_tensors_is_not_taken(network: Path) -> None:
    from facestream.engines.cards import model_path

    other = openvino(model_path("mtcnn_rnet"))
    with SwitchingEngine(openvino(network), lambda: other) as engine:
        assert engine.wait(30)
        assert engine.state == "stayed"
        assert "openvino has tensors crops, openvino x" in engine.reason
        assert engine.infer(picture())["map"].size
    with pytest.raises(InferenceError, match="is closed"):
        other.infer({"crops": np.zeros((1, 3, 24, 24), np.float32)})


def test_closing_tells_the_build_to_stop_and_waits_for_it(network: Path) -> None:
    stop = threading.Event()
    ended = threading.Event()

    def build() -> Engine:
        assert stop.wait(30)
        ended.set()
        raise BackendUnavailable("stopped")

    fallback = openvino(network)
    with no_thread_stays():
        engine = SwitchingEngine(fallback, build, stop=stop)
        engine.close()
        engine.close()
        assert ended.is_set()
    assert engine.state == "closed"
    assert engine.wait(0)
    assert is_closed(fallback)
    with pytest.raises(InferenceError, match="the engine of the network is closed"):
        engine.infer(picture())


def test_what_is_built_after_closing_is_closed_as_well(network: Path) -> None:
    stop = threading.Event()
    built: list[Engine] = []

    def build() -> Engine:
        assert stop.wait(30)
        built.append(onnxruntime(network))
        return built[0]

    engine = SwitchingEngine(openvino(network), build, stop=stop)
    engine.close()
    assert is_closed(built[0])
    assert engine.backend == "openvino"


def test_a_call_under_way_ends_on_the_engine_it_began_on(network: Path) -> None:
    class Slow(OnnxRuntimeEngine):
        """Torch, held up in the middle of a call."""

        inside, go_on = threading.Event(), threading.Event()

        def infer(self, feeds):  # type: ignore[no-untyped-def]
            self.inside.set()
            assert self.go_on.wait(30)
            return super().infer(feeds)

    slow = Slow(network, options=FLOAT32)
    build = Held(lambda: openvino(network))
    with ThreadPoolExecutor(1) as pool, SwitchingEngine(slow, build) as engine:
        under_way = pool.submit(engine.infer, picture())
        assert slow.inside.wait(30)
        build.go.set()
        assert engine.wait(30)
        assert engine.backend == "openvino"
        assert engine.infer(picture())["map"].size  # others do not wait for it
        slow.go_on.set()
        assert under_way.result(30)["map"].size
        assert is_closed(slow)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fails=st.booleans(),
    built_after=st.integers(0, 12),
    closed_after=st.integers(0, 24),
    callers=st.integers(1, 4),
)
def test_callers_never_notice(
    network: Path, fails: bool, built_after: int, closed_after: int, callers: int
) -> None:
    """Whenever the switch comes, and the end: right results until closed, then one clear error."""
    feeds = picture()
    with openvino(network) as reference:
        expected = reference.infer(feeds)["map"]
    fallback = openvino(network)
    turns = threading.Semaphore(0)
    built: list[Engine] = []

    def build() -> Engine:
        for _ in range(built_after):
            turns.acquire(timeout=0.1)
        if fails:
            raise BackendUnavailable("refused")
        built.append(onnxruntime(network))
        return built[0]

    engine = SwitchingEngine(fallback, build)
    wrong: list[object] = []
    done = threading.Event()

    def call() -> None:
        while not done.is_set():
            turns.release()
            try:
                found = engine.infer(feeds)["map"]
            except EngineError as error:
                if str(error) != "the engine of the network is closed":
                    wrong.append(error)
                return
            if not np.allclose(found, expected, atol=1e-5):
                wrong.append(found)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for _ in range(closed_after):
        turns.release()
    engine.close()
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert all(map(is_closed, [fallback, *built]))


def test_nothing_is_kept_after_the_end(network: Path) -> None:
    made: list[weakref.ref[Engine]] = []

    def noted(engine: Engine) -> Engine:
        made.append(weakref.ref(engine))
        return engine

    for _ in range(3):
        fallback = noted(openvino(network))
        with SwitchingEngine(fallback, lambda: noted(onnxruntime(network))) as engine:
            assert engine.wait(30)
            engine.infer(picture())
    del engine, fallback
    gc.collect()
    assert [ref() for ref in made] == [None] * 6
