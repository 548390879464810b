"""The networks that plans are built for, and all of them through their gates."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

from facestream.engines.base import Precision
from facestream.engines.cards import model_path
from facestream.engines.errors import EngineError, ParityRefused
from facestream.engines.options import EngineOptions, Serving
from facestream.engines.parity import Gate, Verdict
from facestream.engines.registry import BackendStatus, candidates, load_engine, precisions
from facestream.engines.tensorrt.inventory import PlanRequest

from ..detection.mtcnn.detector import Mtcnn
from ..detection.mtcnn.networks import SHAPES
from ..detection.mtcnn.parity import MIN_FACE, NETWORKS, NetworkGate, judge_detector
from .encoder import DEFAULT_MODEL, encoder_options
from .parity import SIZE, DecoderGate, EncoderGate

log = logging.getLogger(__name__)

Row = tuple[str, str, Verdict]


def planned(*, max_batch: int = 32, precision: Precision = "auto") -> tuple[PlanRequest, ...]:
    """The detector's three networks, the encoder and the decoder.

    Args:
        max_batch: most faces the encoder is fed at once.
        precision: of the encoder and the decoder; the detector's networks are float32, as which
            of several nearly equal boxes it returns hangs on the last digits of their scores.

    Raises:
        ModelError: a network is missing or damaged.
    """
    options: dict[str, EngineOptions] = {
        **{name: EngineOptions(precision="float32", shapes=one) for name, one in SHAPES.items()},
        DEFAULT_MODEL: replace(encoder_options(SIZE, max_batch), precision=precision),
        "vae_decoder": EngineOptions(precision=precision),
    }
    return tuple(PlanRequest(name, model_path(name), one) for name, one in options.items())


def verify_all(serving: Serving) -> list[Row]:
    """Judge every network on every backend, device and precision that can execute here.

    Kept verdicts are ignored: each network is run again.

    Args:
        serving: its backend, device and precision narrow down what is judged; plans are taken
            from its cache, and built where they are missing.

    Returns:
        The network (``detector`` for the whole of it), the engine in words, and the verdict; one
        that fails while it is loaded or run is refused with its message.
    """
    rows: list[Row] = []
    for status in candidates(serving.backend, device=serving.device):
        if status.usable:
            for network in planned():
                rows += _judged(network, status, serving)
    rows += _whole(serving)
    return rows


def gate_of(network: PlanRequest) -> Gate:
    """The gate of one of the five networks."""
    for name in NETWORKS:
        if name == network.name:
            return NetworkGate(name)
    return DecoderGate(network.path) if "decoder" in network.name else EncoderGate(network.path)


def _judged(network: PlanRequest, status: BackendStatus, serving: Serving) -> Iterator[Row]:
    for precision in _precisions(network, status, serving):
        engine_text = f"{status.name} {status.device} {precision} ({status.detail})"
        options: EngineOptions = replace(
            network.options, precision=precision, device=status.device, threads=serving.threads
        )
        try:
            with load_engine(
                network.path, backend=status.name, options=options, cache=serving.cache
            ) as engine:
                yield network.name, engine_text, gate_of(network).judge(engine)
        except EngineError as error:
            yield network.name, engine_text, Verdict({}, (str(error),))


def _precisions(
    network: PlanRequest, status: BackendStatus, serving: Serving
) -> tuple[Precision, ...]:
    if network.options.precision != "auto":
        return (network.options.precision,)
    if serving.precision != "auto":
        return (serving.precision,)
    return precisions(status.name, status.device)


def _whole(serving: Serving) -> Iterator[Row]:
    """The detector as it is served: with its screen, or resident on the device."""
    for mode in ("fast", "exact"):
        try:
            with Mtcnn(mode=mode, min_face=MIN_FACE, serving=serving) as detector:
                engine = detector.engines["mtcnn_pnet"]
                text = f"{engine.backend} {engine.device} {mode}"
                yield "detector", text, judge_detector(detector.detect)
        except ParityRefused as error:
            yield "detector", mode, Verdict({}, (str(error),))
        except EngineError as error:
            log.debug("the detector cannot run in mode %s: %s", mode, error)
