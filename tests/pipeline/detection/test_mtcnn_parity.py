"""Our MTCNN against the real facenet-pytorch on real pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facestream.engines.options import Serving
from facestream.pipeline.core.types import Floats, Image
from facestream.pipeline.detection.mtcnn.detector import KernelChoice, Mode, Mtcnn

from tests.peers import facenet_detect, facenet_mtcnn

from .agreement import EXACT, FAST, Agreement, Tolerance, real_pictures

pytestmark = pytest.mark.peer

torch = pytest.importorskip("torch")

Detections = tuple[Floats, Floats, Floats]


@pytest.fixture(scope="module")
def pictures(shared_data: Path) -> list[Image]:
    return list(real_pictures(shared_data))


@pytest.fixture(scope="module", params=[20, 40])
def min_face(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def peer(pictures: list[Image], min_face: int) -> list[Detections]:
    mtcnn = facenet_mtcnn(min_face=min_face)
    threads = torch.get_num_threads()
    # On a busy machine its threads wait for each other: one is quicker than two.
    torch.set_num_threads(1)
    try:
        return [facenet_detect(mtcnn, picture[:, :, ::-1]) for picture in pictures]
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("mode", "tolerance", "recall", "extra"),
    [("exact", EXACT, 0.995, 0.005), ("fast", FAST, 0.99, 0.01)],
)
def test_finds_what_facenet_pytorch_finds(
    pictures: list[Image],
    peer: list[Detections],
    min_face: int,
    mode: Mode,
    kernels: KernelChoice,
    tolerance: Tolerance,
    recall: float,
    extra: float,
) -> None:
    if mode == "fast" and kernels == "off" and min_face == 40:
        pytest.skip("two minutes; with min_face 20 it is tested")
    agreement = Agreement()
    with Mtcnn(mode=mode, min_face=min_face, kernels=kernels) as detector:
        for detections, picture in zip(peer, pictures, strict=True):
            agreement.add(picture, detections, detector.detect(picture), tolerance)
    assert agreement.wanted > 150
    assert agreement.found >= recall * agreement.wanted, agreement
    assert agreement.extra <= extra * agreement.given, agreement


def test_finds_what_facenet_pytorch_finds_on_a_public_picture() -> None:
    """The same where the research data is not at hand: with each backend."""
    data = pytest.importorskip("skimage.data")
    rgb = np.asarray(data.astronaut())
    detections = facenet_detect(facenet_mtcnn(min_face=20), rgb)
    assert len(detections[0]) == 1
    for mode in ("exact", "fast"):
        for backend in ("auto", "openvino", "torch"):
            agreement = Agreement()
            with Mtcnn(mode=mode, min_face=20, serving=Serving(backend=backend)) as detector:
                bgr = rgb[:, :, ::-1].copy()
                agreement.add(bgr, detections, detector.detect(bgr), EXACT)
            assert agreement == Agreement(wanted=1, found=1, given=1, extra=0), (mode, backend)
