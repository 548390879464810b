"""Chooses the engine that serves a network; rounded results have to pass the parity gate."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from .base import BaseEngine, Engine, Precision
from .cards import checksum, digest, quantised_file
from .checks import check_model_file
from .devices import cuda_devices
from .errors import BackendUnavailable, EngineError, ModelError, ParityRefused
from .options import EngineOptions, Serving
from .parity import Gate, Verdict, VerdictStore
from .registry import BackendStatus, candidates, load_engine, precisions
from .switching import SwitchingEngine

log = logging.getLogger(__name__)

# Each line is logged once per process: several parts load the same networks.
_logged: set[str] = set()
_logging_lock = threading.Lock()


def serve(
    path: Path, *, serving: Serving, options: EngineOptions | None = None, gate: Gate | None = None
) -> Engine:
    """The engine that serves a network as ``serving`` asks.

    With a gate and precision ``auto`` the backend's fastest arithmetic is tried first, and the
    next where the gate refuses it, with one warning that has the figures. float32 on a CPU is the
    reference and needs no gate. Backend ``auto`` takes the next backend where one fails; the log
    has the choice, the engine's ``reason`` why no better one serves. While a plan is built the next
    backend serves (``SwitchingEngine``), unless ``serving`` waits, is strict, or names TensorRT.

    Args:
        path: the ``.onnx`` file.
        serving: which backend and device, and what may happen when it cannot.
        options: of the network; its ``precision`` holds unless it is ``auto``.
        gate: judges an engine before it serves; None where rounding does no harm.

    Raises:
        BackendUnavailable: no backend that was asked for can serve here.
        ParityRefused: the one asked for does not pass the gate; the message has the figures.
        ModelError: the file is missing, damaged, or does not fit the options.
    """
    check_model_file(path)
    options = options or EngineOptions()
    options = replace(options, threads=options.threads or serving.threads)
    return _Job(path, serving, options, gate).serve()


@dataclass(slots=True)
class _Job:
    """One network; ``missed`` says why no better backend serves it, ``stop`` ends a build."""

    path: Path
    serving: Serving
    options: EngineOptions
    gate: Gate | None
    missed: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def serve(self) -> Engine:
        device = self.options.device if self.options.device != "auto" else self.serving.device
        engine = self._first(candidates(self.serving.backend, device=device))
        try:
            check_strict(self.serving, engine.device, "; ".join(self.missed))
        except BackendUnavailable:
            engine.close()
            raise
        return engine

    def _first(self, wanted: Iterator[BackendStatus]) -> Engine:
        """The first that can serve and passes."""
        failed: EngineError | None = None
        for status in wanted:
            if not status.usable:
                self.missed.append(status.detail)
                continue
            if self._has_no_shapes(status):
                continue
            try:
                if self._has_to_build(status):
                    return self._switching(status, wanted)
                return self._chosen(*self._on(status), status)
            except EngineError as error:
                # On the CPU the next backend would do no better.
                if isinstance(error, ModelError | ParityRefused) and status.device == "cpu":
                    raise
                # A refusal says more than a backend that could not be tried.
                failed = failed if isinstance(failed, ParityRefused) else error
                self.missed.append(str(error))
                if self.serving.backend == "auto" and status.device == "cuda":
                    _log_once(
                        logging.WARNING, f"{status.name} does not serve {self._name}: {error}"
                    )
        if failed is not None and not isinstance(failed, BackendUnavailable):
            raise failed
        raise BackendUnavailable(
            f"nothing can serve {self._name}: " + "; ".join(dict.fromkeys(self.missed))
        )

    @property
    def _name(self) -> str:
        return self.path.stem

    def _on(self, status: BackendStatus) -> tuple[Engine, Verdict | None]:
        """An engine of this backend in the fastest arithmetic that passes, or ParityRefused."""
        refusal = ""
        for precision in self._precisions(status):
            engine = self._load(status, precision)
            verdict = self._judged(engine, status)
            if verdict is None or verdict.passed:
                if refusal:
                    _log_once(logging.WARNING, f"{refusal}; {engine.precision} serves")
                    self.missed.append(refusal)
                return engine, verdict
            refusal = (
                f"{self._name} in {engine.precision} on {engine.backend} ({engine.device}) is "
                f"refused by the parity gate: {'; '.join(verdict.refused)}"
            )
            engine.close()
        raise ParityRefused(refusal)

    def _precisions(self, status: BackendStatus) -> tuple[Precision, ...]:
        asked = self.options.precision
        if asked == "auto" and (self.gate is not None or self.serving.precision == "float32"):
            asked = self.serving.precision
        if asked != "auto" or self.gate is None:
            return (asked,)
        found = precisions(status.name, status.device)
        if status.name == "openvino" and quantised_file(self.path).is_file():
            return ("int8", *found)
        return found

    def _load(self, status: BackendStatus, precision: Precision) -> Engine:
        options = replace(self.options, precision=precision, device=status.device)
        return load_engine(
            self.path,
            backend=status.name,
            options=options,
            cache=self.serving.cache,
            stop=self.stop,
        )

    def _judged(self, engine: Engine, status: BackendStatus) -> Verdict | None:
        """The gate's verdict; None where none is needed. Closes the engine if it fails."""
        if self.gate is None or (engine.precision == "float32" and status.device == "cpu"):
            return None
        store = VerdictStore(self.serving.cache)
        try:
            return store.judged(
                engine,
                self.gate,
                network=digest(self.path, engine.precision),
                machine=status.detail,
            )
        except BaseException:
            engine.close()
            raise

    def _has_no_shapes(self, status: BackendStatus) -> bool:
        """With ``auto`` plans are built only for shapes that are known."""
        return (
            status.name == "tensorrt"
            and self.serving.backend == "auto"
            and self.options.shapes is None
        )

    def _has_to_build(self, status: BackendStatus) -> bool:
        """A plan has to be built first, and another backend may serve meanwhile."""
        if status.name != "tensorrt" or self.serving.backend != "auto":
            return False
        if self.serving.building == "wait" or self.serving.strict:
            return False
        # TensorRT's modules are loaded only where it serves.
        from .tensorrt.plans import PlanStore
        from .tensorrt.recipe import recipe_for
        from .tensorrt.variant import check_requirements

        if self.serving.cache is None:
            return True
        variant, device = check_requirements()
        options = replace(self.options, precision=self._precisions(status)[0])
        recipe = recipe_for(
            self.path, options, variant=variant, target=device.architecture, gpu=device.name
        )
        return PlanStore(self.serving.cache).find(recipe.key(checksum(self.path))) is None

    def _switching(self, status: BackendStatus, rest: Iterator[BackendStatus]) -> Engine:
        try:
            fallback = self._first(rest)
        except EngineError as error:
            # Without a fallback, wait for the build.
            log.debug("no fallback for %s: %s", self._name, error)
            return self._chosen(*self._on(status), status)
        _log_once(logging.INFO, f"{self._name}: {status.name} is being built ({status.detail})")
        return SwitchingEngine(
            fallback, lambda: self._on(status)[0], name=self._name, stop=self.stop
        )

    def _chosen(self, engine: Engine, verdict: Verdict | None, status: BackendStatus) -> Engine:
        missed = "; ".join(dict.fromkeys(self.missed))
        cast(BaseEngine, engine).reason = missed
        how = "asked for" if self.serving.backend != "auto" else missed or "the fastest here"
        passed = f"; parity gate: {figures_text(verdict)}" if verdict is not None else ""
        # The program says in one line what serves all its networks.
        _log_once(
            logging.DEBUG,
            f"{self._name} runs on {engine.backend} ({status.detail}), {engine.device}, "
            f"{engine.precision}: {how}{passed}",
        )
        return engine


def check_strict(serving: Serving, device: str, why: str) -> None:
    """A strict ``Serving`` does not leave a CUDA device of this machine unused.

    Args:
        serving: the settings.
        device: the chosen one, e.g. ``CPU``.
        why: no better backend can serve.

    Raises:
        BackendUnavailable: it is left unused although the CPU was not requested.
    """
    asked_for_cpu = serving.device == "cpu" or serving.backend == "openvino"
    if not serving.strict or asked_for_cpu or "cuda" in device.lower():
        return
    found = cuda_devices()
    if found:
        raise BackendUnavailable(
            f"{found[0]} would be left unused ({why or 'nothing here serves on it'}); "
            "install what is missing, or ask for the CPU"
        )


def figures_text(verdict: Verdict) -> str:
    """``cosine_min 0.99968, sigma_rank 0.9991``."""
    return ", ".join(f"{name} {value:.6g}" for name, value in verdict.figures.items())


def _log_once(level: int, text: str) -> None:
    with _logging_lock:
        if text in _logged:
            return
        _logged.add(text)
    log.log(level, "%s", text)
