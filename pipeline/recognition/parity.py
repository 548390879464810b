"""The parity gates of encoder and decoder: their outputs against their own in float32."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from facestream.engines.base import Array, Engine
from facestream.engines.cards import checksum
from facestream.engines.options import EngineOptions
from facestream.engines.parity import Verdict
from facestream.engines.registry import load_engine
from numpy.typing import NDArray

from ..core.types import Floats, Image
from ..detection.portraits import Portrait, portraits
from .align import align_faces
from .uncertainty import normalise, sigma

COSINE: Final = 0.999
"""A cosine of 0.999 moves the similarity of two faces by at most 0.045, usually by far less than
two pictures of one person differ."""

RANK: Final = 0.99
PSNR: Final = 40.0
"""In dB, of a range of two (−1..1): a root mean square error of 1 % of the range."""

SHIPPED: Final = Path(__file__).parent / "parity_reference.npz"
"""The reference of the encoder that ships, so that a start needs no second engine."""

# 64 faces in these batches: each is a shape, and for a plan a kernel, of its own.
BATCHES: Final = (32, 16, 8, 4, 2, 1, 1)

# Side of an aligned face, and how many the gate has.
SIZE: Final = 112
COUNT: Final = 64

# Landmarks move by up to this many pixels of the portrait (a face is about 90 wide), each way.
_SHIFT = 2.5

Degradation = Callable[[Image, float, np.random.Generator], Image]

# Random codes that the decoder draws.
_CODES = 16
_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class EncoderOutputs:
    """mu N×D and logvar N×D."""

    mu: Floats
    logvar: Floats


class EncoderGate:
    """Compares an encoder with itself in float32 on 64 faces, clear to poor.

    Figures: ``finite`` (share of numbers that are), ``cosine_min``, ``cosine_median`` and
    ``sigma_rank`` (Spearman's rho of sigma).

    Args:
        path: the encoder's ONNX network, with input N×3×112×112 and outputs mu and logvar.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def key(self) -> str:
        faces, network = faces_digest()[:16], checksum(self._path)[:16]
        return f"encoder-{_VERSION}-{faces}-{network}-{COSINE}-{RANK}"

    def judge(self, engine: Engine) -> Verdict:
        expected = reference(self._path)
        found = run_encoder(engine, gate_faces())
        if found.mu.shape != expected.mu.shape or found.logvar.shape != expected.logvar.shape:
            return Verdict({}, (f"mu is {found.mu.shape}, not {expected.mu.shape}",))
        finite = np.mean([np.isfinite(found.mu).mean(), np.isfinite(found.logvar).mean()])
        with np.errstate(invalid="ignore", over="ignore"):
            similar = cosines(found.mu, expected.mu)
            found_sigma = sigma(found.logvar)
        figures = {
            "finite": float(finite),
            "cosine_min": float(similar.min()),
            "cosine_median": float(np.median(similar)),
            "sigma_rank": rank_correlation(found_sigma, sigma(expected.logvar)),
        }
        return Verdict.of(figures, {"finite": 1.0, "cosine_min": COSINE, "sigma_rank": RANK})


class DecoderGate:
    """Compares a decoder with itself in float32 on 16 fixed random codes.

    Figures: ``finite``, ``cosine_min`` of the pictures and ``psnr_min`` in dB.

    Args:
        path: the decoder's ONNX network, with one input N×D and pictures within −1..1.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def key(self) -> str:
        return f"decoder-{_VERSION}-{checksum(self._path)[:16]}-{COSINE}-{PSNR}"

    def judge(self, engine: Engine) -> Verdict:
        expected = _decoder_reference(self._path, checksum(self._path))
        found = _decoded(engine)
        if found.shape != expected.shape:
            return Verdict({}, (f"pictures are {found.shape}, not {expected.shape}",))
        with np.errstate(invalid="ignore", over="ignore"):
            errors = np.square(found - expected).mean(axis=1)
            figures = {
                "finite": float(np.isfinite(found).mean()),
                "cosine_min": float(cosines(found, expected).min()),
                "psnr_min": float(10 * np.log10(4 / np.maximum(errors, 1e-12)).min()),
            }
        return Verdict.of(figures, {"finite": 1.0, "cosine_min": COSINE, "psnr_min": PSNR})


@cache
def faces_digest() -> str:
    """SHA-256 of the gate's faces: they differ where OpenCV decodes or resizes otherwise."""
    return hashlib.sha256(gate_faces().tobytes()).hexdigest()


def run_encoder(engine: Engine, faces: Image) -> EncoderOutputs:
    """An encoder's outputs for the gate's faces, 64×112×112×3 BGR uint8.

    The engine takes N×S×S×3 BGR uint8, or N×3×S×S RGB float32. Raises InferenceError if it fails.
    """
    spec = engine.inputs[0]
    side = spec.shape[2] or SIZE
    if side != SIZE:
        faces = np.stack([np.asarray(cv2.resize(face, (side, side)), np.uint8) for face in faces])
    parts: list[Mapping[str, Array]] = []
    start = 0
    for size in BATCHES:
        batch: Array = faces[start : start + size]
        if spec.dtype != np.uint8:
            batch = np.ascontiguousarray(batch[..., ::-1].transpose(0, 3, 1, 2), np.float32)
        parts.append(engine.infer({spec.name: batch}))
        start += size
    return EncoderOutputs(
        np.concatenate([part["mu"] for part in parts]),
        np.concatenate([part["logvar"] for part in parts]),
    )


def reference(path: Path) -> EncoderOutputs:
    """The float32 outputs of the encoder in this file: as shipped, else computed by OpenVINO.

    Raises:
        BackendUnavailable: it is not the one that ships, and OpenVINO is not installed.
        ModelError: the file is missing or damaged.
        InferenceError: the network failed.
    """
    return _encoder_reference(path, checksum(path))


def shipped_reference(digest: str) -> EncoderOutputs | None:
    """The reference that ships, if it is of the network with this SHA-256 and of these faces."""
    try:
        with np.load(SHIPPED) as kept:
            if str(kept["network"]) == digest and str(kept["faces"]) == faces_digest():
                return EncoderOutputs(kept["mu"], kept["logvar"])
    except FileNotFoundError:
        pass
    return None


def write_shipped(path: Path, file: Path = SHIPPED) -> None:
    """Write the reference that ships, for the encoder in ``path``; see ``reference``."""
    outputs = _computed(path)
    data = io.BytesIO()
    network, faces = np.array(checksum(path)), np.array(faces_digest())
    np.savez_compressed(data, network=network, faces=faces, mu=outputs.mu, logvar=outputs.logvar)
    file.write_bytes(data.getvalue())


def cosines(a: Floats, b: Floats) -> Floats:
    """Of rows N×D with rows N×D; NaN where one of them has NaN."""
    found = np.einsum("nd,nd->n", *(normalise(rows).astype(np.float64) for rows in (a, b)))
    return np.asarray(found, np.float32)


def rank_correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Spearman's rho of two lists of N numbers; equal numbers share the mean of their ranks.

    NaN where a list holds a NaN or nothing but one number. (``scipy.stats`` takes most of a
    second to import, and every start runs this.)
    """
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("nan")
    x, y = _ranks(a), _ranks(b)
    x, y = x - x.mean(), y - y.mean()
    length = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / length if length > 0 else float("nan")


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle: NDArray[np.float64] = np.cumsum(counts) - (counts - 1) / 2
    return middle[place]


@cache
def _encoder_reference(path: Path, digest: str) -> EncoderOutputs:
    return shipped_reference(digest) or _computed(path)


def _computed(path: Path) -> EncoderOutputs:
    with load_engine(path, backend="openvino", options=_FLOAT32) as engine:
        return run_encoder(engine, gate_faces())


@cache
def _decoder_reference(path: Path, digest: str) -> Floats:
    with load_engine(path, backend="openvino", options=_FLOAT32) as engine:
        return _decoded(engine)


def _decoded(engine: Engine) -> Floats:
    """Pictures as rows N×K."""
    spec = engine.inputs[0]
    codes = np.random.default_rng(0).standard_normal((_CODES, spec.shape[1] or 1), np.float32)
    return engine.infer({spec.name: codes})[engine.outputs[0].name].reshape(_CODES, -1)


_FLOAT32 = EngineOptions(precision="float32")


@cache
def gate_faces() -> Image:
    """64×112×112×3 BGR uint8, the same at every call; not to be written to.

    Each portrait is aligned a little differently each time, one of two mirrored, and then
    left clear, or blurred, made small, darkened, made noisy or compressed, each in steps: so that
    the encoder's sigma has an order to keep.
    """
    rng = np.random.default_rng(0)
    kinds = (_clear, _blur, _small, _dark, _noise, _jpeg)
    people = portraits()
    faces = np.empty((COUNT, SIZE, SIZE, 3), np.uint8)
    for i in range(COUNT):
        level = (i // (2 * len(kinds)) + 1) / (COUNT // (2 * len(kinds)) + 1)
        face = _aligned(people[i % len(people)], rng)
        if rng.random() < 0.5:
            face = np.ascontiguousarray(face[:, ::-1])
        faces[i] = kinds[(i // 2) % len(kinds)](face, level, rng)
    faces.setflags(write=False)
    return faces


def _aligned(portrait: Portrait, rng: np.random.Generator) -> Image:
    moved = portrait.landmarks + rng.uniform(-_SHIFT, _SHIFT, (1, 5, 2))
    return np.asarray(align_faces(portrait.image, moved)[0], np.uint8)


def _clear(face: Image, level: float, rng: np.random.Generator) -> Image:
    return face


def _blur(face: Image, level: float, rng: np.random.Generator) -> Image:
    return np.asarray(cv2.GaussianBlur(face, (0, 0), 0.5 + 2.5 * level), np.uint8)


def _small(face: Image, level: float, rng: np.random.Generator) -> Image:
    side = round(SIZE * (1 - 0.75 * level))
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR), np.uint8)


def _dark(face: Image, level: float, rng: np.random.Generator) -> Image:
    return np.round(face * (1 - 0.8 * level)).astype(np.uint8)


def _noise(face: Image, level: float, rng: np.random.Generator) -> Image:
    noisy = face + rng.normal(0, 5 + 20 * level, face.shape)
    return np.clip(noisy.round(), 0, 255).astype(np.uint8)


def _jpeg(face: Image, level: float, rng: np.random.Generator) -> Image:
    quality = round(60 - 50 * level)
    _, data = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
