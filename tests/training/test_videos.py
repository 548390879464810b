"""Who is enrolled, who is a stranger, and the faces found in their clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facestream.training.errors import DataError
from facestream.training.evaluation.clips import ClipRules
from facestream.training.evaluation.lfw import half_of, open_zip
from facestream.training.evaluation.videos import (
    Trial,
    clip_faces_key,
    contact_sheet,
    draw_trial,
    watch,
)

NAMES = [f"P{p}/P{p}_{i:04d}.jpg" for p in range(60) for i in range(1 + p % 3)]


def person(name: str) -> str:
    return name.split("/", 1)[0]


def test_strangers_are_never_enrolled_and_pictures_never_shared() -> None:
    trial = draw_trial(NAMES, half="test", enrolled=8, strangers=9, seed=2)
    enrolled = [person(name) for name in trial.enrolled]
    assert len(set(enrolled)) == 8
    assert not set(trial.enrolled) & set(trial.clips)
    for clip, truth in zip(trial.clips, trial.truth, strict=True):
        if truth >= 0:
            assert person(clip) == enrolled[truth]
        else:
            assert person(clip) not in enrolled
    assert trial.truth.count(-1) == 9
    assert set(trial.truth) - {-1} == set(range(8))
    assert max(trial.truth.count(row) for row in range(8)) <= 2
    strangers = [p for p, t in zip(trial.people, trial.truth, strict=True) if t < 0]
    assert len(set(strangers)) == 9


def test_the_halves_share_nobody() -> None:
    halves = [draw_trial(NAMES, half=half, enrolled=5, strangers=5) for half in ("dev", "test")]
    people = [{person(name) for name in (*t.enrolled, *t.clips)} for t in halves]
    assert not people[0] & people[1]
    assert {half_of(p) for p in people[0]} == {"dev"}


def test_a_draw_can_be_repeated() -> None:
    first, second, other = (
        draw_trial(NAMES, half="dev", enrolled=5, strangers=5, seed=seed) for seed in (1, 1, 2)
    )
    assert first == second
    assert first != other
    assert clip_faces_key(first, ClipRules()) == clip_faces_key(second, ClipRules())
    assert clip_faces_key(first, ClipRules()) != clip_faces_key(other, ClipRules())
    assert clip_faces_key(first, ClipRules()) != clip_faces_key(first, ClipRules(frames=3))


def test_too_few_people_are_refused() -> None:
    with pytest.raises(DataError, match="ask for fewer"):
        draw_trial(NAMES, half="dev", enrolled=50, strangers=5)


def test_a_missing_zip_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lfw_grey\.zip"):
        watch(tmp_path, Trial((), ("a/b.jpg",), (0,), 0), rules=ClipRules())


def test_faces_of_real_clips_are_found_and_kept(shared_data: Path, tmp_path: Path) -> None:
    lfw = shared_data / "lfw"
    with open_zip(lfw / "lfw_grey.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
    trial = draw_trial(names, half="dev", enrolled=2, strangers=2, clips_each=1)
    rules, told = ClipRules(frames=4), [0]
    first = watch(lfw, trial, rules=rules, cache=tmp_path, threads=1, progress=told.append)
    assert sum(told) == 4
    again = watch(lfw, trial, rules=rules, cache=tmp_path, threads=1, progress=told.append)
    assert sum(told) == 4
    assert np.array_equal(first.crops, again.crops)
    assert first.crops.shape[1:] == (112, 112, 3)
    assert len(first.crops) == len(first.clip) == len(first.frame) == len(first.quality) > 0
    assert set(first.clip) <= set(range(4))
    assert first.frame.max() < 4
    sheet = contact_sheet(lfw, trial, rules, rows=2, columns=3)
    assert sheet.shape == (2 * rules.height, 3 * rules.width, 3)
