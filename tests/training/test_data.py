"""Readers, the split, degradations and views on small made data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from facestream.training.data.degrade import KINDS, Kind, degrade, random_view
from facestream.training.data.face_sets import (
    FaceRow,
    FaceZips,
    centre_crop,
    make_manifest,
    read_folder,
    read_list,
    sha256_of,
    split_identities,
    write_manifest,
)
from facestream.training.data.teacher import teacher_targets
from facestream.training.data.training_views import SeededBatches, Views, identity_centres
from facestream.training.errors import DataError
from facestream.training.evaluation.lfw import read_pairs
from facestream.training.fit.prepared import person_labels

from .conftest import picture


def test_only_listed_pictures_are_rows(face_folder: Path) -> None:
    rows = read_folder(face_folder)
    assert len(rows) == 24 * 3 + 12
    assert not any("forbidden" in row.member for row in rows)
    assert {row.identity for row in rows if row.dataset == "utkface"} == {None}
    assert {row.identity for row in rows if row.dataset == "people"} == {str(p) for p in range(24)}


def test_pictures_come_back_in_rgb(face_folder: Path) -> None:
    zips = FaceZips(face_folder)
    row = read_folder(face_folder, datasets=["people"])[0]
    image = zips.read(row)
    assert image.shape == (128, 128, 3)
    error = np.abs(image.astype(int) - picture(0)[:, :, ::-1].astype(int)).mean()
    assert error < 8  # webp is lossy
    with pytest.raises(DataError, match=r"cannot read 0/none\.webp"):
        zips.read(FaceRow("people", "0/none.webp", 1.0, 0.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [("member,score\na,1\n", "not a list of training faces"), (None, "cannot read the list")],
)
def test_bad_lists_are_named(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "faces.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_list(path)


def test_empty_folder_and_missing_set(tmp_path: Path, face_folder: Path) -> None:
    with pytest.raises(DataError, match="no training faces"):
        read_folder(tmp_path)
    with pytest.raises(DataError, match=r"nothere\.zip is missing"):
        read_folder(face_folder, datasets=["nothere"])


def test_split_keeps_people_apart_and_is_stable(face_folder: Path) -> None:
    rows = read_folder(face_folder)
    train, held = split_identities(rows, percent=25)
    assert train
    assert held
    assert len(train) + len(held) == len(rows)
    assert not {r.identity for r in train} & {r.identity for r in held} - {None}
    again, _ = split_identities(rows[::-1], percent=25)
    assert set(again) == set(train)


def test_manifest_has_counts_and_checksums(face_folder: Path, tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.json", make_manifest(face_folder, read_folder(face_folder)))
    people, nobody = json.loads((tmp_path / "manifest.json").read_text())
    assert (people["pictures"], people["identities"]) == (72, 24)
    assert (nobody["pictures"], nobody["identities"]) == (12, 0)
    assert people["zip_sha256"] == sha256_of(face_folder / "people.zip")


@pytest.mark.parametrize("kind", KINDS)
def test_degradations_keep_shape_and_grow(kind: Kind) -> None:
    image = picture(5)[8:120, 8:120]
    assert degrade(image, kind, 0.0, np.random.default_rng(0)) is image
    changes = []
    for level in (0.1, 0.5, 1.0):
        changed = []
        for seed in range(5):
            out = degrade(image, kind, level, np.random.default_rng(seed))
            assert out.shape == image.shape
            assert out.dtype == np.uint8
            changed.append(np.abs(out.astype(int) - image.astype(int)).mean())
        changes.append(np.mean(changed))
    assert changes == sorted(changes)


def test_degradations_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match=r"within 0\.\.1"):
        degrade(picture(0), "blur", 1.5, np.random.default_rng(0))
    with pytest.raises(ValueError, match="no degradation is called"):
        degrade(picture(0), "rain", 0.5, np.random.default_rng(0))  # type: ignore[arg-type]


def test_views_repeat_with_their_seed() -> None:
    a, b = (random_view(picture(1), np.random.default_rng(4)) for _ in range(2))
    assert np.array_equal(a.degraded, b.degraded)
    assert a.clean.shape == (112, 112, 3)
    other = random_view(picture(1), np.random.default_rng(5))
    assert not np.array_equal(a.degraded, other.degraded)


def test_streaks_are_masked_out(face_folder: Path) -> None:
    rows = read_folder(face_folder)
    views = Views(
        face_folder, rows, np.ones((len(rows), 4), np.float32), labels=person_labels(rows), seed=0
    )
    for index, row in enumerate(rows[:2] + rows[-2:]):
        index = index if index < 2 else len(rows) - 4 + index
        mask = views[0, index]["mask"].numpy()[0]
        if row.dataset == "utkface":
            assert mask[:15].sum() == 0
            assert 0.3 < mask.mean() < 0.8
        else:
            assert mask.all()


def test_identity_centres_leave_the_picture_itself_out() -> None:
    rows = [FaceRow("a", f"7/{i}", 1, 0) for i in range(7)] + [FaceRow("a", "x/1", 1, 0)]
    targets = np.random.default_rng(0).standard_normal((8, 5)).astype(np.float32)
    centres, flags = identity_centres(rows, targets)
    unit = targets / np.linalg.norm(targets, axis=1, keepdims=True)
    np.testing.assert_allclose(centres[2], unit[[0, 1, 3, 4, 5, 6]].mean(axis=0), atol=1e-6)
    assert flags.tolist() == [1] * 7 + [0]


def test_batches_go_on_where_they_stopped() -> None:
    whole = list(SeededBatches(20, 6, seed=1, first=0, steps=8, shard=(0, 1)))
    rest = list(SeededBatches(20, 6, seed=1, first=5, steps=8, shard=(0, 1)))
    assert rest == whole[5:]
    assert [{e for e, _ in b} for b in whole] == [{i // 3} for i in range(8)]
    halves = [list(SeededBatches(20, 6, seed=1, first=0, steps=8, shard=(r, 2))) for r in (0, 1)]
    assert [sorted(a + b) for a, b in zip(*halves, strict=True)] == [sorted(b) for b in whole]


def test_teacher_targets_are_kept(face_folder: Path, toy_teacher: Path, tmp_path: Path) -> None:
    rows = read_folder(face_folder)
    seen: list[int] = []
    first = teacher_targets(
        face_folder, rows, teacher=toy_teacher, cache=tmp_path / "c", progress=seen.append
    )
    assert sum(seen) == len(rows)
    again = teacher_targets(
        face_folder, rows[3:9], teacher=toy_teacher, cache=tmp_path / "c", progress=seen.append
    )
    assert sum(seen) == len(rows)
    np.testing.assert_array_equal(again[1], first[1][3:9])
    assert not np.allclose(first[0], first[1])  # the mirror image is another picture
    assert centre_crop(picture(0)).shape == (112, 112, 3)


def test_no_picture_of_the_evaluation_set_is_listed(shared_data: Path) -> None:
    rows = read_folder(shared_data / "train")
    names = read_pairs(shared_data / "lfw/pairs.txt").names
    people = {name.split("/")[0].lower() for name in names}
    stems = {Path(name).stem.lower() for name in names}
    for row in rows:
        assert Path(row.member).stem.lower() not in stems
        assert (row.identity or "").lower() not in people
        # What the lists say of the nearest person of the evaluation sets.
        assert row.eval_cosine < 0.55
