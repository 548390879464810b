"""The search on a device against the CPU's, picture by picture.

On the CPU torch runs it here; the tests marked ``gpu`` do the same on a CUDA device.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.engines.devices import CudaDevice
from facestream.engines.errors import BackendUnavailable
from facestream.engines.options import Serving
from facestream.pipeline.core.boxes import iou_matrix
from facestream.pipeline.core.types import Faces, Image
from facestream.pipeline.detection.mtcnn import cascade as cpu_cascade
from facestream.pipeline.detection.mtcnn import detector as mtcnn
from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.detection.mtcnn.parity import MIN_FACE, judge_detector

from .agreement import real_pictures

torch = pytest.importorskip("torch")

from facestream.pipeline.detection.mtcnn.cascade import Search
from facestream.pipeline.detection.resident import cascade, detector, lists, networks
from facestream.pipeline.detection.resident.detector import ResidentDetector

pytestmark = pytest.mark.usefixtures("one_torch_thread")

CARD = CudaDevice(0, "a card", (8, 6), 8 << 30)

# The same float32 networks in another library: their scores differ by the last digits.
PIXELS = 0.01
SCORE = 1e-5


@pytest.fixture(scope="module")
def resident(device: str) -> Iterator[Resident]:
    with Resident(device) as found:
        yield found


@pytest.fixture(scope="module")
def exact() -> Iterator[Mtcnn]:
    on_cpu = Serving(backend="openvino", threads=1)
    with Mtcnn(mode="exact", min_face=40, serving=on_cpu) as found:
        yield found


@pytest.fixture(scope="module")
def astronaut() -> Image:
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut()[:, :, ::-1])


class Resident(ResidentDetector):
    """Searches pictures as ``Mtcnn`` has it do."""

    def __init__(
        self,
        device: str,
        *,
        min_face: int = 40,
        factor: float = 0.709,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        padded: bool = False,
    ) -> None:
        self.settings = Search(min_face, factor, thresholds, padded)
        super().__init__(self.settings, serving(device))

    def detect(self, image: Image) -> Faces:
        return self.detect_batch([image])[0]

    def detect_batch(self, images: list[Image], *, min_face: int | None = None) -> list[Faces]:
        chosen = replace(self.settings, min_face=min_face or self.settings.min_face)
        return self.find([(image, chosen) for image in images])


def serving(device: str) -> Serving:
    return Serving(backend="torch", device="cuda" if device == "cuda" else "cpu")


def same(wanted: Faces, found: Faces) -> bool:
    return (
        len(wanted) == len(found)
        and np.allclose(wanted.boxes, found.boxes, rtol=0, atol=PIXELS)
        and np.allclose(wanted.landmarks, found.landmarks, rtol=0, atol=PIXELS)
        and np.allclose(wanted.scores, found.scores, rtol=0, atol=SCORE)
    )


@pytest.mark.shared_data
@pytest.mark.parametrize("min_face", [20, 40])
def test_finds_what_the_cpu_finds(
    shared_data: Path, resident: Resident, exact: Mtcnn, device: str, min_face: int
) -> None:
    """Photos, portraits, films and a street crowd; on the CPU some of them, for their time."""
    step = 1 if device == "cuda" else 400 // min_face
    pictures = list(real_pictures(shared_data))[::step]
    wanted = exact.detect_batch(pictures, min_face=min_face)
    found = resident.detect_batch(pictures, min_face=min_face)
    assert sum(map(len, wanted)) > 200 // step
    differ = [i for i, pair in enumerate(zip(wanted, found, strict=True)) if not same(*pair)]
    if device == "cpu":
        assert differ == []
    # Another card's convolutions may pass a score on the edge or swap two that are nearly equal.
    assert len(differ) <= len(pictures) // 50
    for i in differ:
        overlap = iou_matrix(wanted[i].boxes, found[i].boxes)
        assert (overlap.max(axis=1)[wanted[i].scores > 0.9] > 0.9).all()


def test_finds_the_face_of_a_public_picture(
    resident: Resident, exact: Mtcnn, astronaut: Image
) -> None:
    for min_face in (20, 40, 80):
        (wanted,) = exact.detect_batch([astronaut], min_face=min_face)
        (found,) = resident.detect_batch([astronaut], min_face=min_face)
        assert len(wanted) >= 1
        assert same(wanted, found)


def test_the_parity_gate_passes_it(device: str) -> None:
    with Resident(device, min_face=MIN_FACE) as resident:
        verdict = judge_detector(resident.detect)
    assert verdict.refused == ()
    assert verdict.figures["iou_min"] > 0.999


@pytest.mark.parametrize("factor", [0.5, 0.9])
def test_other_steps_of_sizes(device: str, astronaut: Image, factor: float) -> None:
    """At 0.9 boxes of two levels are merged too."""
    image = astronaut[:300, 60:340]
    on_cpu = Serving(backend="openvino", threads=1)
    options: dict[str, Any] = {"min_face": 40, "factor": factor, "thresholds": (0.5, 0.6, 0.8)}
    with (
        Mtcnn(mode="exact", serving=on_cpu, **options) as exact,
        Resident(device, **options) as resident,
    ):
        assert same(exact.detect(image), resident.detect(image))


def test_faces_at_the_edge_are_the_cpu_s(device: str, astronaut: Image) -> None:
    images = [astronaut[90:, 190:], astronaut[:160, :260], astronaut[90:170, 190:260]]
    # The screen in bfloat16 gives the same faces, and scores that differ a little more.
    on_cpu = Serving(backend="openvino", threads=1)
    with Mtcnn(mode="fast", serving=on_cpu) as fast, Resident(device, padded=True) as resident:
        for image in images:
            wanted, found = fast.detect(image), resident.detect(image)
            assert len(wanted) == 1
            assert np.allclose(wanted.boxes, found.boxes, atol=PIXELS)
            assert np.allclose(wanted.landmarks, found.landmarks, atol=PIXELS)


def test_a_batch_gives_what_single_pictures_give(
    resident: Resident, exact: Mtcnn, astronaut: Image
) -> None:
    """Seven of one size among others, some seen from behind and some read-only."""
    frozen = astronaut.copy()
    frozen.setflags(write=False)
    images = [
        astronaut,
        astronaut[:, ::-1],
        np.zeros_like(astronaut),
        astronaut[:300, :301],
        frozen,
        np.roll(astronaut, 40, axis=1),
        astronaut[:1, :1],
        np.random.default_rng(0).integers(0, 256, astronaut.shape, dtype=np.uint8),
        np.roll(astronaut, 60, axis=0),
        astronaut[:20, :200],
    ]
    batch = resident.detect_batch(images)
    assert [len(faces) for faces in batch] == [1, 1, 0, 1, 1, 1, 0, 0, 1, 0]
    for faces, image in zip(batch, images, strict=True):
        assert same(faces, resident.detect(image))
        assert same(faces, exact.detect(image))
    assert resident.detect_batch([]) == []


def test_slots_that_are_not_in_use_are_finite(
    resident: Resident, astronaut: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """−∞ of a margin times a side of 0 is NaN, which no comparison of two runs survives."""
    found: list[Any] = []

    def watched(*arguments: Any) -> Any:
        found.append(cascade.search(*arguments))
        return found[-1]

    monkeypatch.setattr(detector, "search", watched)
    resident.detect_batch([np.zeros_like(astronaut), astronaut])
    (one,) = found
    assert len(one.faces) > 1
    assert one.faces.isfinite().all()


def test_a_batch_is_filled_up_where_that_saves_launches(
    device: str, exact: Mtcnn, astronaut: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [np.roll(astronaut, 16 * i, axis=1) for i in range(7)]
    wanted = exact.detect_batch(images)
    with Resident(device) as resident:
        monkeypatch.setattr(resident, "_pads", True)
        for count, batches in ((7, 1), (5, 2), (3, 1), (1, 1)):
            resident.batches = 0
            found = resident.detect_batch(images[:count])
            assert resident.batches == batches
            assert all(same(a, b) for a, b in zip(wanted[:count], found, strict=True))


@pytest.mark.parametrize("lengths", [(10**6, 64, 64, 16, 32, 12), (512, 40_000, 64, 16, 3000, 12)])
def test_the_lists_of_a_crowd_are_budgeted(lengths: tuple[int, ...]) -> None:
    """Suppression compares each window with many before it: 40,000 times 3,000 take gigabytes."""
    assert detector._list_bytes(lists.Lengths(*lengths)) > 1 << 30
    assert detector._list_bytes(lists.Lengths(512, 128, 32, 16, 32, 12)) < 1 << 21


def test_each_picture_has_its_own_smallest_face(resident: Resident, astronaut: Image) -> None:
    searches = [replace(resident.settings, min_face=size) for size in (400, 40)]
    few, many = resident.find([(astronaut, one) for one in searches])
    assert (len(few), len(many)) == (0, 1)


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 500), (39, 39), (40, 40), (41, 40), (40, 400)]
)
def test_tiny_pictures(resident: Resident, height: int, width: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = resident.detect_batch([noise, np.zeros_like(noise)])
    assert [len(faces) for faces in found] == [0, 0]
    assert found[0].boxes.shape == (0, 4)
    assert found[0].landmarks.shape == (0, 5, 2)


def test_lists_that_are_too_short_are_noticed(
    device: str, exact: Mtcnn, astronaut: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two batches of one kind are under way when the first is seen not to have fitted."""
    monkeypatch.setattr(lists, "_FIRST", (4, 4, 1, 1))
    monkeypatch.setattr(lists, "_FIRST_WINDOW", 1)
    monkeypatch.setattr(lists, "_FIRST_ROUNDS", 2)
    images = [np.roll(astronaut, 16 * i, axis=1) for i in range(4)]
    # Memory for one picture at a time.
    monkeypatch.setattr(detector, "batch_memory", lambda device: 4 * 512 * 512 * 16)
    with Resident(device, min_face=20) as resident:
        found = resident.detect_batch(images)
        assert resident.batches == 4
        assert resident.repeated >= 4
        before = resident.repeated
        again = resident.detect_batch(images)
        assert resident.repeated == before
    wanted = exact.detect_batch(images, min_face=20)
    for a, b, c in zip(wanted, found, again, strict=True):
        assert same(a, b)
        assert same(a, c)


