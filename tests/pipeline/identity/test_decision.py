"""The open-set decision: never forced, each person at most once, the faces' order irrelevant."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from facestream.engines.cards import CalibratedThresholds as CardThresholds
from facestream.engines.cards import Calibration, FalseMatches, ModelCard, StrangerLimits, load_card
from facestream.pipeline.core.errors import ConfigError
from facestream.pipeline.core.types import Identity, Matches
from facestream.pipeline.identity.decision import Thresholds, decide_frame, verdict_of
from hypothesis import given
from hypothesis import strategies as st

RULES = Thresholds(similarity=0.3, margin=0.05, max_sigma=1.0, min_size=24)
PEOPLE = {1: "Ann", 2: "Bob", 3: "Cem", 4: "Dana"}


def frame(*faces: dict[int, float]) -> Matches:
    """Matches of faces given as person -> similarity, best first, padded."""
    k = max((len(face) for face in faces), default=0)
    similarities = np.full((len(faces), k), -np.inf, np.float32)
    ids = np.full((len(faces), k), -1, np.int64)
    names: list[tuple[str | None, ...]] = []
    for row, face in enumerate(faces):
        ordered = sorted(face.items(), key=lambda item: -item[1])
        for column, (person, similarity) in enumerate(ordered):
            similarities[row, column], ids[row, column] = similarity, person
        names.append(tuple([PEOPLE[p] for p, _ in ordered] + [None] * (k - len(ordered))))
    return Matches(similarities, ids, tuple(names))


def outcome(identities: list[Identity]) -> list[str | None]:
    return [identity.name or identity.reason for identity in identities]


def test_a_clear_match_is_named() -> None:
    (identity,) = decide_frame(frame({1: 0.6, 2: 0.2}), RULES, sigmas=[0.5], sizes=[80])
    assert (identity.person_id, identity.name, identity.reason) == (1, "Ann", None)
    assert identity.similarity == pytest.approx(0.6)
    assert identity.probability == pytest.approx(RULES.probability(0.6))


@pytest.mark.parametrize(
    ("face", "sigma", "size", "reason"),
    [
        ({}, 0.5, 80, "no_gallery"),
        ({1: 0.9}, 0.5, 20, "too_small"),
        ({1: 0.9}, 1.5, 80, "uncertain"),
        ({1: 0.9}, math.nan, 80, "uncertain"),
        ({1: 0.2}, 0.5, 80, "below_threshold"),
        ({1: 0.60, 2: 0.58}, 0.5, 80, "ambiguous"),
        ({1: 0.31, 2: 0.29}, 0.5, 80, "ambiguous"),
    ],
)
def test_reasons(face: dict[int, float], sigma: float, size: float, reason: str) -> None:
    identity = decide_frame(frame(face), RULES, sigmas=[sigma], sizes=[size])[0]
    assert identity.reason == reason
    assert identity.name is None
    assert identity.similarity == pytest.approx(max(face.values(), default=0.0))


def test_an_ambiguous_face_names_the_people_it_may_be() -> None:
    (identity,) = decide_frame(frame({2: 0.58, 1: 0.60, 3: 0.4}), RULES)
    assert [(one.person_id, one.name) for one in identity.candidates] == [(1, "Ann"), (2, "Bob")]
    assert identity.candidates[1].similarity == pytest.approx(0.58)
    assert decide_frame(frame({1: 0.2}), RULES)[0].candidates == ()
    assert decide_frame(frame({1: 0.6}), RULES)[0].candidates == ()


def test_the_threshold_itself_is_enough() -> None:
    assert outcome(decide_frame(frame({1: 0.5}), Thresholds(similarity=0.5))) == ["Ann"]


def test_a_person_goes_to_the_more_similar_face() -> None:
    assert outcome(decide_frame(frame({1: 0.5}, {1: 0.8}), RULES)) == ["taken", "Ann"]


def test_a_loser_is_not_given_a_clearly_worse_person() -> None:
    faces = frame({1: 0.8}, {1: 0.6, 2: 0.45})
    assert outcome(decide_frame(faces, RULES)) == ["Ann", "taken"]


def test_who_is_surely_elsewhere_in_the_frame_is_no_rival() -> None:
    """Alone the first face is Ann or Bob; with Bob beside it, it is Ann."""
    face = {1: 0.60, 2: 0.58}
    assert outcome(decide_frame(frame(face), RULES)) == ["ambiguous"]
    assert outcome(decide_frame(frame(face, {2: 0.9}), RULES)) == ["Ann", "Bob"]


def test_the_assignment_is_not_greedy() -> None:
    """Greedy gives Ann to the first face and leaves the second without."""
    faces = frame({1: 0.70, 2: 0.68}, {1: 0.69, 2: 0.40}, {2: 0.30})
    wide = Thresholds(similarity=0.3, margin=0.03)
    # The first could be Bob; but Ann is not clearly the second's, so nobody is named for sure.
    assert outcome(decide_frame(faces, wide))[0] == "ambiguous"
    sure = frame({1: 0.70, 2: 0.68}, {1: 0.75})
    assert outcome(decide_frame(sure, wide)) == ["Bob", "Ann"]


def test_twins_side_by_side_stay_ambiguous() -> None:
    faces = frame({1: 0.80, 2: 0.78}, {2: 0.81, 1: 0.77})
    assert outcome(decide_frame(faces, RULES)) == ["ambiguous", "ambiguous"]


def test_no_name_while_an_unnamed_face_is_more_similar() -> None:
    faces = frame({1: 0.80, 2: 0.76}, {1: 0.50})
    assert outcome(decide_frame(faces, RULES)) == ["ambiguous", "taken"]


def test_no_faces() -> None:
    assert decide_frame(frame(), RULES) == []


similarity = st.floats(-1, 1, width=32)
face = st.dictionaries(st.sampled_from(sorted(PEOPLE)), similarity, max_size=4)
faces = st.lists(face, max_size=5)
rules = st.builds(Thresholds, similarity=st.floats(-0.5, 0.8), margin=st.floats(0, 0.4))


@given(faces, rules)
def test_names_are_earned_and_unique(rows: list[dict[int, float]], rule: Thresholds) -> None:
    identities = decide_frame(frame(*rows), rule)
    assert len(identities) == len(rows)
    named = [identity.person_id for identity in identities if identity.known]
    assert len(named) == len(set(named))
    for row, identity in zip(rows, identities, strict=True):
        assert (identity.reason is None) == identity.known
        assert 0.0 <= identity.probability <= 1.0
        if identity.person_id is None:
            continue
        assert identity.name == PEOPLE[identity.person_id]
        assert row[identity.person_id] >= rule.similarity
        assert max(row.values()) - row[identity.person_id] <= rule.margin


@given(faces, rules)
def test_no_unnamed_face_has_a_better_claim(rows: list[dict[int, float]], rule: Thresholds) -> None:
    identities = decide_frame(frame(*rows), rule)
    for (mine, a), (other, b) in itertools.permutations(zip(rows, identities, strict=True), 2):
        if a.person_id is None or b.known:
            continue
        best = max(other, key=lambda p: other[p], default=None)
        if best == a.person_id and list(other.values()).count(other[best]) == 1:
            assert other[best] <= mine[a.person_id]


@given(rows=faces, rule=rules, data=st.data())
def test_order_does_not_matter(
    rows: list[dict[int, float]], rule: Thresholds, data: st.DataObject
) -> None:
    values = [value for row in rows for value in row.values()]
    if len(set(values)) < len(values):
        return  # with exact ties either outcome is right
    order = data.draw(st.permutations(range(len(rows))))
    straight = decide_frame(frame(*rows), rule)
    shuffled = decide_frame(frame(*[rows[i] for i in order]), rule)
    assert [straight[i].person_id for i in order] == [s.person_id for s in shuffled]


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_probability_rises_with_similarity(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert RULES.probability(low) <= RULES.probability(high)


def test_probability_is_half_at_the_threshold_without_calibration() -> None:
    assert RULES.probability(0.3) == pytest.approx(0.5)


def test_bad_thresholds_are_refused() -> None:
    with pytest.raises(ConfigError):
        Thresholds(2.0)
    with pytest.raises(ConfigError):
        Thresholds(0.3, margin=-1.0)
    for rate in (0.0, 1.0, math.nan):
        with pytest.raises(ConfigError, match="false alarms"):
            Thresholds(0.3, false_alarms=rate)


def card(thresholds: CardThresholds | None, metrics: dict[str, float] | None = None) -> ModelCard:
    return ModelCard(
        name="enc",
        id="enc-1",
        file="enc.onnx",
        sha256="0" * 64,
        task="embedding",
        description="",
        inputs=(),
        outputs=(),
        source="",
        licence="Apache-2.0",
        metrics=metrics or {},
        thresholds=thresholds,
        created="2026-01-01",
    )


def test_thresholds_come_from_the_card() -> None:
    kept = CardThresholds(
        similarity=0.42,
        fmr=0.001,
        basis="pairs",
        probability=Calibration(slope=25.0, intercept=-9.0),
    )
    rule = Thresholds.from_card(card(kept, {"max_sigma": 0.8}))
    assert rule == Thresholds(similarity=0.42, max_sigma=0.8, slope=25.0, intercept=-9.0)
    assert rule.probability(0.36) == pytest.approx(0.5)
    assert Thresholds.from_card(card(kept), similarity=0.5).similarity == 0.5
    bare = CardThresholds(similarity=0.42, fmr=0.001, basis="pairs")
    assert Thresholds.from_card(card(bare)).probability(0.42) == pytest.approx(0.5)


def test_a_card_without_thresholds_says_so() -> None:
    with pytest.raises(ConfigError, match="has no thresholds"):
        Thresholds.from_card(card(None))
    assert Thresholds.from_card(card(None), similarity=0.4).similarity == 0.4


STRANGERS = FalseMatches(
    rates=(1e-2, 1e-3, 1e-6), similarities=(0.3, 0.4, 0.6), basis="made", fit="made"
)


def test_the_threshold_follows_the_size_of_the_gallery() -> None:
    rule = Thresholds(similarity=0.35, false_alarms=0.01, false_matches=STRANGERS)
    # One comparison may be wrong once in a hundred: 0.3 would do, and the default is kept.
    assert rule.among(0) == rule
    assert rule.among(1).similarity == 0.35
    assert rule.among(10).similarity == pytest.approx(0.4, abs=1e-3)
    assert rule.among(10_000).similarity == pytest.approx(0.6, abs=1e-3)
    assert Thresholds(similarity=0.35, false_alarms=0.01).among(10_000).similarity == 0.35
    assert Thresholds(similarity=0.35, false_matches=STRANGERS).among(10_000).similarity == 0.35


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.floats(1e-6, 0.5))
def test_more_people_never_make_a_name_easier(few: int, more: int, rate: float) -> None:
    few, more = sorted((few, more))
    rule = Thresholds(similarity=0.35, false_alarms=rate, false_matches=STRANGERS)
    assert 0.35 <= rule.among(few).similarity <= rule.among(more).similarity <= 1.0


def test_strangers_are_named_as_rarely_as_was_asked() -> None:
    """Gaussian similarities of strangers, looked up in galleries of several sizes."""
    rng = np.random.default_rng(5)
    table = FalseMatches(
        rates=(1e-2, 1e-3, 1e-5), similarities=(0.33263, 0.40902, 0.52649), basis="", fit=""
    )
    rule = Thresholds(similarity=-1.0, false_alarms=0.05, false_matches=table)
    for photos in (5, 50, 500):
        best = rng.normal(0.1, 0.1, (4000, photos)).max(axis=1)
        named = (best >= rule.among(photos).similarity).mean()
        assert named == pytest.approx(0.05, abs=0.014)


@pytest.mark.parametrize("name", ["vae_cohort", "vae_encoder"])
def test_the_shipped_cards_know_larger_galleries(name: str) -> None:
    shipped = load_card(name)
    assert shipped.thresholds is not None
    rule = Thresholds.from_card(
        load_card("vae_encoder"), calibrated=shipped.thresholds, false_alarms=0.02
    )
    assert rule.among(8).similarity == shipped.thresholds.similarity
    assert rule.similarity < rule.among(100).similarity < rule.among(10_000).similarity < 0.65
    explicit = Thresholds.from_card(
        shipped, calibrated=shipped.thresholds, similarity=0.3, false_alarms=0.02
    )
    assert explicit.among(10_000).similarity == 0.3


def test_deciding_needs_no_database() -> None:
    source = Path(__file__).parents[3] / "pipeline" / "identity" / "decision.py"
    assert "sqlalchemy" not in source.read_text(encoding="utf-8")


STRANGER = StrangerLimits(similarity=0.35, sigma=0.9, enrolled=0.01, strangers=0.8, basis="made up")


@pytest.mark.parametrize(
    ("identity", "sigma", "verdict"),
    [
        (Identity(1, "Ann", 0.8, 0.99, None), 2.0, "known"),
        (Identity.unknown("below_threshold", similarity=0.2), 0.5, "stranger"),
        (Identity.unknown("below_threshold", similarity=0.35), 0.9, "stranger"),
        (Identity.unknown("below_threshold", similarity=0.36), 0.5, "unsure"),
        (Identity.unknown("below_threshold", similarity=0.2), 0.95, "unsure"),
        (Identity.unknown("below_threshold", similarity=0.2), float("nan"), "unsure"),
        (Identity.unknown("no_gallery"), 0.5, "stranger"),
        (Identity.unknown("no_gallery"), float("inf"), "unsure"),
        (Identity.unknown("ambiguous", similarity=0.2), 0.5, "unsure"),
        (Identity.unknown("pending"), 0.5, "unsure"),
    ],
)
def test_verdicts(identity: Identity, sigma: float, verdict: str) -> None:
    assert verdict_of(identity, sigma, STRANGER, 1) == verdict
    if not identity.known:
        assert verdict_of(identity, sigma, None, 1) == "unsure"


def test_the_limit_follows_the_photos_and_sigma() -> None:
    limits = StrangerLimits(
        similarity=0.0, sigma=1.0, enrolled=0.01, strangers=0.8, basis="made up",
        photos=(10, 1000), sigmas=(0.6, 1.0), similarities=((0.2, 0.1), (0.4, 0.3)),
    )  # fmt: skip
    identity = Identity.unknown("below_threshold", similarity=0.25)
    assert verdict_of(identity, 0.6, limits, 10) == "unsure"
    assert verdict_of(identity, 0.6, limits, 1000) == "stranger"
    assert verdict_of(identity, 1.01, limits, 1000) == "unsure"
