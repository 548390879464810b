"""An int8 version of an encoder: post-training quantisation by NNCF, as far as the gate allows.

Layers that lose most are left in floating point: each layer is first quantised alone, and then as
many of the least harmful ones together as keep the cosine to float32 on held-out faces.
https://docs.openvino.ai/2025/openvino-workflow/model-optimization-guide/quantizing-models-post-training.html
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from facestream.engines.cards import quantised_file
from facestream.engines.openvino import describe
from facestream.pipeline.recognition.parity import cosines, gate_faces, rank_correlation
from facestream.pipeline.recognition.uncertainty import sigma
from numpy.typing import NDArray

from ..data.face_sets import FaceZips, centre_crop, read_folder, split_identities
from ..errors import TrainingError
from ..evaluation.lfw import Lfw
from ..evaluation.verification import verify
from ..progress import ReportProgress

Floats = NDArray[np.float32]
Pictures = NDArray[np.uint8]

MIXED: Final = "int8 and floating point"
LAYERS: Final = ("Convolution", "GroupConvolution", "MatMul")
# Faces that the search for layers measures statistics and cosines on.
_STATISTICS, _PROBES = 32, 48
_BATCH = 8
_RUNS = 10


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

    Raises:
        TrainingError: NNCF is not installed.
    """

    def __init__(self, path: Path, calibration: Pictures, *, progress: ReportProgress) -> None:
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
        """Write it where the engines find it; returns the graph's path."""
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


def draw_faces(data: Path, calibration: int, held_out: int) -> tuple[Pictures, Pictures]:
    """Training faces to calibrate with, and faces of people who are not among them (RGB)."""
    rng = np.random.default_rng(0)
    parts = []
    with FaceZips(data) as zips:
        for rows, count in zip(
            split_identities(read_folder(data)), (calibration, held_out), strict=True
        ):
            chosen = rng.choice(len(rows), min(count, len(rows)), replace=False)
            parts.append(np.stack([centre_crop(zips.read(rows[i])) for i in chosen]))
    return parts[0], parts[1]


def measure_variants(
    maker: Quantiser, held: Pictures, lfw: Lfw, *, least: float
) -> tuple[dict[str, Any], Any]:
    """Float, bfloat16 and int8 side by side; the report, and the mixed network.

    Args:
        maker: of the encoder.
        held: N×112×112×3 RGB, faces that were not calibrated with.
        lfw: for the accuracy.
        least: cosine to float32 that the mixed network must reach.
    """
    plain = maker.float_model()
    sensitivity = maker.sensitivity(held)
    gate = np.ascontiguousarray(gate_faces()[..., ::-1])
    kept, mixed = maker.search(sensitivity, np.concatenate([gate, held[:64]]), least=least)
    variants: dict[str, tuple[Any, str]] = {
        "float32": (plain, "f32"),
        "bfloat16": (plain, "bf16"),
        "int8": (maker.quantise(), "bf16"),
        MIXED: (mixed, "bf16"),
    }
    sets = {"gate": gate, "held_out": held}
    exact = {name: maker.run(plain, faces) for name, faces in sets.items()}
    rgb = np.ascontiguousarray(lfw.crops.faces[..., ::-1])
    figures: dict[str, dict[str, Any]] = {}
    for name, (model, precision) in variants.items():
        figures[name] = {
            where: asdict(closeness(maker.run(model, faces, precision=precision), exact[where]))
            for where, faces in sets.items()
        }
        mu, _ = maker.run(model, rgb, precision=precision)
        found = verify(lfw.pairs, mu, not_found=lfw.crops.not_found)
        figures[name]["lfw_accuracy"] = round(found.accuracy.value, 4)
        figures[name]["lfw_folds"] = len(found.folds)
    report = {
        "machine": describe(),
        "held_out_faces": len(held),
        "kept_in_floating_point": kept,
        "layers": len(sensitivity),
        "lowest_cosine_with_one_layer_in_int8": sensitivity,
        "faces_per_second": _speed(maker, variants, held),
        "variants": figures,
    }
    return report, mixed


def _speed(
    maker: Quantiser, variants: dict[str, tuple[Any, str]], faces: Pictures
) -> dict[str, dict[str, float]]:
    """Faces per second by batch: medians, the variants taken in turns."""
    found: dict[str, dict[str, float]] = {}
    requests = {name: maker.request(*variant) for name, variant in variants.items()}
    for batch in (1, 8, 32):
        feed = _fed(faces[:batch])
        times: dict[str, list[float]] = {name: [] for name in requests}
        for _ in range(_RUNS + 2):
            for name, request in requests.items():
                start = time.perf_counter()
                request.infer([feed])
                times[name].append(time.perf_counter() - start)
        for name, taken in times.items():
            speed = batch / float(np.median(taken[2:]))
            found.setdefault(name, {})[f"batch {batch}"] = round(speed, 1)
    return found
