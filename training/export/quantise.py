"""An int8 version of an encoder: post-training quantisation by NNCF, as far as the gate allows.

Layers that lose most are left in floating point: each layer is first quantised alone, and then as
many of the least harmful ones together as keep the cosine to float32 on held-out faces.
https://docs.openvino.ai/2025/openvino-workflow/model-optimization-guide/quantizing-models-post-training.html
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from facestream.engines.cards import quantised_file
from facestream.pipeline.recognition.parity.figures import cosines, rank_correlation
from facestream.pipeline.recognition.uncertainty import sigma
from numpy.typing import NDArray

from ..errors import TrainingError

Floats = NDArray[np.float32]
Pictures = NDArray[np.uint8]
Progress = Callable[[str, int, int], None]

LAYERS: Final = ("Convolution", "GroupConvolution", "MatMul")
# Faces that the search for layers measures statistics and cosines on.
_STATISTICS, _PROBES = 32, 48
_BATCH = 8


@dataclass(frozen=True, slots=True)
class Closeness:
    """How close outputs are to float32's: cosines of mu, and Spearman's rho of sigma."""

    cosine_min: float
    cosine_1_percent: float
    cosine_median: float
    sigma_rank: float


class Quantiser:
    """Quantises one encoder in several ways.

    Args:
        path: the ONNX network.
        calibration: N×112×112×3 RGB uint8, real faces.
        progress: told (what, done, total).

    Raises:
        TrainingError: NNCF is not installed.
    """

    def __init__(self, path: Path, calibration: Pictures, *, progress: Progress) -> None:
        try:
            self._nncf: Any = importlib.import_module("nncf")
        except ImportError as error:
            raise TrainingError(
                "quantisation needs NNCF; install it with: pip install 'facestream[quantise]'"
            ) from error
        logging.getLogger("nncf").setLevel(logging.ERROR)
        self._ov: Any = importlib.import_module("openvino")
        self._core = self._ov.Core()
        self._path = path
        self._calibration = calibration
        self._progress = progress

    def float_model(self) -> Any:
        """The network as it is."""
        return self._core.read_model(self._path)

    def layers(self) -> list[str]:
        """Names of the layers that can be quantised, in the graph's order."""
        ops = self.float_model().get_ordered_ops()
        return [op.get_friendly_name() for op in ops if op.get_type_name() in LAYERS]

    def quantise(self, kept: Sequence[str] = (), *, subset: int | None = None) -> Any:
        """The network in int8.

        Args:
            kept: layers that stay in floating point.
            subset: faces to calibrate with; None takes all.
        """
        faces = self._calibration[:subset]
        return self._nncf.quantize(
            self.float_model(),
            self._nncf.Dataset([face[None] for face in faces], _fed),
            # PReLU's negative values want their own zero point.
            preset=self._nncf.QuantizationPreset.MIXED,
            subset_size=len(faces),
            fast_bias_correction=True,
            ignored_scope=self._nncf.IgnoredScope(names=list(kept)),
        )

    def run(self, model: Any, faces: Pictures, *, precision: str = "f32") -> tuple[Floats, Floats]:
        """mu N×D and logvar N×D of faces N×112×112×3 RGB uint8."""
        request = self.request(model, precision)
        parts = []
        for start in range(0, len(faces), _BATCH):
            found = request.infer([_fed(faces[start : start + _BATCH])])
            parts.append((found["mu"].copy(), found["logvar"].copy()))
        return np.concatenate([mu for mu, _ in parts]), np.concatenate([lv for _, lv in parts])

    def request(self, model: Any, precision: str) -> Any:
        """A request of the network, compiled with this ``INFERENCE_PRECISION_HINT``."""
        config = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        return self._core.compile_model(model, "CPU", config).create_infer_request()

    def sensitivity(self, probes: Pictures) -> dict[str, float]:
        """The lowest cosine to float32 with one layer quantised alone, by the layer's name."""
        layers = self.layers()
        exact = self.run(self.float_model(), probes[:_PROBES])
        found = {}
        for done, layer in enumerate(layers):
            model = self.quantise([one for one in layers if one != layer], subset=_STATISTICS)
            found[layer] = closeness(self.run(model, probes[:_PROBES]), exact).cosine_min
            self._progress("sensitivity", done + 1, len(layers))
        return found

    def search(
        self, sensitivity: dict[str, float], probes: Pictures, *, least: float
    ) -> tuple[list[str], Any]:
        """The layers to keep, fewest first by halving, so that the lowest cosine is ``least``.

        Returns:
            The layers kept and the network; all layers and the float network where none may be
            quantised.
        """
        order = sorted(sensitivity, key=lambda name: sensitivity[name])
        exact = self.run(self.float_model(), probes)
        low, high = 0, len(order)  # so many of the worst are kept; ``high`` is known to do
        best: tuple[list[str], Any] = (order, self.float_model())
        while low < high:
            middle = (low + high) // 2
            model = self.quantise(order[:middle], subset=4 * _STATISTICS)
            if closeness(self.run(model, probes), exact).cosine_min >= least:
                high, best = middle, (order[:middle], model)
            else:
                low = middle + 1
            self._progress(f"search: {middle} kept", len(order) - (high - low), len(order))
        return best

    def save(self, model: Any, beside: Path) -> Path:
        """Write it where the engines look for it; gives the graph's path."""
        file = quantised_file(beside)
        self._ov.save_model(model, file)
        return file


def closeness(found: tuple[Floats, Floats], exact: tuple[Floats, Floats]) -> Closeness:
    """Of mu and logvar (N×D each) to float32's."""
    similar = cosines(found[0], exact[0])
    return Closeness(
        float(similar.min()),
        float(np.percentile(similar, 1)),
        float(np.median(similar)),
        rank_correlation(sigma(found[1]), sigma(exact[1])),
    )


def _fed(faces: Pictures) -> Floats:
    return np.ascontiguousarray(faces.transpose(0, 3, 1, 2), np.float32)
