"""Networks are loaded once each, and closed when another one cannot be loaded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from facestream.engines import serving
from facestream.engines.base import Engine
from facestream.engines.errors import BackendUnavailable
from facestream.engines.options import Serving
from facestream.pipeline.detection.mtcnn import detector as mtcnn
from facestream.pipeline.detection.mtcnn import networks
from facestream.pipeline.detection.mtcnn.detector import Mtcnn


@pytest.mark.parametrize("loads", [0, 1, 2])
def test_the_engines_before_one_that_fails_to_load_are_closed(
    monkeypatch: pytest.MonkeyPatch, loads: int
) -> None:
    opened: list[Engine] = []
    serve = serving.serve

    def some(*arguments: Any, **more: Any) -> Engine:
        if len(opened) == loads:
            raise BackendUnavailable("no memory")
        opened.append(serve(*arguments, **more))
        return opened[-1]

    monkeypatch.setattr(networks, "serve", some)
    with pytest.raises(BackendUnavailable, match="no memory"):
        Mtcnn(serving=Serving(backend="openvino", threads=1))
    assert len(opened) == loads
    for engine in opened:
        spec = engine.inputs[0]
        shape = [length or 48 for length in spec.shape]
        with pytest.raises(Exception, match="is closed"):
            engine.infer({spec.name: np.zeros(shape, np.float32)})


def test_many_cpus_load_each_network_once(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Engine] = []
    serve = serving.serve

    def counted(*arguments: Any, **more: Any) -> Engine:
        opened.append(serve(*arguments, **more))
        return opened[-1]

    monkeypatch.setattr(networks, "serve", counted)
    monkeypatch.setattr(mtcnn, "usable_cpus", lambda: 64)
    with Mtcnn(mode="exact", serving=Serving(backend="openvino")) as detector:
        assert len(opened) == len(detector.engines) == 3