def test_a_batch_that_needs_too_much_is_searched_one_by_one(
    device: str, exact: Mtcnn, astronaut: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "_FIRST", (4, 4, 1, 1))
    monkeypatch.setattr(detector, "_CELL_BYTES", 1 << 30)
    images = [np.roll(astronaut, 16 * i, axis=1) for i in range(2)]
    with Resident(device) as resident:
        found = resident.detect_batch(images)
        assert resident.batches == 3
    wanted = exact.detect_batch(images)
    assert all(same(a, b) for a, b in zip(wanted, found, strict=True))


def test_of_too_many_proposals_the_best_are_searched(
    resident: Resident, exact: Mtcnn, astronaut: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = resident.detect(astronaut)
    for most in (1, 6):
        monkeypatch.setattr(cpu_cascade, "MOST_PROPOSALS", most)
        monkeypatch.setattr(cascade, "MOST_PROPOSALS", most)
        images = [astronaut, np.zeros_like(astronaut), astronaut[:, ::-1]]
        wanted = exact.detect_batch(images)
        found = resident.detect_batch(images)
        assert all(same(a, b) for a, b in zip(wanted, found, strict=True))
        assert not same(everything, found[0])


def test_threads_do_not_disturb_each_other(resident: Resident, astronaut: Image) -> None:
    alone = resident.detect(astronaut)
    found: list[Faces] = []
    threads = [
        threading.Thread(target=lambda: found.append(resident.detect(astronaut))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(same(alone, faces) for faces in found)


def test_mtcnn_falls_back_in_auto_alone(
    astronaut: Image,
    exact: Mtcnn,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A torch that sees a GPU and has no kernels for it."""

    def fails(self: ResidentDetector, *_: Any) -> None:
        raise BackendUnavailable("torch does not search on cuda:0: no kernel image is available")

    monkeypatch.setattr(mtcnn, "cuda_devices", lambda: [CARD])
    monkeypatch.setattr(ResidentDetector, "__init__", fails)
    with Mtcnn(mode="exact", serving=Serving(threads=1)) as chosen:
        assert "no kernel image" in caplog.text
        assert chosen.backend in ("kernels", "openvino")
        assert same(exact.detect(astronaut), chosen.detect(astronaut))
    for asked in (Serving(backend="torch"), Serving(device="cuda"), Serving(strict=True)):
        with pytest.raises(BackendUnavailable, match="no kernel image"):
            Mtcnn(serving=asked)


def test_mtcnn_takes_it_where_torch_serves_on_a_gpu(
    astronaut: Image, exact: Mtcnn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The choice alone: the search itself runs on the CPU here."""
    monkeypatch.setattr(mtcnn, "cuda_devices", lambda: [CARD])
    made = ResidentDetector.__init__

    def on_cpu(self: ResidentDetector, settings: Search, wanted: Serving) -> None:
        assert wanted.device == "cuda"
        made(self, settings, serving("cpu"))

    monkeypatch.setattr(ResidentDetector, "__init__", on_cpu)
    with Mtcnn(min_face=40, serving=Serving(backend="torch")) as chosen:
        assert chosen.backend == "torch"
        assert set(chosen.engines) == {"mtcnn_pnet", "mtcnn_rnet", "mtcnn_onet"}
        assert same(exact.detect(astronaut), chosen.detect(astronaut))
        assert [len(f) for f in chosen.detect_batch([astronaut] * 2, min_face=[400, 40])] == [0, 1]


def test_float32_is_whole_on_a_gpu() -> None:
    """Of torch's own settings cuDNN's convolutions round to TF32."""
    places: list[Any] = [torch.backends.cudnn.conv, torch.backends.cuda.matmul]
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "tf32"
        networks.use_full_float32()
        assert [place.fp32_precision for place in places] == ["ieee", "ieee"]
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value
