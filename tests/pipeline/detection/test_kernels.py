"""The kernels in C: each variant that this CPU runs, against numpy and OpenVINO."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.engines.base import Engine
from facestream.engines.cards import model_path
from facestream.engines.errors import InferenceError
from facestream.engines.options import EngineOptions, Serving
from facestream.engines.registry import load_engine
from facestream.pipeline.core.boxes import nms
from facestream.pipeline.core.types import Floats, Image
from facestream.pipeline.detection.mtcnn import kernels
from facestream.pipeline.detection.mtcnn.cascade import Search, WorkerPool, find_faces
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.detection.mtcnn.kernel_networks import KernelNetworks
from facestream.pipeline.detection.mtcnn.kernels import Kernels, cells_of
from facestream.pipeline.detection.mtcnn.networks import open_networks
from facestream.pipeline.detection.mtcnn.parity import NETWORKS, NetworkGate, judge_detector, scenes
from facestream.pipeline.detection.mtcnn.proposals import Level
from facestream.pipeline.detection.mtcnn.sampling import AreaSampler
from facestream.pipeline.detection.mtcnn.screening import screen_pays
from hypothesis import given
from hypothesis import strategies as st

NATIVE = Path(kernels.__file__).resolve().parent / "native"
SEARCH = Search(20, 0.709, (0.6, 0.7, 0.7))
NOISE: Image = np.random.default_rng(0).integers(0, 256, (97, 131, 3), np.uint8)

built = pytest.mark.skipif(kernels.missing() is not None, reason=str(kernels.missing()))


VARIANTS: list[Any] = [*kernels.variants()]


@pytest.fixture(params=VARIANTS or [pytest.param("", marks=built)], scope="module")
def variant(request: pytest.FixtureRequest) -> Kernels:
    return Kernels(request.param)


@pytest.fixture(scope="module")
def engines() -> Iterator[dict[str, Engine]]:
    options = EngineOptions(precision="float32", threads=1)
    found: dict[str, Engine] = {
        n: load_engine(model_path(n), backend="openvino", options=options) for n in NETWORKS
    }
    yield found
    for engine in found.values():
        engine.close()


@given(st.integers(1, 200), st.integers(1, 200), st.sampled_from([0, 6]))
def test_levels_are_the_sampler_s_to_the_bit(
    variant: Kernels, height: int, width: int, border: int
) -> None:
    level = Level(1.0, height, width, border)
    expected = AreaSampler(NOISE).level(level).transpose(1, 2, 0)
    assert (variant.level(NOISE, level) == expected).all()


WINDOWS = st.lists(
    st.tuples(st.integers(-90, 150), st.integers(-90, 110), *[st.integers(1, 250)] * 2),
    min_size=1,
    max_size=5,
).map(lambda places: np.array([(x, y, x + w, y + h) for x, y, w, h in places]))


@given(WINDOWS, st.sampled_from([24, 48]))
def test_crops_are_the_sampler_s_to_the_bit(
    variant: Kernels, windows: np.ndarray[Any, Any], side: int
) -> None:
    expected = AreaSampler(NOISE).crops(windows, side).transpose(0, 2, 3, 1)
    assert (variant.crops(NOISE, windows, side) == expected).all()


def test_tall_pictures_do_not_overflow(variant: Kernels) -> None:
    """A row of cells is more than 257 rows of bytes; a cell more than 2³² in sum."""
    white = np.full((6000, 3000, 3), 255, np.uint8)
    assert (variant.level(white, Level(1.0, 12, 6)) == 255).all()
    assert (variant.level(white, Level(1.0, 1, 1)) == 255).all()
    assert (variant.crops(white, np.array([[0, 0, 3000, 6000]]), 24) == 255).all()


@given(st.integers(0, 450), st.sampled_from(["union", "min"]), st.integers(0, 2**32 - 1))
def test_suppression_is_numpy_s(variant: Kernels, count: int, mode: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 200, (count, 2)) + rng.random((count, 2)).round(1)
    boxes = np.concatenate([corner, corner + rng.integers(-1, 60, (count, 2))], 1).astype("f4")
    scores = (rng.integers(0, 50, count) / 50).astype("f4")
    threshold = float(rng.choice([0.0, 0.5, 0.7]))
    expected = nms(boxes, scores, threshold, mode)
    assert variant.nms(boxes, scores, threshold, mode).tolist() == expected.tolist()


@pytest.mark.parametrize(
    "level",
    [Level(1, 12, 12), Level(1, 13, 41), Level(1, 97, 131), Level(1, 60, 61, 6), Level(1, 1, 2, 6)],
)
def test_pnet_gives_openvino_s_values(
    variant: Kernels, engines: dict[str, Engine], level: Level
) -> None:
    image = scenes()[0]
    maps = engines["mtcnn_pnet"].infer({"image": AreaSampler(image).level(level)[None]})["maps"][0]
    hits = variant.cells(image, level, -np.inf)
    assert (hits.rows * maps.shape[2] + hits.columns == np.arange(maps[0].size)).all()
    assert np.abs(hits.values.T - maps.reshape(5, -1)).max() < 3e-5
    some = variant.cells(image, level, 0.0)
    assert (some.values == hits.values[hits.values[:, 0] >= 0]).all()


def test_bands_of_a_level_are_the_level_to_the_bit(variant: Kernels) -> None:
    image, level = scenes()[2], Level(1, 91, 150, 6)
    whole, height = variant.cells(image, level, -np.inf), cells_of(level)[0]
    edges = [0, 2, 10, 40, height]
    assert height % 2
    bands = [variant.cells(image, level, -np.inf, rows) for rows in pairwise(edges)]
    assert (np.concatenate([band.values for band in bands]) == whole.values).all()
    assert (np.concatenate([band.rows for band in bands]) == whole.rows).all()


@pytest.mark.parametrize("network", ["mtcnn_rnet", "mtcnn_onet"])
def test_heads_are_openvino_s(variant: Kernels, engines: dict[str, Engine], network: Any) -> None:
    image, rng = scenes()[2], np.random.default_rng(0)
    corner, side = rng.integers(-20, 500, (130, 2)), rng.integers(1, 200, (130, 1))
    windows = np.concatenate([corner, corner + side], 1)
    crops = AreaSampler(image).crops(windows, 24 if network == "mtcnn_rnet" else 48)
    expected = engines[network].infer({"crops": crops})["heads"]
    run = variant.rnet if network == "mtcnn_rnet" else variant.onet
    assert np.abs(run(image, windows) - expected).max() < 3e-5
    engine = KernelNetworks(variant).engines[network]
    assert np.abs(engine.infer({"crops": crops})["heads"] - expected).max() < 3e-5
    assert run(image, windows[:0]).shape == (0, expected.shape[1])


def test_the_gate_passes_each_variant(variant: Kernels) -> None:
    pool = WorkerPool(KernelNetworks(variant))
    verdict = judge_detector(lambda image: find_faces(image, SEARCH, pool))
    assert verdict.passed, verdict
    assert verdict.figures["iou_min"] > 0.9999


@built
def test_each_engine_is_gated_as_others_are() -> None:
    engines = KernelNetworks(Kernels(kernels.chosen())).engines
    for name in NETWORKS:
        assert NetworkGate(name).judge(engines[name]).passed


def test_a_closed_detector_says_so() -> None:
    detector = Mtcnn(serving=Serving(threads=1))
    engine = detector.engines["mtcnn_rnet"]
    detector.close()
    with pytest.raises(InferenceError, match="is closed"):
        engine.infer({"crops": np.zeros((1, 3, 24, 24), np.float32)})
    with pytest.raises(InferenceError, match="is closed"):
        detector.detect(NOISE)


@built
def test_kernels_serve_unless_another_backend_is_asked_for() -> None:
    for options, backend in (
        ({}, "kernels"),
        ({"kernels": "off"}, "openvino"),
        ({"serving": Serving(backend="openvino", threads=1)}, "openvino"),
    ):
        with Mtcnn(mode="exact", **options) as detector:
            assert detector.backend == backend
            assert {engine.backend for engine in detector.engines.values()} == {backend}


def test_without_kernels_openvino_serves_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "native", None)
    with Mtcnn(mode="exact", serving=Serving(threads=1)) as detector:
        assert detector.backend == "openvino"
        (reason,) = {getattr(engine, "reason", "") for engine in detector.engines.values()}
        assert "no C compiler" in reason


@built
def test_a_variant_that_computes_wrongly_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    onet = Kernels.onet

    def wrong(self: Kernels, *arguments: Any) -> Floats:
        return onet(self, *arguments) + (self.variant != "plain")

    monkeypatch.setattr(Kernels, "onet", wrong)
    assert kernels.chosen.__wrapped__() == "plain"
    assert all(name in caplog.text for name in kernels.variants()[:-1])


@built
def test_a_screen_is_measured_beside_the_kernels() -> None:
    """That it runs; what it measures is the machine's."""
    screened = open_networks(Serving(backend="openvino", threads=1), screen=True, gate=NetworkGate)
    try:
        assert screen_pays(KernelNetworks(Kernels("plain")), screened, SEARCH) in (True, False)
    finally:
        screened.close()


