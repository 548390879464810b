"""What data, disks and users do to a run: it says so, loses nothing, and goes on the same."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import cv2
import pytest
import torch
from facestream.training.data.face_sets import read_folder
from facestream.training.data.readable import find_unusable
from facestream.training.errors import CheckpointError, DataError
from facestream.training.fit.checkpoint import load_checkpoint, save_checkpoint
from facestream.training.fit.config import FitConfig
from facestream.training.fit.loop import LAST
from facestream.training.fit.prepared import prepare
from facestream.training.fit.run import fit
from facestream.training.progress import silent

from .conftest import picture, write_set
from .programs import start

ROOT = Path(__file__).resolve().parents[2]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def curve(run: Path) -> list[dict[str, str]]:
    rows = rows_of(run / "curve.csv")
    for row in rows:
        del row["speed"]  # the only thing that a clock decides
    return rows


def replace_members(path: Path, contents: dict[str, bytes | None]) -> None:
    """Write a zip again with other contents of some members (None leaves one out)."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | contents
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if content is not None:
                archive.writestr(name, content)


def test_unreadable_pictures_are_listed_and_left_out(
    small_config: FitConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = cv2.imencode(".webp", picture(1))[1].tobytes()
    small = cv2.imencode(".webp", picture(1)[:100, :90])[1].tobytes()
    damage = {
        "1/1_0.webp": b"", "1/1_1.webp": b"no picture", "2/2_0.webp": whole[:40],
        "2/2_1.webp": small, "3/3_0.webp": None,
    }  # fmt: skip
    replace_members(small_config.data / "people.zip", damage)
    config = small_config.model_copy(update={"validation_pictures": 100})
    fit(config, tmp_path / "run")
    listed = rows_of(tmp_path / "run/skipped.csv")
    assert {row["member"] for row in listed} == set(damage)
    assert {row["dataset"] for row in listed} == {"people"}
    reasons = {row["member"]: row["reason"] for row in listed}
    assert "is not a picture" in reasons["1/1_1.webp"]
    assert "is 90×100, not 128×128" in reasons["2/2_1.webp"]
    assert "cannot read 3/3_0.webp" in reasons["3/3_0.webp"]
    assert caplog.text.count("5 of 84 pictures cannot be used and are left out") == 1
    # The second time it is known already: the same pictures, the same curve.
    fit(config, tmp_path / "again")
    assert curve(tmp_path / "again") == curve(tmp_path / "run")


def test_a_zip_that_changed_is_looked_at_again(face_folder: Path, tmp_path: Path) -> None:
    rows = read_folder(face_folder)
    looked: list[int] = []
    assert find_unusable(face_folder, rows, cache=tmp_path, progress=looked.append) == []
    assert find_unusable(face_folder, rows, cache=tmp_path, progress=looked.append) == []
    assert sum(looked) == len(rows)
    replace_members(face_folder / "people.zip", {"4/4_2.webp": b"broken"})
    (found,) = find_unusable(face_folder, rows, cache=tmp_path, progress=looked.append)
    assert found.row.member == "4/4_2.webp"
    assert sum(looked) == len(rows) + 72  # the other set is as it was
    (tmp_path / "readable_people.npz").write_bytes(b"damaged")
    assert len(find_unusable(face_folder, rows, cache=tmp_path)) == 1


def test_bits_that_turned_in_a_zip_are_seen(face_folder: Path, tmp_path: Path) -> None:
    path = face_folder / "people.zip"
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("5/5_1.webp").header_offset
    content = bytearray(path.read_bytes())
    content[offset + 300] ^= 0xFF
    path.write_bytes(content)
    (found,) = find_unusable(face_folder, read_folder(face_folder), cache=tmp_path)
    assert "cannot read 5/5_1.webp: Bad CRC-32" in found.reason


def test_empty_data_is_said(small_config: FitConfig, tmp_path: Path) -> None:
    def said(folder: Path) -> str:
        with pytest.raises(DataError) as caught:
            prepare(small_config.model_copy(update={"data": folder}), silent)
        return str(caught.value)

    (tmp_path / "none").mkdir()
    assert "no training faces in" in said(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    write_set(tmp_path / "empty", "people", {}, listed=set())
    assert "no training faces in" in said(tmp_path / "empty")
    (tmp_path / "bad").mkdir()
    members = {f"{i}/{i}.webp": i for i in range(20)}
    write_set(tmp_path / "bad", "people", members, listed=set(members))
    replace_members(tmp_path / "bad/people.zip", dict.fromkeys(members, b"no picture"))
    assert "0 to train on and 0 held out, 20 cannot be read" in said(tmp_path / "bad")
    (tmp_path / "bad/people.zip").write_bytes(b"no zip")
    assert "cannot open" in said(tmp_path / "bad")


def test_people_with_one_picture(
    small_config: FitConfig, toy_teacher: Path, tmp_path: Path
) -> None:
    """They make no class and no pair, but train on the teacher's targets like the rest."""
    folder = tmp_path / "single"
    folder.mkdir()
    members = {f"{p}/{p}.webp": p for p in range(40)}
    members |= {f"200/200_{i}.webp": 100 + i for i in range(3)}
    members |= {f"201/201_{i}.webp": 200 + i for i in range(3)}
    write_set(folder, "people", members, listed=set(members))
    config = small_config.model_copy(update={"data": folder, "steps": 2})
    data = prepare(config, silent)
    single = [row.identity not in ("200", "201") for row in data.train]
    assert all(data.labels[single] == -1)
    assert len(data.labels[single]) > 10
    assert fit(config, tmp_path / "run")["distil"] >= 0


def test_a_checkpoint_of_another_architecture_is_not_resumed(
    small_config: FitConfig, tmp_path: Path
) -> None:
    fit(small_config.model_copy(update={"steps": 1}), tmp_path / "run")
    other = small_config.model_copy(update={"backbone": "mobile"})
    with pytest.raises(CheckpointError, match="of another architecture"):
        fit(other, tmp_path / "run", resume=tmp_path / "run" / LAST)


def test_a_real_full_disk_leaves_the_old_checkpoint(small_disk: Path) -> None:
    path = small_disk / LAST
    save_checkpoint(path, {"model": {"w": torch.zeros(9000)}, "config": "{}", "step": 1})
    with (small_disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))
    with pytest.raises(CheckpointError, match="the one before it is untouched"):
        save_checkpoint(path, {"model": {"w": torch.ones(9000)}, "config": "{}", "step": 2})
    state = load_checkpoint(path)
    assert state["step"] == 1
    assert state["model"]["w"].sum() == 0
    assert {p.name for p in small_disk.iterdir()} == {LAST, "filler"}


def test_a_file_that_may_not_grow_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    """The same fault without root: the system refuses to write beyond a size."""
    code = f"""
import conftest, resource, torch
from pathlib import Path
from facestream.training.errors import CheckpointError
from facestream.training.fit.checkpoint import load_checkpoint, save_checkpoint
path = Path({str(tmp_path / LAST)!r})
save_checkpoint(path, {{"model": {{}}, "config": "{{}}", "step": 1}})
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
try:
    save_checkpoint(path, {{"model": {{"w": torch.zeros(99999)}}, "config": "{{}}", "step": 2}})
except CheckpointError as error:
    print(error, load_checkpoint(path)["step"])
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert "the one before it is untouched 1" in ran.stdout, ran.stderr
    assert [p.name for p in tmp_path.iterdir()] == [LAST]


def test_an_interrupted_run_resumes_to_the_same_numbers(
    small_config: FitConfig, tmp_path: Path
) -> None:
    """Ctrl-C to the real program, a worker process included, then the real ``resume``."""
    config = small_config.model_copy(update={"steps": 6, "save_every": 2, "workers": 1})
    fit(config, tmp_path / "whole")
    (tmp_path / "settings.json").write_text(config.model_dump_json())
    out = tmp_path / "parts"
    process = start("fit", "--config", tmp_path / "settings.json", "--out", out)
    while process.poll() is None and not (out / LAST).exists():
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "interrupted; an unfinished file is not kept, the last checkpoint is" in said
    assert "Traceback" not in said
    assert load_checkpoint(out / LAST)["step"] < 6
    process = start("resume", out)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert curve(out) == curve(tmp_path / "whole")
    assert rows_of(out / "validation.csv") == rows_of(tmp_path / "whole/validation.csv")
    one, other = (load_checkpoint(run / LAST)["model"] for run in (out, tmp_path / "whole"))
    assert all(torch.equal(one[name], other[name]) for name in one)
