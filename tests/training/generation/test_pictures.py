"""Made pictures carry their mark, and facestream's commands refuse them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facestream.pipeline.cli import main
from facestream.pipeline.core.images import PNG_KEYWORD
from facestream.pipeline.gallery import Gallery
from facestream.training.errors import TrainingError
from facestream.training.generation.synthetic_pictures import grid, save_synthetic
from PIL import Image as Pillow

from tests.faces import portrait


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A real face, marked as a repair."""
    path = tmp_path / "repaired.png"
    photo = np.ascontiguousarray(portrait()[:, :, ::-1])
    save_synthetic(path, photo, source="compositeWithTrainedAlgorithmicMedia")
    return path


def test_the_mark_is_in_xmp_and_in_text(made: Path) -> None:
    with Pillow.open(made) as picture:
        assert "compositeWithTrainedAlgorithmicMedia" in picture.info["XML:com.adobe.xmp"]
        assert "made by facestream" in picture.info[PNG_KEYWORD]


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_identify_embed_and_run_refuse_it(
    tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    path = tmp_path / f"made.{suffix}"
    save_synthetic(path, np.ascontiguousarray(portrait()[:, :, ::-1]))
    for command in (
        ["identify", str(path)],
        ["embed", str(path), "--out", str(tmp_path / "faces.npz")],
        ["run", str(path)],
    ):
        status = main(command)
        error = capsys.readouterr().err
        assert status == 2, command
        assert "is marked as synthetic (trainedAlgorithmicMedia)" in error
        assert "Traceback" not in error


def test_a_gallery_refuses_it(
    tmp_path: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gallery = tmp_path / "people.db"
    status = main(["gallery", "add", "Eileen", str(made), "--gallery", str(gallery)])
    assert status == 2
    assert "is marked as synthetic" in capsys.readouterr().err
    people = tmp_path / "people"
    (people / "Eileen").mkdir(parents=True)
    made.rename(people / "Eileen" / made.name)
    status = main(["gallery", "import", str(people), "--gallery", str(gallery)])
    shown = capsys.readouterr()
    assert status != 0
    assert "synthetic" in shown.out + shown.err
    with Gallery(tmp_path / "own.db") as own:
        (result,) = own.add("Eileen", people / "Eileen" / made.name)
        assert (result.accepted, result.reason) == (False, "synthetic")
        assert own.people() == []


def test_a_grid_is_labelled() -> None:
    tile = np.full((112, 112, 3), 100, np.uint8)
    sheet = grid([[tile] * 3, [tile] * 2], names=("one", "two"))
    assert sheet.shape[0] > 2 * 112
    assert (sheet[-16:] < 128).any()  # the words below
    assert (sheet[:112, 96:208] == 100).all()


def test_other_kinds_of_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"as \.png or \.jpg, not made\.gif"):
        save_synthetic(tmp_path / "made.gif", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(TrainingError, match="cannot write"):
        save_synthetic(tmp_path / "nowhere" / "made.png", np.zeros((8, 8, 3), np.uint8))
