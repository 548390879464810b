"""Detector and encoder for the commands on pictures, loaded side by side."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from facestream.engines.base import Engine

from .core.config import Settings
from .detection.mtcnn.detector import Mtcnn
from .recognition.encoder import Encoder


@dataclass(frozen=True, slots=True)
class Models:
    """The loaded networks."""

    detector: Mtcnn
    encoder: Encoder

    @property
    def engines(self) -> dict[str, Engine]:
        """What runs them, by the network's name."""
        return {**self.detector.engines, **self.encoder.engines}


@contextmanager
def load_models(settings: Settings) -> Iterator[Models]:
    """Load detector and encoder as the settings say, and free them in the end.

    Raises:
        EngineError: they cannot run here.
    """
    detector, serving = settings.detector, settings.runtime.serving()
    with ExitStack() as opened:
        with ThreadPoolExecutor(2) as pool:
            finding = pool.submit(
                Mtcnn,
                mode=detector.mode,
                min_face=detector.min_face,
                factor=detector.factor,
                thresholds=detector.thresholds,
                serving=serving,
            )
            embedding = pool.submit(
                Encoder,
                serving=serving,
                max_batch=settings.encoder.max_batch,
            )
        # Both have ended: where one failed, the other is closed.
        if finding.exception() is None:
            opened.callback(finding.result().close)
        if embedding.exception() is None:
            opened.callback(embedding.result().close)
        yield Models(finding.result(), embedding.result())
