"""Making a training set of real faces: labels, what is left out, what is written, faults."""

from __future__ import annotations

import csv
import json
import signal
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.pipeline.core.types import Image
from facestream.pipeline.sources import FileSource, SourceSpec
from facestream.training.data.cutter import Cutter
from facestream.training.data.exclusion import NearDuplicates
from facestream.training.data.face_sets import FaceZips, read_folder, sha256_of
from facestream.training.data.prepare import PrepareSettings, prepare_set
from facestream.training.data.set_sources import find_sources, label_of, sample_frames
from facestream.training.errors import DataError
from facestream.training.fit.config import FitConfig
from facestream.training.fit.run import fit

from tests.faces import face_clip, portrait

from .programs import start


def people(shared_data: Path, count: int, *, each: int, beside: int = 0) -> dict[str, list[Image]]:
    """Faces of labelled people, pasted into grey pictures of 320×240."""
    rows = read_folder(shared_data / "train", datasets=["celeba_wild"])
    by_person: dict[str, list[Image]] = {}
    zips = FaceZips(shared_data / "train")
    wanted = sorted({row.identity or "" for row in rows})[beside : beside + count]
    for row in rows:
        person = row.identity or ""
        if person in wanted and len(by_person.get(person, [])) < each:
            canvas = np.full((240, 320, 3), 128, np.uint8)
            canvas[40:168, 90:218] = zips.read(row)[:, :, ::-1]
            by_person.setdefault(person, []).append(canvas)
    zips.close()
    return by_person


def write_folder(root: Path, pictures: dict[str, list[Image]]) -> Path:
    for person, images in pictures.items():
        (root / person).mkdir(parents=True)
        for number, image in enumerate(images):
            cv2.imwrite(str(root / person / f"{person}_{number:02d}.jpg"), image)
    return root


def skipped(folder: Path, name: str) -> list[tuple[str, str]]:
    with (folder / f"{name}.skipped.csv").open(newline="") as file:
        return [(row["name"], row["reason"]) for row in csv.DictReader(file)]


@pytest.fixture
def settings(tmp_path: Path) -> PrepareSettings:
    return PrepareSettings(threads=1, cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("name", "by", "label"),
    [
        ("anna/1.jpg", "folder", "anna"),
        ("1.jpg", "folder", None),
        ("a/anna/1.jpg", "folder", None),
        ("anna_01.jpg", "prefix", "anna"),
        ("deep/anna_maria-12.png", "prefix", "anna_maria"),
        ("anna (3).jpg", "prefix", "anna"),
        ("anna.jpg", "prefix", "anna"),
        ("anna2.jpg", "prefix", "anna"),
        ("0012.jpg", "prefix", None),
        ("25_0_1_2017.jpg", "none", "x"),
        ("Zoë_1.jpg", "prefix", "Zoë"),
    ],
)
def test_who_a_picture_shows(name: str, by: str, label: str | None) -> None:
    assert label_of(Path(name).parts, by) == label  # type: ignore[arg-type]


