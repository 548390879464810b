"""Real work, done once, whose result is known by another way."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import closing

import cv2
import numpy as np
from facestream.engines.cards import list_cards, model_path
from facestream.engines.errors import InferenceError, ModelError
from facestream.engines.index import IndexInfo, open_index

from ..analysis import FaceAnalyzer
from ..core.config import Settings
from ..core.errors import UsageError
from ..core.types import Floats, Image
from ..detection.mtcnn.detector import Mtcnn
from ..detection.portraits import portraits
from ..recognition.encoder import Encoder
from ..recognition.uncertainty import normalise
from ..sources import decide
from .runtime_info import RuntimeInfo

# Reduced precision moves an embedding by about 0.001 of cosine; a wrong result by far more.
LEAST_COSINE = 0.98


def checks(settings: Settings) -> dict[str, Callable[[], str]]:
    """Checks by name; each returns what it measured.

    They raise ``EngineError`` or ``FacestreamError`` where a result is wrong.
    """
    return {
        "models": _check_models,
        "choice": lambda: _check_choice(settings),
        "inference": _check_inference,
        "detection": _check_detection,
        "search": _check_search,
        "video": _check_video,
    }


def _check_models() -> str:
    """Every model's file has its card's checksum."""
    return ", ".join(f"{model_path(c.name).name} ({c.sha256[:8]}…)" for c in list_cards())


def _check_choice(settings: Settings) -> str:
    """What runs with these settings, and why, as a run says it."""
    runtime = settings.runtime
    strict = runtime.strict_device
    decoding = decide(runtime.decode, strict="strict" if strict else "lenient")
    with FaceAnalyzer(settings).load() as analyzer:
        index = open_index(analyzer.encoder.dim, kind=runtime.index, strict=strict)
        found = IndexInfo(index.kind, index.device, index.reason)
        return RuntimeInfo(
            analyzer.engines, index=lambda: found, decoding=decoding, serving=runtime.serving()
        ).line()


def _check_inference() -> str:
    """The encoder's embeddings agree with those OpenCV computes from the same file in float32."""
    crops = _patterns(4)
    with closing(Encoder()) as encoder:
        encoder.embed(crops)
        began = time.perf_counter()
        mu, logvar = encoder.embed(crops)
        each = (time.perf_counter() - began) / len(crops)
    if not (np.isfinite(mu).all() and np.isfinite(logvar).all()):
        raise InferenceError("the encoder returned values that are not finite")
    cosine = float((normalise(mu) * normalise(_by_opencv(crops))).sum(axis=1).min())
    if cosine < LEAST_COSINE:
        raise InferenceError(
            f"the encoder on {encoder.backend} disagrees with OpenCV's result: cosine "
            f"{cosine:.3f}; try --backend onnxruntime, and report this with "
            "'facestream doctor --json'"
        )
    return (
        f"encoder on {encoder.backend}, {1000 * each:.1f} ms a face; cosine to OpenCV's "
        f"float32 result {cosine:.5f}"
    )


def _check_detection() -> str:
    """The detector finds the one face of a portrait."""
    image = portraits()[0].image
    with closing(Mtcnn()) as detector:
        detector.detect(image)
        began = time.perf_counter()
        faces = detector.detect(image)
        seconds = time.perf_counter() - began
    timing = f"{image.shape[1]}×{image.shape[0]} in {1000 * seconds:.0f} ms"
    if len(faces) != 1:
        raise InferenceError(f"the detector found {len(faces)} faces in a portrait of one person")
    return f"found the face of a portrait, {timing}"


def _check_search() -> str:
    """The index finds the same neighbours as plain numpy."""
    random = np.random.default_rng(0)
    vectors = normalise(random.normal(size=(2000, 128)).astype(np.float32))
    queries = normalise(vectors[:32] + random.normal(0, 0.05, (32, 128)).astype(np.float32))
    index = open_index(128)
    # Adopted, so that they are where the index searches (the GPU), not in its tail.
    index.adopt(np.arange(len(vectors), dtype=np.int64), vectors)
    began = time.perf_counter()
    similarities, ids = index.search(queries, 5)
    seconds = time.perf_counter() - began
    expected = -np.sort(-(queries @ vectors.T), axis=1)[:, :5]
    if not np.allclose(similarities, expected, atol=1e-4) or (ids[:, 0] != np.arange(32)).any():
        raise InferenceError(
            f"the index ({index.kind} on {index.device}) returns other neighbours than an exact "
            "search; reinstall FAISS"
        )
    each = f"{1e6 * seconds / 32:.0f} µs each"
    return f"{index.kind} on {index.device}: 32 queries in 2,000 vectors, {each}"


def _check_video() -> str:
    """A few frames of H.264 are written and read back."""
    import av

    buffer = io.BytesIO()
    try:
        with av.open(buffer, "w", format="mp4") as file:
            stream = file.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 112, 112, "yuv420p"
            for image in _patterns(3):
                file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            file.mux(stream.encode(None))
        buffer.seek(0)
        with av.open(buffer, "r") as written:
            count = len(list(written.decode(video=0)))
    except (av.FFmpegError, ValueError) as error:
        raise UsageError(f"H.264 does not work: {error}; reinstall av (PyAV)") from error
    return f"{count} frames of H.264 written and read back (PyAV {av.__version__})"


def _patterns(count: int) -> Image:
    """Smooth coloured patterns, the same everywhere: N×112×112×3."""
    y, x = np.mgrid[:112, :112] / 112
    waves = [
        127.5 + 120 * np.sin(6.28 * ((1 + n) * x + channel * y) + n + channel)
        for n in range(count)
        for channel in range(3)
    ]
    stack = np.stack(waves).reshape(count, 3, 112, 112).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(stack).astype(np.uint8)


def _by_opencv(crops: Image) -> Floats:
    # OpenCV 5 warns that its new reader passes this model to the old one.
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    try:
        network = cv2.dnn.readNetFromONNX(str(model_path("vae_encoder")))
    except cv2.error as error:
        raise ModelError(f"OpenCV cannot read the encoder: {error}") from error
    finally:
        cv2.utils.logging.setLogLevel(level)
    rows = []
    for crop in crops:
        network.setInput(cv2.dnn.blobFromImage(crop, swapRB=True), "faces")
        rows.append(np.asarray(network.forward("mu"), np.float32).reshape(1, -1))
    return np.concatenate(rows)
