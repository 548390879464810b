"""On a CUDA device: nothing waits for it but the end, and recordings give the same faces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from facestream.engines.options import Serving
from facestream.pipeline.core.types import Faces, Image
from facestream.pipeline.detection.mtcnn.cascade import Search

torch = pytest.importorskip("torch")

from facestream.pipeline.detection.mtcnn.detector import Mtcnn
from facestream.pipeline.detection.resident.detector import ResidentDetector, Size

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("torch_cuda")]

SERVING = Serving(backend="torch", device="cuda")
SETTINGS = Search(40, 0.709, (0.6, 0.7, 0.7))


def detect_batch(resident: ResidentDetector, images: list[Image]) -> list[Faces]:
    return resident.find([(image, SETTINGS) for image in images])


@pytest.fixture(scope="module")
def images() -> list[Image]:
    data = pytest.importorskip("skimage.data")
    astronaut = np.ascontiguousarray(data.astronaut()[:, :, ::-1])
    return [np.roll(astronaut, 8 * i, axis=1) for i in range(4)]


@pytest.fixture
def resident() -> Iterator[ResidentDetector]:
    with ResidentDetector(SETTINGS, SERVING) as found:
        yield found


def alike(a: Faces, b: Faces) -> bool:
    return len(a) == len(b) and np.allclose(a.boxes, b.boxes, atol=0.05)


@pytest.fixture
def no_waiting() -> Iterator[Any]:
    """A switch: from its call on, whatever waits for the device raises."""
    yield lambda: torch.cuda.set_sync_debug_mode("error")
    torch.cuda.set_sync_debug_mode("default")


def test_a_search_is_launched_without_waiting(
    resident: ResidentDetector, images: list[Image], no_waiting: Any
) -> None:
    """From the upload to the copies that are under way to the host."""
    wanted = detect_batch(resident, images)  # kernels chosen, tables uploaded, memory taken
    size = Size(images[0].shape[0], images[0].shape[1], 40)
    with resident._transfer.working():
        no_waiting()
        batch = resident._upload(size, list(range(len(images))), images)
        torch.cuda.set_sync_debug_mode("default")
        found = resident._collect(batch)
    assert all(alike(a, b) for a, b in zip(wanted, found, strict=True))


def test_what_comes_often_is_recorded(resident: ResidentDetector, images: list[Image]) -> None:
    """A batch that came often enough is replayed, and finds the same."""
    first = detect_batch(resident, images)
    for _ in range(70):
        again = detect_batch(resident, images)
        assert all(alike(a, b) for a, b in zip(first, again, strict=True))
    assert resident._recordings.captured >= 1
    other = detect_batch(resident, images[::-1])
    assert all(alike(a, b) for a, b in zip(first[::-1], other, strict=True))


def test_the_device_s_memory_is_given_back(images: list[Image]) -> None:
    """Four frames take half a gigabyte; cuBLAS keeps its workspace, up to 32 MiB a stream."""
    large = [np.tile(image, (3, 4, 1))[:1080, :1920] for image in images]
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    with ResidentDetector(SETTINGS, SERVING) as detector:
        for _ in range(40):  # recorded meanwhile
            detect_batch(detector, large)
    del detector
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() <= before + (128 << 20)


def test_the_detector_says_where_it_runs() -> None:
    with Mtcnn(serving=SERVING) as detector:
        assert detector.engines["mtcnn_pnet"].device.startswith("cuda")
        assert detector.backend == "torch"
