"""``facestream gallery`` as a user meets it: output, one clear line, exit status."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facestream.engines.devices import cuda_devices
from facestream.pipeline.cli import main
from facestream.pipeline.core.config import default_gallery_path
from facestream.pipeline.core.errors import GalleryError
from facestream.pipeline.detection.portraits import portraits
from facestream.pipeline.gallery import FaceReader, Gallery, enrol
from facestream.pipeline.gallery.faces import PhotoContent, main_face
from facestream.pipeline.gallery.records import Face
from facestream.pipeline.gallery.store import Store

ROOT = Path(__file__).parents[3]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real pictures: one person, twice the same person, nobody."""
    data = pytest.importorskip("skimage.data")
    folder = tmp_path_factory.mktemp("pictures")
    astronaut = np.ascontiguousarray(data.astronaut()[:, :, ::-1])
    cv2.imwrite(str(folder / "one.png"), astronaut)
    cv2.imwrite(str(folder / "mirror.png"), cv2.flip(astronaut, 1))
    cv2.imwrite(str(folder / "two.png"), np.hstack([astronaut, astronaut]))
    cv2.imwrite(str(folder / "none.png"), np.zeros((200, 200, 3), np.uint8))
    (folder / "text.jpg").write_text("no picture")
    return folder


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``facestream gallery …`` on a gallery of the test's own."""

    def call(*arguments: str | Path, gallery: Path | None = None) -> tuple[int, str, str]:
        path = gallery or tmp_path / "people.db"
        command, *rest = map(str, arguments)
        status = main(["gallery", command, "--gallery", str(path), *rest])
        output = capsys.readouterr()
        return status, output.out, output.err

    return call


def failed(outcome: tuple[int, str, str]) -> str:
    """The one line of a user's mistake."""
    status, _, error = outcome
    assert status == 2
    lines = [line for line in error.splitlines() if line.startswith("facestream: ")]
    assert len(lines) == 1
    assert "Traceback" not in error
    return lines[0]


def test_add_list_show_rename_remove(run: Run, pictures: Path) -> None:
    status, out, _ = run("add", "Eileen Collins", pictures / "one.png", pictures / "mirror.png")
    assert status == 0
    assert out == "Added 2 photos of 'Eileen Collins'.\n"
    status, out, _ = run("list")
    assert status == 0
    assert "Eileen Collins" in out
    status, out, _ = run("show", "eileen collins", "--json")
    shown = json.loads(out)
    assert [Path(photo["path"]).name for photo in shown["photos"]] == ["one.png", "mirror.png"]
    assert run("show", "Eileen Collins")[0] == 0
    assert run("rename", "Eileen Collins", "E. C.")[:2] == (0, "'Eileen Collins' is now 'E. C.'.\n")
    assert "--yes" in failed(run("remove", "E. C."))
    assert run("remove", "E. C.", "--yes")[:2] == (0, "Removed 'E. C.' with 2 photos.\n")
    assert json.loads(run("list", "--json")[1]) == []


def test_the_good_ones_go_in_and_each_rejection_is_listed(run: Run, pictures: Path) -> None:
    names = ("one.png", "two.png", "none.png", "text.jpg", "missing.jpg")
    status, out, _ = run("add", "Eileen", *(pictures / name for name in names))
    assert status == 3
    for name, reason in zip(
        names[1:], ("several_faces", "no_face", "unreadable", "unreadable"), strict=True
    ):
        assert f"{name} (Eileen): {reason}: " in out
    assert "Added 1 photo of 'Eileen'; 4 were rejected." in out


def test_json(run: Run, pictures: Path) -> None:
    status, out, _ = run("add", "Eileen", pictures, "--json")
    assert status == 3
    content = json.loads(out)
    assert (content["added"], content["rejected"], content["duplicates"]) == (2, 3, 0)
    reasons = {Path(photo["path"]).name: photo["reason"] for photo in content["photos"]}
    assert reasons["two.png"] == "several_faces"
    assert reasons["one.png"] is None


def test_a_single_rejected_photo_is_reported_once(run: Run, pictures: Path) -> None:
    status, out, error = run("add", "Eileen", pictures / "none.png")
    assert (status, out) == (2, "")
    assert error.count("none.png") == error.count("no face") == 1


