"""What is measured with: as many faces as were asked for, real ones, and galleries like ours."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from facestream.pipeline.detection.mtcnn.detector import Mtcnn

from benchmarks.embeddings import PROBE_COSINE, cohort, nearest, probes, write_gallery
from benchmarks.pictures import CROWD, SIZES, crops, frames, render, write_clip


@pytest.mark.parametrize("faces", [0, 1, 3, CROWD])
def test_as_many_faces_are_found_as_were_rendered(faces: int) -> None:
    pictures = render(SIZES["720p"], faces, count=2)
    assert pictures.shape == (2, 720, 1280, 3)
    assert not np.array_equal(pictures[0], pictures[1])
    assert pictures.std() > 20  # nothing blank
    with Mtcnn(mode="exact") as detector:
        assert [len(found.boxes) for found in detector.detect_batch(list(pictures))] == [faces] * 2


def test_the_same_seed_gives_the_same_pictures() -> None:
    first, again = (render((320, 180), 1, count=1) for _ in range(2))
    assert np.array_equal(first, again)


def test_crops_are_aligned_faces_each_another() -> None:
    some = crops(30)
    assert some.shape == (30, 112, 112, 3)
    assert len({crop.tobytes() for crop in some}) == 30


def test_a_clip_has_its_faces_on_every_frame(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_clip(path, 2, size="480p", seconds=0.2)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames == 5
    shown = frames(path, height=480, count=3)
    with Mtcnn() as detector:
        assert [len(found.boxes) for found in detector.detect_batch(list(shown))] == [2] * 3


def test_a_gallery_is_real_first_then_drawn_like_it(tmp_path: Path) -> None:
    small, large = tmp_path / "s.npy", tmp_path / "l.npy"
    real = cohort()
    write_gallery(small, 500)
    write_gallery(large, len(real) + 3000)
    gallery = np.load(large)
    assert np.array_equal(np.load(small), real[:500])
    assert np.array_equal(gallery[: len(real)], real)
    drawn = gallery[len(real) :]
    assert np.allclose(np.linalg.norm(gallery, axis=1), 1, atol=1e-5)
    assert np.linalg.norm(drawn.mean(axis=0) - real.mean(axis=0)) < 0.1
    # Spread over as many directions: the share of the largest tenth of the variances.
    shares = [
        np.sort(np.linalg.eigvalsh(np.cov(x, rowvar=False)))[-13:].sum() / np.trace(np.cov(x.T))
        for x in (real, drawn)
    ]
    assert shares[0] == pytest.approx(shares[1], rel=0.15)


def test_probes_are_known_people_and_strangers(tmp_path: Path) -> None:
    write_gallery(tmp_path / "g.npy", 2000)
    gallery = np.load(tmp_path / "g.npy")
    known, strangers = probes(gallery, 64)
    assert (nearest(gallery, known) >= PROBE_COSINE - 1e-4).all()
    assert known.shape == strangers.shape == (64, gallery.shape[1])
    assert np.allclose(nearest(gallery, known), (known @ gallery.T).max(axis=1), atol=1e-6)
