"""``facestream identify`` and ``facestream embed``."""

from __future__ import annotations

import io
import json
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.pipeline.core.errors import ImageError
from facestream.pipeline.core.images import DecodedPhoto
from facestream.pipeline.core.picture_files import in_batches, list_pictures, read_ahead
from facestream.pipeline.core.types import Image
from facestream.pipeline.gallery import Gallery
from numpy.typing import NDArray

from .conftest import Run, mistake, start

NAMES = {
    "path",
    "box",
    "score",
    "landmarks",
    "embedding",
    "sigma",
    "logvar",
    "unreadable",
    "unreadable_reason",
    "model",
}


def loaded(path: Path) -> dict[str, NDArray[np.generic]]:
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def test_embed_gives_a_row_for_each_face(run: Run, pictures: Path, tmp_path: Path) -> None:
    status, text, error = run("embed", pictures, "--out", tmp_path / "faces.npz")
    assert status == 3, "one of the files is no picture"
    assert "4 faces of 5 pictures" in text
    assert "d_text.jpg is not a picture" in error
    arrays = loaded(tmp_path / "faces.npz")
    assert set(arrays) == NAMES
    names = [Path(str(path)).name for path in arrays["path"]]
    assert names == ["a_one.png", "b_two.png", "b_two.png", "e_one.jpg"]
    assert arrays["box"].shape == (4, 4)
    assert arrays["landmarks"].shape == (4, 5, 2)
    assert arrays["score"].shape == arrays["sigma"].shape == (4,)
    embedding = np.asarray(arrays["embedding"], np.float32)
    assert np.linalg.norm(embedding, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    assert (embedding @ embedding.T).min() > 0.7, "all four are the same woman"
    assert [Path(str(path)).name for path in arrays["unreadable"]] == ["d_text.jpg"]


def test_embed_largest_gives_a_row_for_each_picture(
    run: Run, pictures: Path, tmp_path: Path
) -> None:
    files = [pictures / name for name in ("c_none.png", "b_two.png", "d_text.jpg", "a_one.png")]
    status, _, _ = run("embed", *files, "--largest", "--out", tmp_path / "faces.npz")
    assert status == 3
    arrays = loaded(tmp_path / "faces.npz")
    assert list(arrays["path"]) == [str(file) for file in files]
    nothing = np.asarray(np.isnan(np.asarray(arrays["box"], np.float32)).all(axis=1))
    assert nothing.tolist() == [True, False, True, False]
    empty = np.isnan(np.asarray(arrays["embedding"], np.float32)).all(axis=1)
    assert np.array_equal(empty, nothing)
    assert list(arrays["score"][nothing]) == [0, 0]
    box = np.asarray(arrays["box"], np.float32)
    assert box[1] == pytest.approx(box[3], abs=4), "the larger of the two faces"


def test_embed_reads_a_list_from_standard_input(
    run: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = f"{pictures / 'a_one.png'}\n\n{pictures / 'below' / 'e_one.jpg'}\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(listed))
    status, _, _ = run("embed", "-", "--out", tmp_path / "faces.npz")
    assert status == 0
    assert len(loaded(tmp_path / "faces.npz")["path"]) == 2


def test_an_interrupted_embed_keeps_what_it_has(portrait: Image, tmp_path: Path) -> None:
    small = cv2.resize(portrait, (256, 256))
    cv2.imwrite(str(tmp_path / "face.jpg"), small)
    process = start("embed", *([str(tmp_path / "face.jpg")] * 3000), "--out", "f.npz", cwd=tmp_path)
    assert process.stderr is not None
    while "/3000 pictures" not in (line := process.stderr.readline()):
        assert line, "it ended before it said how far it was"
    process.send_signal(signal.SIGINT)
    text, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert "Interrupted: " in text
    arrays = loaded(tmp_path / "f.npz")
    assert 0 < len(arrays["path"]) < 3000
    assert np.isfinite(np.asarray(arrays["embedding"], np.float32)).all()


def test_identify_names_faces_from_left_to_right(run: Run, pictures: Path, tmp_path: Path) -> None:
    with Gallery(tmp_path / "people.db") as gallery:
        gallery.add("Eileen Collins", pictures / "a_one.png")
    files = [pictures / name for name in ("b_two.png", "c_none.png", "d_text.jpg")]
    status, text, error = run("identify", *files, "--json", "--gallery", tmp_path / "people.db")
    assert status == 3
    two, none, text_file = json.loads(text)
    assert [face["name"] for face in two["faces"]] == ["Eileen Collins", "unknown"]
    assert two["faces"][1]["reason"] == "taken", "a person is at most once in a picture"
    assert two["faces"][0]["box"][0] < two["faces"][1]["box"][0]
    assert none == {"path": str(files[1]), "problem": None, "faces": [], "notes": []}
    assert "is not a picture" in text_file["problem"]
    assert "is not a picture" in error


def test_identify_prints_a_table(run: Run, pictures: Path) -> None:
    status, text, error = run("identify", pictures / "a_one.png", pictures / "c_none.png")
    assert status == 0
    assert "unknown (no gallery)" in text
    assert "no face" in text
    assert "facestream gallery add" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["embed", "{pictures}"], "Missing option '--out'"),
        (["embed", "{text}", "--out", "x.npz"], "d_text.jpg is not a picture"),
        (["embed", "missing.jpg", "--out", "x.npz"], "missing.jpg"),
        (["embed", "{empty}", "--out", "x.npz"], "no pictures in"),
        (["embed", "{pictures}", "--out", "{empty}"], "it is a folder"),
        (["embed", "{pictures}", "--out", "{empty}/no/x.npz"], "there is no folder"),
        (["identify"], "Missing argument 'IMAGE...'"),
        (["identify", "missing.jpg"], "missing.jpg"),
        (["identify", "{text}", "{text}"], "none of the 2 pictures can be read"),
        (["identify", "{pictures}", "--gallery", "{empty}/no.db"], "there is no gallery"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    run: Run,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    places = {"pictures": pictures, "text": pictures / "d_text.jpg", "empty": empty}
    line = mistake(run(*(argument.format(**places) for argument in arguments)))
    assert message in line
    assert not (tmp_path / "x.npz").exists()


def test_lists_of_pictures(pictures: Path) -> None:
    names = [Path(path).name for path in list_pictures([pictures])]
    assert names == ["a_one.png", "b_two.png", "c_none.png", "d_text.jpg", "e_one.jpg"]
    assert list_pictures(["-"], stdin=io.StringIO("a b.jpg\0c\nd.jpg\0")) == ["a b.jpg", "c\nd.jpg"]
    assert list_pictures(["nowhere.xyz"]) == ["nowhere.xyz"]


def test_reading_ahead_keeps_the_order(pictures: Path) -> None:
    paths = list_pictures([pictures]) * 20
    read = list(read_ahead(paths))
    assert [path for path, _ in read] == paths
    assert sum(isinstance(image, ImageError) for _, image in read) == 20


def test_batches_are_bound_by_number_and_size() -> None:
    def of(count: int, side: int) -> list[int]:
        image = DecodedPhoto(np.zeros((side, side, 3), np.uint8))
        return [len(b) for b in in_batches((str(n), image) for n in range(count))]

    assert of(70, 8) == [32, 32, 6]
    assert of(5, 4000) == [2, 2, 1]
    assert of(0, 8) == []
