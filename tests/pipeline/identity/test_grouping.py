"""Faces of unknown people are grouped into people."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.engines.cards import MODELS, read_card
from facestream.pipeline.core.config import RecognitionSettings
from facestream.pipeline.core.events import FusedTemplate, Left, Moment
from facestream.pipeline.core.types import Floats
from facestream.pipeline.identity.decision import Thresholds
from facestream.pipeline.identity.grouping import (
    ALONE,
    GroupingRule,
    group_faces,
    group_sightings,
    open_grouping,
)
from facestream.pipeline.recognition.uncertainty import normalise

from tests.pipeline.tracks import sighting

RULE = GroupingRule(Thresholds(0.4, max_sigma=1.2), usual_sigma=0.7)


def faces(*people: int, noise: float = 0.6, seed: int = 1) -> Floats:
    """A template of each person: two of one have a cosine of about 0.7."""
    random = np.random.default_rng(seed)
    centres = normalise(random.normal(size=(max(people) + 1, 128)))
    spread = normalise(random.normal(size=(len(people), 128)))
    return normalise(centres[list(people)] + noise * spread)


def sure(count: int) -> Floats:
    return np.full(count, 0.6, np.float32)


def test_faces_of_a_person_are_a_group_numbered_in_the_order_of_appearance() -> None:
    templates = faces(4, 0, 4, 2, 0, 4)
    groups = group_faces(templates, sure(6), RULE)
    assert groups.tolist() == [0, 1, 0, 2, 1, 0]
    assert group_faces(templates, sure(6), RULE).tolist() == groups.tolist()
    backwards = group_faces(templates[::-1], sure(6), RULE)
    assert backwards.tolist() == [0, 1, 2, 0, 1, 0]
    assert group_faces(templates[:0], sure(0), RULE).tolist() == []
    assert group_faces(templates[:1], sure(1), RULE).tolist() == [0]


def test_a_face_that_shows_too_little_is_alone() -> None:
    groups = group_faces(faces(0, 0, 0), np.array([0.6, 1.3, 0.6], np.float32), RULE)
    assert groups.tolist() == [0, ALONE, 0]
    assert group_faces(faces(0, 0), np.array([2.0, np.nan], np.float32), RULE).tolist() == [-1, -1]


def test_different_people_of_one_frame_are_not_joined() -> None:
    templates = faces(0, 0, 0, noise=0.1)
    apart = np.zeros((3, 3), bool)
    apart[0, 1] = apart[1, 0] = True
    groups = group_faces(templates, sure(3), RULE, apart=apart)
    assert groups[0] != groups[1]


def test_two_poor_faces_must_be_more_similar() -> None:
    templates = np.zeros((2, 128), np.float32)
    templates[0, 0], templates[1, 0], templates[1, 1] = 1, 0.45, 1 - 0.45**2
    for sigmas, together in (((0.6, 0.6), True), ((0.6, 1.1), True), ((1.1, 1.1), False)):
        groups = group_faces(normalise(templates), np.array(sigmas, np.float32), RULE)
        assert bool(groups[0] == groups[1]) is together, sigmas


def test_the_threshold_rises_with_the_number_of_faces() -> None:
    rule = open_grouping(read_card(MODELS / "vae_encoder.json"), RecognitionSettings(), None)
    assert rule.usual_sigma == pytest.approx(0.726)
    strangers = normalise(np.random.default_rng(1).normal(size=(400, 128)))
    similar = [s.similarity for s in (rule.thresholds.among(2), rule.thresholds.among(400))]
    assert similar == pytest.approx([0.3756, 0.447], abs=0.01)
    groups = group_faces(strangers, sure(400), rule)
    assert len(set(groups.tolist())) > 380, "2 % of the searches may be wrong"


def seen(template: Floats, start: float, end: float, source: str = "a.mp4") -> Left:
    event = sighting(source=source).model_copy(
        update={"start": Moment.at(start, 1e9), "end": Moment.at(end, 1e9)}
    )
    return event.with_template(FusedTemplate(9 * template, np.zeros(128, np.float32), 0.6))


def test_sightings_of_one_source_at_one_time_are_different_people() -> None:
    (face,) = faces(0)
    two = group_sightings([seen(face, 0, 5), seen(face, 4, 6)], RULE)
    assert two.tolist() == [0, 1]
    later = group_sightings([seen(face, 0, 4), seen(face, 4, 6)], RULE)
    assert later.tolist() == [0, 0]
    elsewhere = group_sightings([seen(face, 0, 5), seen(face, 4, 6, "b.mp4")], RULE)
    assert elsewhere.tolist() == [0, 0]
    photo = group_sightings([seen(face, 1, 1), seen(face, 1, 1), seen(face, 2, 2)], RULE)
    assert photo[0] != photo[1]
    none = group_sightings([sighting(), seen(face, 0, 1)], RULE)
    assert none.tolist() == [ALONE, 0]