def test_the_same_person_under_another_name(run: Run, pictures: Path, tmp_path: Path) -> None:
    run("add", "Eileen", pictures / "one.png")
    status, out, _ = run("add", "--json", "--", "-E [b]", pictures / "mirror.png")
    assert status == 0
    (pair,) = json.loads(out)["check"]["same"]
    assert pair["names"] == ["Eileen", "-E [b]"]
    status, out, _ = run("check")
    assert status == 3
    command = f"facestream gallery merge --gallery {tmp_path / 'people.db'} -- Eileen '-E [b]'"
    assert command in out
    assert "1 pair that may be one person" in out
    assert "--yes" in failed(run("merge", "--", "Eileen", "-E [b]"))
    assert run("merge", "--yes", "--", "Eileen", "-E [b]")[0] == 0
    content = json.loads(run("show", "Eileen", "--json")[1])
    assert [one["name"] for one in content["merged"]] == ["-E [b]"]
    assert run("check")[0] == 0
    number = str(content["photos"][0]["id"])
    assert "--yes" in failed(run("remove", "Eileen", "--photo", number))
    outcome = run("remove", "Eileen", "--photo", number, "--yes")
    assert outcome[:2] == (0, "Removed 1 photo of 'Eileen'.\n")


def test_a_warning_names_both_people(run: Run, pictures: Path, shared_cases: Path) -> None:
    run("add", "Eileen", pictures / "one.png")
    status, _, error = run("add", "Other", shared_cases / "16-reencoded.jpg")
    assert status == 0
    (line,) = [line for line in error.splitlines() if line.startswith("facestream: ")]
    assert "16-reencoded.jpg (Other): it resembles 'Eileen' (0.9" in line.replace(
        "): resem", "): it resem"
    )
    assert "same person? facestream gallery merge --gallery" in line
    status, _, error = run("add", "Third", "--strict", pictures / "mirror.png")
    assert status == 2
    assert "resembles 'Eileen' (0.9" in error or "resembles 'Other' (0.9" in error
    status, out, _ = run("check", "--json")
    (pair,) = [one for one in json.loads(out)["findings"] if one["kind"] == "look_alike"]
    assert (status, pair["same_person"], pair["person"], pair["other"]) == (
        3, True, "Other", "Eileen",
    )  # fmt: skip
    assert pair["picture"] == str(shared_cases / "16-reencoded.jpg")
    assert pair["command"].endswith("Eileen Other")


def test_photos_are_set_aside_and_dated(run: Run, pictures: Path, tmp_path: Path) -> None:
    run(
        "add",
        "Eileen",
        pictures / "one.png",
        "--taken",
        "2019-06-01",
        "--valid-until",
        "2020-01-01",
    )
    run("add", "Eileen", pictures / "mirror.png")
    first, second = json.loads(run("show", "Eileen", "--json")[1])["photos"]
    assert (first["taken"] or "").startswith("2019-05-31") or first["taken"].startswith(
        "2019-06-01"
    )
    assert run("set-aside", "mirror.png", "--reason", "mirrored")[1] == "Set aside 1 photo.\n"
    assert "set aside before" in run("set-aside", str(second["id"]), str(first["id"]))[1]
    shown = run("show", "Eileen")[1]
    assert "(mirrored)" in shown
    assert "holds until 2020-01-01" in shown
    assert "2 set aside" in run("list")[1]
    assert run("restore", "mirror.png", "one.png")[1] == "Restored 2 photos.\n"
    assert run("date", "one.png", "--valid-until", "none")[1] == "Dated 1 photo.\n"
    assert "holds" not in run("show", "Eileen")[1]
    assert "no time" in failed(run("date", "one.png", "--taken", "soon"))
    assert "give --taken" in failed(run("date", "one.png"))
    assert "no photo 'nope'" in failed(run("set-aside", "nope"))
    page = tmp_path / "check.html"
    run("check", "--html", page)
    text = page.read_text()
    assert text.count("<li>") == text.count("</li>")
    assert "http" not in text.replace("http-equiv", "")


def test_a_hopeless_photo_is_warned_of(run: Run, tmp_path: Path) -> None:
    grey = cv2.cvtColor(portraits()[1].image, cv2.COLOR_BGR2GRAY)
    cv2.imwrite(str(tmp_path / "one-bit.png"), np.where(grey > 127, 255, 0).astype(np.uint8))
    status, _, error = run("add", "Eileen", tmp_path / "one-bit.png")
    assert status == 0
    assert "shows too little of the face" in error
    (photo,) = json.loads(run("check", "--json")[1])["doubtful"]
    assert photo["problem"] == "uncertain"
    assert photo["sigma"] > 1