@built
@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("nms", ("avx9000", b"", b"", 0.5, True, bytearray()), "does not run that variant"),
        ("nms", ("plain", b"1234", b"1234", 0.5, True, bytearray(4)), "not of one length"),
        ("nms", ("plain", b"1" * 16, b"1234", 0.5, True, bytearray(3)), "not of one length"),
        ("nms", ("plain", b"1" * 16, b"1234", 0.5, True, b"1234"), "read-write"),
        ("level", ("plain", b"123", 1, 2, 1, 1, 0, bytearray(12)), "not height x width x 3"),
        ("level", ("plain", b"", 0, 0, 1, 1, 0, bytearray(12)), "out of range"),
        ("level", ("plain", b"123", 1, 1, 0, 1, 0, bytearray(12)), "out of range"),
        ("level", ("plain", b"123", 1, 1, 2**20, 2**20, 0, bytearray(12)), "too large"),
        ("level", ("plain", b"123", 1, 1, 1, 1, 0, bytearray(11)), "out is not"),
        ("crops", ("plain", b"123", 1, 1, bytes(16), 24, bytearray(6912)), "window is empty"),
        ("crops", ("plain", b"123", 1, 1, bytes(15), 24, bytearray(6912)), "n x 4"),
        ("crops", ("plain", b"123", 1, 1, b"", 25, bytearray()), "24 or 48"),
        ("heads", ("plain", 0, b"", b"123", 1, 1, b"", bytearray()), "1 and 2"),
        ("heads", ("plain", 1, b"", b"123", 1, 1, b"", bytearray()), "the network's weights"),
        (
            "cells",
            ("plain", b"", b"123", 1, 1, False, 12, 12, 0, 0, 1, 0.0, bytearray(4), bytearray(20)),
            "the network's weights",
        ),
        (
            "cells",
            ("plain", b"", b"123", 1, 1, False, 12, 12, 0, 0, 2, 0.0, bytearray(4), bytearray(20)),
            "no such rows",
        ),
        (
            "cells",
            ("plain", b"", bytes(12), 1, 1, True, 12, 12, 0, 0, 1, 0.0, bytearray(4), bytearray(9)),
            "its own level",
        ),
    ],
)
def test_what_does_not_fit_is_refused(name: str, arguments: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError, BufferError), match=message):
        getattr(kernels.native, name)(*arguments)


