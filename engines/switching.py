"""Serves from one engine while a better one is built, and switches over between two calls."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .base import Array, Engine, TensorSpec
from .closing import Closing
from .errors import EngineError, InferenceError

log = logging.getLogger(__name__)

State = Literal["building", "switched", "stayed", "closed"]


class SwitchingEngine(Closing):
    """An engine that serves from ``fallback`` until ``build`` has made a better one.

    The build runs on its own thread. Each call is served by one engine from beginning to end. The
    fallback is closed when the last call to it has ended after the switch. ``backend``, ``device``
    and ``precision`` are those of the engine that serves now.

    Where the build fails the fallback goes on serving; ``reason`` and one warning say why. After
    the switch errors of the new engine reach the caller.

    Args:
        fallback: serves until then; closed by this engine.
        build: makes the engine and judges it by its parity gate; raises where it is refused.
        name: of the network, for messages.
        stop: set by ``close``, which waits for ``build`` to end.
    """

    def __init__(
        self,
        fallback: Engine,
        build: Callable[[], Engine],
        *,
        name: str = "the network",
        stop: threading.Event | None = None,
    ) -> None:
        self._serving = fallback
        self._fallback = fallback
        self._build = build
        self._name = name
        self._stop = stop or threading.Event()
        self._state: State = "building"
        self._reason = f"a better engine than {fallback.backend} is being built"
        self._calls: Counter[int] = Counter()
        self._open = [fallback]
        self._lock = threading.Lock()
        self._known = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"build of {name}")
        self._thread.start()

    @property
    def backend(self) -> str:
        return self._serving.backend

    @property
    def device(self) -> str:
        return self._serving.device

    @property
    def precision(self) -> str:
        return self._serving.precision

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._serving.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._serving.outputs

    @property
    def state(self) -> State:
        return self._state

    @property
    def reason(self) -> str:
        """Why the fallback serves, in one line; empty once switched."""
        return self._reason

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the build has ended; False on timeout."""
        return self._known.wait(timeout)

    def infer(self, feeds: Mapping[str, Array]) -> dict[str, NDArray[np.float32]]:
        """Run the network once; see ``Engine.infer``."""
        with self._borrowed() as engine:
            return engine.infer(feeds)

    def close(self) -> None:
        """Stop the build, wait for its thread, free both engines; calls in progress still end."""
        with self._lock:
            self._state = "closed"
        self._stop.set()
        self._thread.join()
        self._close_unused()

    def __repr__(self) -> str:
        return f"SwitchingEngine({self._serving!r}, {self._state})"

    @contextmanager
    def _borrowed(self) -> Iterator[Engine]:
        """The serving engine, kept open during the block."""
        with self._lock:
            if self._state == "closed":
                raise InferenceError(f"the engine of {self._name} is closed")
            engine = self._serving
            self._calls[id(engine)] += 1
        try:
            yield engine
        finally:
            with self._lock:
                self._calls[id(engine)] -= 1
            self._close_unused()

    def _close_unused(self) -> None:
        """Close replaced engines that no call uses."""
        with self._lock:
            unused = [
                engine
                for engine in self._open
                if not self._calls[id(engine)]
                and (self._state == "closed" or engine is not self._serving)
            ]
            self._open = [engine for engine in self._open if engine not in unused]
        for engine in unused:
            engine.close()

    def _run(self) -> None:
        """The thread: build, then switch or give the reason."""
        built: Engine | None = None
        reason = "the build ended without a result"  # of an unexpected exception
        try:
            built = self._build()
            reason = self._unfit(built)
        except (EngineError, OSError, RuntimeError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
        finally:
            self._settle(built, reason)

    def _settle(self, built: Engine | None, reason: str) -> None:
        with self._lock:
            wanted = self._state == "building"
            if wanted and built is not None and not reason:
                self._serving, self._state, self._reason = built, "switched", ""
                self._open.append(built)
            elif wanted:
                self._state, self._reason = "stayed", reason
            state = self._state
        if built is not None and state != "switched":
            built.close()
        if state == "switched":
            log.info("%s is served by %s now", self._name, self._serving.backend)
            self._close_unused()
        elif state == "stayed":
            log.warning("%s stays on %s: %s", self._name, self._fallback.backend, reason)
        self._known.set()

    def _unfit(self, built: Engine) -> str:
        """Why this engine cannot replace the fallback; empty where it can."""
        for mine, its in (
            (self._fallback.inputs, built.inputs),
            (self._fallback.outputs, built.outputs),
        ):
            if [(spec.name, spec.dtype) for spec in mine] != [
                (spec.name, spec.dtype) for spec in its
            ]:
                return (
                    f"{built.backend} has tensors {', '.join(spec.name for spec in its)}, "
                    f"{self._fallback.backend} {', '.join(spec.name for spec in mine)}"
                )
        return ""
