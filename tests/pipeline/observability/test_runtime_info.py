"""What is said of what runs: true now, also after an engine or a decoder was exchanged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from facestream.engines.base import Engine
from facestream.engines.devices import CudaDevice, DriverReport
from facestream.engines.index import IndexInfo, IndexOptions
from facestream.engines.options import Serving
from facestream.pipeline.core.config import load_settings
from facestream.pipeline.core.errors import GalleryError, SourceError
from facestream.pipeline.ingest import readers as readers_module
from facestream.pipeline.metrics.families import (
    DECODER_INFO,
    ENGINE_INFO,
    FALLBACKS,
    INDEX_INFO,
    Family,
)
from facestream.pipeline.metrics.store import Metrics
from facestream.pipeline.observability import runtime_info as running_module
from facestream.pipeline.observability.runtime_info import RuntimeInfo, RuntimeInfoMetrics
from facestream.pipeline.pipeline import Pipeline
from facestream.pipeline.sources import BY_CPU, Decoding

from tests.media import make_clip

GPU = CudaDevice(0, "NVIDIA GeForce RTX 3060", (8, 6), 12 << 30)


@dataclass
class Stand:
    """As much of an engine as is asked here."""

    backend: str = "openvino"
    device: str = "CPU"
    precision: str = "float32"


def engines(**stands: Stand) -> dict[str, Engine]:
    return cast("dict[str, Engine]", stands)


def exposed(metrics: Metrics, family: Family) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels[name] for name in family.labels): sample.value
        for metric in metrics.registry.collect()
        for sample in metric.samples
        if sample.name == family.name
    }


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Says what the driver says."""

    def says(report: DriverReport) -> None:
        monkeypatch.setattr(running_module, "driver_report", lambda: report)

    says(DriverReport(problem="no NVIDIA driver: libcuda.so.1 is not there"))
    return says


def test_one_line_says_what_runs_and_why(driver: Any) -> None:
    line = RuntimeInfo(
        engines(mtcnn_pnet=Stand(), mtcnn_rnet=Stand(), vae_encoder=Stand(precision="bfloat16")),
        index=lambda: IndexInfo("flat", "CPU", "few photos"),
        decoding=Decoding("cpu", "no hardware decoder"),
    ).line()
    assert line == (
        "networks: openvino on CPU, detector float32, encoder bfloat16 (no NVIDIA driver: "
        "libcuda.so.1 is not there); index: flat on CPU (few photos); "
        "decode: cpu (no hardware decoder)"
    )


@pytest.mark.parametrize(
    ("stands", "said"),
    [
        ({"vae_encoder": Stand()}, "networks: openvino on CPU, float32"),
        (
            {
                "mtcnn_pnet": Stand("torch", "cuda:0", "float16"),
                "vae_encoder": Stand("tensorrt", "cuda:0", "float16"),
            },
            "networks: torch on cuda:0, detector float16 and tensorrt on cuda:0, encoder float16",
        ),
        (
            {"mtcnn_pnet": Stand(), "mtcnn_pnet_screen": Stand(precision="bfloat16")},
            "networks: openvino on CPU, float32",
        ),
    ],
)
def test_what_runs_alike_is_told_once(driver: Any, stands: Mapping[str, Stand], said: str) -> None:
    driver(DriverReport((GPU,), (13, 0)))
    assert RuntimeInfo(engines(**stands)).line() == said


def test_what_was_asked_for_needs_no_other_reason(driver: Any) -> None:
    running = RuntimeInfo(engines(vae_encoder=Stand()), serving=Serving(backend="openvino"))
    assert running.line() == "networks: openvino on CPU, float32 (asked for)"


def test_metrics_follow_what_is_exchanged(driver: Any) -> None:
    metrics, engine = Metrics(), Stand()
    index = IndexInfo("flat", "CPU", "")
    running = RuntimeInfo(engines(vae_encoder=engine), index=lambda: index)
    keeper = RuntimeInfoMetrics(metrics, running)
    assert exposed(metrics, ENGINE_INFO) == {("vae_encoder", "openvino", "CPU", "float32"): 1}
    assert exposed(metrics, INDEX_INFO) == {("flat", "CPU"): 1}
    engine.backend, engine.device, engine.precision = "tensorrt", "cuda:0", "float16"
    index = IndexInfo("gpu", "cuda:0", "")
    assert exposed(metrics, ENGINE_INFO) == {
        ("vae_encoder", "openvino", "CPU", "float32"): 0,
        ("vae_encoder", "tensorrt", "cuda:0", "float16"): 1,
    }
    assert exposed(metrics, INDEX_INFO) == {("flat", "CPU"): 0, ("gpu", "cuda:0"): 1}
    keeper.decoder("door", "cuda", None)
    keeper.decoder("door", "cpu", "failed")
    keeper.decoder("door", "cuda", None)
    assert exposed(metrics, DECODER_INFO) == {("door", "cpu"): 0, ("door", "cuda"): 1}
    assert exposed(metrics, FALLBACKS) == {("decode", "failed"): 1}