@built
def test_pictures_of_other_types_are_refused() -> None:
    image: Any = np.zeros((24, 24, 3))
    with pytest.raises(ValueError, match="uint8 or float32, not float64"):
        Kernels("plain").rnet(image, np.array([[0, 0, 24, 24]]))


def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    """All variants, the widest on AVX2 where the CPU has no more, on random sizes."""
    compiler = shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs gcc")
    sanitizers = [
        subprocess.run(
            [compiler, f"-print-file-name=lib{name}.so"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("asan", "ubsan")
    ]
    if not all(Path(path).is_absolute() for path in sanitizers):
        pytest.skip("gcc has no sanitizers")
    extension = tmp_path / "_kernels.so"
    subprocess.run(
        [
            *(compiler, "-std=gnu11", "-O0", "-g", "-ffp-contract=off", "-Wno-psabi"),
            *("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-DWIDE_ON_AVX2"),
            *("-fPIC", "-shared", f"-I{sysconfig.get_path('include')}"),
            *(str(NATIVE / "module.c"), "-o", str(extension)),
        ],
        check=True,
    )
    script = Path(__file__).with_name("fuzz_kernels.py")
    ran = subprocess.run(
        [sys.executable, str(script), str(extension), "4"],
        env={
            **os.environ,
            "LD_PRELOAD": ":".join(sanitizers),
            # The interpreter itself keeps memory.
            "ASAN_OPTIONS": "detect_leaks=0",
            "PYTHONMALLOC": "malloc",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert "calls, variants:" in ran.stdout