def test_a_failed_import_says_what_went_in(
    run: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Ann", "Bob"):
        (tmp_path / "people" / name).mkdir(parents=True)
    shutil.copy(pictures / "one.png", tmp_path / "people" / "Ann")
    shutil.copy(pictures / "mirror.png", tmp_path / "people" / "Bob")
    real = Store.add_face

    def full(store: Store, name: str, *arguments: Any) -> Any:
        if name == "Bob":
            raise GalleryError("the gallery cannot grow: the disk is full")
        return real(store, name, *arguments)

    monkeypatch.setattr(Store, "add_face", full)
    status, out, error = run("import", tmp_path / "people")
    assert (status, out) == (2, "Added 1 photo of 'Ann'.\n")
    assert "the disk is full" in error


def test_names_are_not_emoji(run: Run, pictures: Path) -> None:
    run("add", ":smile:", pictures / "one.png")
    assert ":smile:" in run("list")[1]
    assert ":smile:" in run("show", ":smile:")[1]
    assert "'Ann :smile:'" in run("rename", ":smile:", "Ann :smile:")[1]


def test_the_gallery_in_use_is_named(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gallery", "add", "Eileen", str(pictures / "one.png")]) == 0
    where = str(default_gallery_path())
    assert f"used the gallery {where}" in capsys.readouterr().err
    assert main(["gallery", "list"]) == 0
    assert f"used the gallery {where}" in capsys.readouterr().err


def test_nothing_usable_is_a_mistake(run: Run, pictures: Path, tmp_path: Path) -> None:
    assert "no such file" in failed(run("add", "Eileen", tmp_path / "missing.jpg"))
    outcome = run("add", "E", pictures / "none.png", pictures / "text.jpg")
    assert "no_face 1" in failed(outcome)
    assert len(outcome[1].splitlines()) == 2
    (tmp_path / "empty").mkdir()
    assert "no pictures" in failed(run("add", "Eileen", tmp_path / "empty"))
    assert "cannot be empty" in failed(run("add", " ", pictures / "one.png"))


def test_again_is_no_mistake(run: Run, pictures: Path) -> None:
    run("add", "Eileen", pictures / "one.png")
    status, out, _ = run("add", "Eileen", pictures / "one.png")
    assert status == 0
    assert "1 was there already" in out


def test_import_export_and_back(run: Run, pictures: Path, tmp_path: Path) -> None:
    for name in ("Eileen", "nobody"):
        (tmp_path / "people" / name).mkdir(parents=True)
    for name in ("one.png", "mirror.png"):
        (tmp_path / "people" / "Eileen" / name).write_bytes((pictures / name).read_bytes())
    status, out, error = run("import", tmp_path / "people")
    assert status == 0
    assert "Added 2 photos of 'Eileen'." in out
    assert "'nobody' has no pictures" in error
    status, out, _ = run("export", tmp_path / "out")
    assert status == 0
    assert "1 person with 2 photos" in out
    assert "not empty" in failed(run("export", tmp_path / "out"))
    second = tmp_path / "second.db"
    status, out, _ = run("import", tmp_path / "out", gallery=second)
    assert status == 0
    with Gallery(second, create="never") as gallery:
        assert gallery.person("Eileen").photos == 2
    assert "Nothing to do" in run("re-embed")[1]


def test_mistakes(run: Run, pictures: Path, tmp_path: Path) -> None:
    assert "there is no gallery" in failed(run("list", gallery=tmp_path / "missing.db"))
    assert "not a facestream gallery" in failed(run("list", gallery=pictures / "one.png"))
    run("add", "Eileen", pictures / "one.png")
    assert "did you mean 'Eileen'" in failed(run("show", "Eilen"))
    assert "did you mean 'Eileen'" in failed(run("remove", "Eilen", "--yes"))
    run("add", "Other", pictures / "mirror.png")
    assert "already a person called 'Other'" in failed(run("rename", "Eileen", "other"))
    assert "cannot be read" in failed(run("import", tmp_path / "missing"))
    assert failed(run("add", "Eileen"))


def test_settings_come_from_a_file_the_environment_and_flags(
    run: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cuda_devices():
        pytest.skip("there is a GPU, on which TensorRT may serve")
    config = tmp_path / "settings.toml"
    config.write_text('[runtime]\nbackend = "tensorrt"\n')
    (tmp_path / "people" / "Ann").mkdir(parents=True)
    shutil.copy(pictures / "one.png", tmp_path / "people" / "Ann")
    add = ("add", "Eileen", pictures / "one.png")
    assert "tensorrt" in failed(run(*add, "--config", config))
    assert run(*add, "--config", config, "--backend", "openvino")[0] == 0
    monkeypatch.setenv("FACESTREAM_RUNTIME_BACKEND", "openvino")
    assert run("re-embed", "--config", config)[0] == 0, "the environment wins over the file"
    for command in (
        ("add", "Eileen", pictures / "one.png"),
        ("import", tmp_path / "people"),
        ("list",),
        ("show", "Eileen"),
        ("remove", "Eileen", "--yes"),
        ("rename", "Eileen", "Ann"),
        ("check",),
        ("merge", "Eileen", "Ann"),
        ("export", tmp_path / "out"),
        ("re-embed",),
    ):
        line = failed(run(*command, "--config", tmp_path / "missing.toml"))
        assert "cannot read the settings file" in line
    assert "Eileen" in run("list")[1], "nothing was done"


def test_another_model_is_refused_with_the_command(
    run: Run, pictures: Path, tmp_path: Path
) -> None:
    run("add", "Eileen", pictures / "one.png")
    with sqlite3.connect(tmp_path / "people.db") as connection:
        connection.execute("UPDATE meta SET value = 'old' WHERE key = 'model_id'")
        connection.execute("UPDATE templates SET model_id = 'old'")
    connection.close()
    line = failed(run("add", "Eileen", pictures / "mirror.png"))
    assert f"facestream gallery re-embed --gallery {tmp_path / 'people.db'}" in line
    status, out, _ = run("re-embed")
    assert status == 0
    assert "Embedded 1 photo" in out
    assert run("add", "Eileen", pictures / "mirror.png")[0] == 0


def test_names_are_not_markup(run: Run, pictures: Path) -> None:
    name = "[red]Ann[/red] [/] \\["
    run("add", name, pictures / "one.png", pictures / "none.png")
    assert name in run("list")[1]
    assert name in run("show", name)[1]
    assert name in run("rename", name, "[b]")[1]
    assert "'[b]'" in run("remove", "[b]", "--yes")[1]


def test_file_names_do_not_reach_the_terminal_raw(run: Run, pictures: Path, tmp_path: Path) -> None:
    odd = tmp_path / "a\x1b[31m\n[red]b.png"
    odd.write_bytes((pictures / "none.png").read_bytes())
    _, out, error = run("add", "Ann", odd, pictures / "one.png")
    assert "\x1b" not in out + error
    assert "a\\x1b[31m\\n[red]b.png" in out
    odd.write_bytes((pictures / "mirror.png").read_bytes())
    run("add", "Ann", odd)
    assert "\x1b[31m\n" not in run("show", "Ann")[1]


def test_an_empty_default_gallery_is_no_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert main(["gallery", "list"]) == 0
    assert "gallery add NAME PHOTO" in capsys.readouterr().out
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "command",
    ["add", "import", "list", "show", "check", "merge", "remove", "rename", "export", "re-embed"],
)
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gallery", command, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Examples" in out
    assert f"facestream gallery {command}" in out


def test_help_does_not_load_the_database_or_the_networks() -> None:
    script = (
        "import runpy, sys; runpy.run_path('conftest.py')\n"
        "from facestream.pipeline.cli import main\n"
        "main(['gallery', 'add', '--help'])\n"
        "print(sorted({'sqlalchemy', 'openvino', 'faiss', 'torch', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_ctrl_c_keeps_and_reports_what_was_added(
    run: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrol, "CHUNK", 1)

    def pressed(picture: PhotoContent, reader: FaceReader) -> Face:
        if picture.path.name == "none.png":
            raise KeyboardInterrupt
        return main_face(picture, reader)

    monkeypatch.setattr(enrol, "main_face", pressed)
    status, out, error = run("add", "Eileen", pictures / "one.png", pictures / "none.png")
    assert status == 130
    assert "Added 1 photo of 'Eileen'." in out
    assert "what was added is kept" in error
    with Gallery(tmp_path / "people.db", create="never") as gallery:
        assert gallery.person("Eileen").photos == 1
