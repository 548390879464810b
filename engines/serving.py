"""Chooses what serves a network, and lets nothing serve that did not pass its gate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .base import Engine
from .errors import ParityRefused
from .options import EngineOptions, Serving
from .parity import Gate
from .registry import load_engine


def serve(
    path: Path, *, serving: Serving, options: EngineOptions | None = None, gate: Gate | None = None
) -> Engine:
    """The engine that serves a network as ``serving`` asks.

    Args:
        path: the ``.onnx`` file.
        serving: which backend and device, and what may happen when it cannot.
        options: of the network; its ``precision`` holds unless it is ``auto``.
        gate: what an engine must pass before it serves; None for what is exact.

    Raises:
        BackendUnavailable: nothing that was asked for can serve here.
        ParityRefused: the one that was asked for does not pass the gate.
        ModelError: the file is missing, damaged, or does not fit the options.
    """
    options = options or EngineOptions()
    precision = serving.precision if options.precision == "auto" else options.precision
    options = replace(options, precision=precision, threads=options.threads or serving.threads)
    engine = load_engine(path, backend=serving.backend, options=options)
    if gate is not None:
        verdict = gate.judge(engine)
        if not verdict.passed:
            engine.close()
            raise ParityRefused(f"{path.name}: {'; '.join(verdict.refused)}")
    return engine