def test_a_folder_around_all_people_is_left_off(tmp_path: Path) -> None:
    for name in ("lfw/anna/1.jpg", "lfw/anna/1.png", "lfw/ben/1.jpg", "lfw/readme.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "lfw/.hidden.jpg").touch()
    found = find_sources([tmp_path], label="folder")
    assert [(s.label, s.stem) for s in found.stills] == [
        ("anna", "1"), ("anna", "1_2"), ("ben", "1"),
    ]  # fmt: skip
    assert found.ignored == 1


def test_what_systems_leave_in_folders_is_no_photo(tmp_path: Path) -> None:
    for name in ("anna/1.jpg", "anna/@eaDir/1.jpg", "#recycle/2.jpg", "clip.mts"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_sources([tmp_path], label="folder")
    assert [still.label for still in found.stills] == ["anna"]
    assert [path.name for path in found.videos] == ["clip.mts"]


def test_frames_are_what_a_run_sees(shared_cases: Path) -> None:
    clip = shared_cases / "02-hflip.mp4"
    with FileSource(SourceSpec("video", str(clip), "clip")) as source:
        expected = [frame.image for frame in source]
    times, images = zip(*sample_frames(clip, every=0), strict=True)
    assert times == tuple(sorted(times))
    assert times[0] == 0
    np.testing.assert_array_equal(images, expected)
    assert len(list(sample_frames(clip, every=0.5))) == 1 + int(times[-1] / 0.5)


def test_duplicates_are_sought_within_a_person_and_among_the_unlabelled() -> None:
    units = np.eye(3, dtype=np.float32)
    near = (units[0] + 0.1 * units[1]) / np.float32(np.sqrt(1.01))
    seen = NearDuplicates(0.9)
    assert seen.nearest("a", units[0]) == -1
    assert seen.nearest("a", near) > 0.9
    assert seen.nearest("b", units[0]) == -1
    assert seen.nearest("x", units[0]) == -1
    assert seen.nearest("x", units[1]) == 0
    assert seen.nearest("x", near) > 0.9


def test_what_is_made_can_be_trained_on(
    shared_data: Path, toy_teacher: Path, tmp_path: Path, settings: PrepareSettings
) -> None:
    pictures = people(shared_data, 6, each=3)
    first = next(iter(pictures))
    pictures[first].append(pictures[first][0])  # the same again
    source = write_folder(tmp_path / "photos", pictures)
    (source / first / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    cv2.imwrite(str(source / first / "wall.png"), np.full((200, 200, 3), 90, np.uint8))
    clip = face_clip(tmp_path / "clip.mp4", frames=20)

    manifest = prepare_set([source, clip], tmp_path / "set", "mine", settings=settings)

    rows = read_folder(tmp_path / "set")
    assert len([r for r in rows if r.identity is not None]) == 18
    assert {r.identity for r in rows} == {*pictures, None}
    assert all(r.face_px > 40 and np.isnan(r.eval_cosine) for r in rows)
    assert set(skipped(tmp_path / "set", "mine")) == {
        (f"photos/{first}/broken.jpg", "unreadable"),
        (f"photos/{first}/wall.png", "no face"),
        (f"photos/{first}/{first}_03.jpg", "near duplicate"),
        ("clip.mp4@0.52s", "near duplicate"),
    }
    assert manifest == json.loads((tmp_path / "set/mine.json").read_text())
    assert (manifest["pictures"], manifest["identities"]) == (len(rows), 6)
    assert manifest["sources"]["frames"] == 2
    assert manifest["zip_sha256"] == sha256_of(tmp_path / "set/mine.zip")
    assert manifest["models"]["encoder"].startswith("vae-")
    # Only finished files are left, and a second set of the name is refused.
    assert {p.name for p in (tmp_path / "set").iterdir()} == {
        "mine.zip", "mine.csv", "mine.skipped.csv", "mine.json",
    }  # fmt: skip
    with pytest.raises(DataError, match=r"mine\.zip exists; give another --name"):
        prepare_set([source], tmp_path / "set", "mine", settings=settings)
    again = prepare_set(
        [source, clip], tmp_path / "set", "mine", settings=settings, existing="replace"
    )
    assert again["zip_sha256"] == manifest["zip_sha256"]

    config = FitConfig(
        data=tmp_path / "set", teacher=toy_teacher, cache=tmp_path / "cache", backbone="residual",
        start="fresh", trunk="trained", held_out_percent=30, batch=4, steps=2, workers=0,
        threads=1, validation_pictures=6, accelerator="cpu",
    )  # fmt: skip
    assert np.isfinite(fit(config, tmp_path / "run")["distil"])


def test_faces_lie_on_the_template(shared_data: Path) -> None:
    """Pictures of the shared sets, cut again, come out where they were."""
    (canvas, *_), *_ = people(shared_data, 1, each=1).values()
    with Cutter(min_face=40, min_score=0.9, threads=1) as cutter:
        (found,) = cutter.cut([canvas], which="main")
        large = cv2.resize(canvas, None, fx=8, fy=8, interpolation=cv2.INTER_LINEAR)
        (reduced,) = cutter.cut([np.asarray(large, np.uint8)], which="main")
    assert found.seen == 1
    cut = found.cuts[0]
    assert cut.picture.shape == (128, 128, 3)
    assert cut.beyond == 0
    # The detector is another, so its landmarks differ by a pixel or three, not by the margin.
    assert distance(cut.picture, canvas[40:168, 90:218]) < min(
        distance(cut.picture, canvas[40 + dy : 168 + dy, 90 + dx : 218 + dx])
        for dx, dy in ((8, 0), (-8, 0), (0, 8), (0, -8))
    )
    # A large picture is searched on a reduced copy and cut from the original.
    assert reduced.cuts[0].face_px == pytest.approx(8 * cut.face_px, rel=0.15)
    assert distance(reduced.cuts[0].picture, cut.picture) < 20


def distance(one: Image, other: Image) -> float:
    """Mean difference of the middles of two pictures, slightly blurred."""
    a, b = (cv2.GaussianBlur(i, (0, 0), 3)[24:104, 24:104].astype(int) for i in (one, other))
    return float(np.abs(a - b).mean())


def test_people_of_an_evaluation_set_stay_out(
    shared_data: Path, tmp_path: Path, settings: PrepareSettings
) -> None:
    pictures = people(shared_data, 3, each=4)
    names = list(pictures)
    source = write_folder(tmp_path / "photos", pictures)
    # The first person is in the evaluation set with two other pictures than here.
    known = {names[0]: [pictures[names[0]].pop(), pictures[names[0]].pop()]}
    evaluation = write_folder(tmp_path / "evaluation", known)
    for number in (2, 3):
        (source / names[0] / f"{names[0]}_{number:02d}.jpg").unlink()
    out = tmp_path / "set"
    manifest = prepare_set(
        [source], out, "mine", settings=settings.model_copy(update={"exclude": evaluation})
    )
    rows = read_folder(out)
    assert {row.identity for row in rows} == set(names[1:])
    assert all(row.eval_cosine < 0.5 for row in rows)
    assert {reason for _, reason in skipped(out, "mine")} <= {"evaluation", "evaluation person"}
    assert manifest["evaluation_set"] == {"people": 1, "pictures": 2, "without_a_face": 0}


def test_zips_are_taken_over_by_their_list_or_searched_again(
    face_folder: Path, shared_data: Path, tmp_path: Path, settings: PrepareSettings
) -> None:
    keep_all = settings.model_copy(update={"duplicates": 2.0})
    prepare_set([face_folder / "people.zip"], tmp_path / "a", "people", settings=keep_all)
    before, after = (read_folder(f, datasets=["people"]) for f in (face_folder, tmp_path / "a"))
    assert [(r.member, r.face_px) for r in after] == [(r.member, r.face_px) for r in before]
    assert ("people.zip/0/forbidden.webp", "not listed") in skipped(tmp_path / "a", "people")
    with (
        zipfile.ZipFile(face_folder / "people.zip") as old,
        zipfile.ZipFile(tmp_path / "a/people.zip") as new,
    ):
        assert all(old.read(r.member) == new.read(r.member) for r in after)

    (image, *_), *_ = people(shared_data, 1, each=1).values()
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        archive.writestr("album/anna/1.png", cv2.imencode(".png", image)[1].tobytes())
    with pytest.raises(DataError, match=r"1 wrong size.*320×240.*--zips detect"):
        prepare_set([tmp_path / "raw.zip"], tmp_path / "b", "raw", settings=settings)
    found = settings.model_copy(update={"zips": "detect"})
    prepare_set([tmp_path / "raw.zip"], tmp_path / "b", "raw", settings=found)
    assert [row.member for row in read_folder(tmp_path / "b")] == ["anna/1.webp"]


def test_several_faces_in_a_labelled_picture(
    shared_data: Path, tmp_path: Path, settings: PrepareSettings
) -> None:
    (one, *_), (other, *_) = people(shared_data, 2, each=1).values()
    small = cv2.resize(other, None, fx=0.6, fy=0.6)
    both = np.hstack([one, np.pad(small, ((0, 96), (0, 0), (0, 0)))])
    source = write_folder(tmp_path / "photos", {"anna": [both]})
    manifest = prepare_set([source], tmp_path / "a", "mine", settings=settings)
    assert (manifest["pictures"], manifest["pictures_with_several_faces"]) == (1, 1)
    every = settings.model_copy(update={"label": "none", "faces": "all"})
    manifest = prepare_set([source], tmp_path / "b", "mine", settings=every)
    assert (manifest["pictures"], manifest["unlabelled"]) == (2, 2)
    with pytest.raises(DataError, match="use --label none"):
        prepare_set([source], tmp_path, "c", settings=settings.model_copy(update={"faces": "all"}))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "there is no "),
        (lambda p: p.mkdir(), "no face to train on in .*: no pictures or videos"),
        (lambda p: p.write_text("hello"), "is no folder, zip or video"),
    ],
)
def test_nothing_to_prepare(make, message: str, tmp_path: Path, settings: PrepareSettings) -> None:  # type: ignore[no-untyped-def]
    make(tmp_path / "input")
    with pytest.raises(DataError, match=message):
        prepare_set([tmp_path / "input"], tmp_path / "set", "mine", settings=settings)
    assert not (tmp_path / "set").exists()