def test_an_engine_that_could_not_be_built_is_counted_once(driver: Any) -> None:
    @dataclass
    class Switching(Stand):
        state: str = "building"
        reason: str = "a better engine is being built"

    driver(DriverReport((GPU,), (13, 0)))
    engine, metrics = Switching(), Metrics()
    running = RuntimeInfo(engines(vae_encoder=engine))
    RuntimeInfoMetrics(metrics, running)
    assert exposed(metrics, FALLBACKS) == {}
    assert "(a better engine is being built)" in running.line()
    engine.state, engine.reason = "stayed", "refused by the parity gate"
    for _ in range(2):
        assert exposed(metrics, FALLBACKS) == {("networks", "failed"): 1}
    assert "(refused by the parity gate)" in running.line()


def test_a_gpu_that_goes_unused_is_counted(driver: Any) -> None:
    driver(DriverReport((GPU,), (13, 0)))
    stands = engines(vae_encoder=Stand())
    index = IndexInfo("flat", "CPU", "not on the GPU: faiss is the CPU's")
    for serving, decoding, counted in (
        (
            Serving(),
            Decoding("cpu", "a driver hangs", fallback=True),
            {"networks", "decode", "index"},
        ),
        (Serving(device="cpu"), BY_CPU, set()),
        (Serving(backend="openvino"), None, set()),
    ):
        metrics = Metrics()
        running = RuntimeInfo(
            stands,
            index=lambda: index,
            decoding=decoding,
            serving=serving,
            searching=IndexOptions("auto" if counted else "flat"),
        )
        RuntimeInfoMetrics(metrics, running)
        assert {part for part, _ in exposed(metrics, FALLBACKS)} == counted


def test_a_pipeline_tells_what_runs(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=6)
    settings = load_settings(flags={"runtime.decode": "cpu", "runtime.device": "cpu"})
    with Pipeline([clip], settings=settings) as pipeline:
        assert "decode: cpu (asked for)" in pipeline.running.line()
        pipeline.run()
        networks = {labels[0] for labels in exposed(pipeline.metrics, ENGINE_INFO)}
        assert networks >= {"mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet", "vae_encoder"}
        assert exposed(pipeline.metrics, DECODER_INFO) == {(str(clip), "cpu"): 1}
        assert exposed(pipeline.metrics, FALLBACKS) == {}


def test_a_decoder_that_the_cpu_replaces_shows_in_the_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "clip.mkv", frames=20, codec="ffv1", pixel_format="gray")
    monkeypatch.setattr(readers_module, "decide", lambda *_, **__: Decoding("cuda"))
    with Pipeline([clip]) as pipeline:
        report = pipeline.run()
    assert report.frames == 20
    assert report.problems == ()
    assert exposed(pipeline.metrics, DECODER_INFO) == {(str(clip), "cpu"): 1}
    assert exposed(pipeline.metrics, FALLBACKS) == {("decode", "unsupported"): 1}


def test_hardware_that_is_required_and_fails_is_the_sources_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "clip.mkv", frames=20, codec="ffv1", pixel_format="gray")
    monkeypatch.setattr(readers_module, "decide", lambda *_, **__: Decoding("cuda", required=True))
    with Pipeline([clip]) as pipeline:
        report = pipeline.run()
    assert report.frames == 0
    assert "decoding by cuda failed: it does not take this ffv1 video" in report.problems[0]


def test_an_index_that_cannot_say_what_it_is_does_not_break_the_metrics(driver: Any) -> None:
    def broken() -> IndexInfo:
        raise GalleryError("the file is gone")

    metrics = Metrics()
    RuntimeInfoMetrics(metrics, RuntimeInfo(engines(vae_encoder=Stand()), index=broken))
    assert set(exposed(metrics, ENGINE_INFO).values()) == {1}
    assert exposed(metrics, INDEX_INFO) == {}


def test_hardware_that_is_not_there_ends_the_run_before_it_begins(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=2)
    settings = load_settings(flags={"runtime.decode": "vaapi"})
    if Path("/dev/dri").exists():
        pytest.skip("there is a VA-API device")
    with pytest.raises(SourceError, match="--decode vaapi cannot serve"):
        Pipeline([clip], settings=settings)


def test_pictures_need_no_decoder(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    cv2.imwrite(str(tmp_path / "one.png"), np.zeros((40, 40, 3), np.uint8))
    with Pipeline([tmp_path]) as pipeline:
        assert "decode" not in pipeline.running.line()