def test_damaged_inputs(tmp_path: Path, settings: PrepareSettings) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK no zip")
    with pytest.raises(DataError, match=r"cannot open .*a\.zip.*is it a zip\?"):
        prepare_set([tmp_path / "a.zip"], tmp_path / "set", "mine", settings=settings)
    clip = face_clip(tmp_path / "clip.mp4", frames=20)
    (tmp_path / "not.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"1 unreadable, the first not\.mp4"):
        prepare_set([tmp_path / "not.mp4"], tmp_path / "set", "mine", settings=settings)
    assert list((tmp_path / "set").iterdir()) == []
    # A good one beside it makes a set all the same.
    prepare_set([tmp_path / "not.mp4", clip], tmp_path / "set", "mine", settings=settings)
    assert skipped(tmp_path / "set", "mine")[0] == ("not.mp4", "unreadable")


def test_a_full_disk_keeps_the_old_set(small_disk: Path, settings: PrepareSettings) -> None:
    """A real one, of 256 KiB."""
    (small_disk / "photos/anna").mkdir(parents=True)
    cv2.imwrite(str(small_disk / "photos/anna/1.jpg"), portrait()[:240, 100:340])
    prepare_set([small_disk / "photos"], small_disk / "set", "mine", settings=settings)
    before = {p.name: p.read_bytes() for p in (small_disk / "set").iterdir()}
    with (small_disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while True:
            filler.write(bytes(4096))
    with pytest.raises(DataError, match=r"cannot write .*No space left.*nothing was kept"):
        prepare_set(
            [small_disk / "photos"],
            small_disk / "set",
            "mine",
            settings=settings,
            existing="replace",
        )
    assert {p.name: p.read_bytes() for p in (small_disk / "set").iterdir()} == before


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    """Ctrl-C to the real program while it works."""
    clip = face_clip(tmp_path / "clip.mp4", frames=100)
    process = start("prepare", clip, "--out", tmp_path / "set", "--every", "0.01", "--threads", "1")
    partial = tmp_path / "set/.clip.zip.partial"
    # Once a face is written; an import of the networks' library is no place to interrupt.
    while process.poll() is None and not (partial.exists() and partial.stat().st_size):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted; an unfinished file is not kept" in said
    assert list((tmp_path / "set").iterdir()) == []
