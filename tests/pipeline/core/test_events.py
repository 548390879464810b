"""Events: their JSON, their schema and their documentation."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from facestream.pipeline.core.events import (
    Appeared,
    Event,
    EventType,
    FusedTemplate,
    Identified,
    Left,
    Moment,
    OutputCause,
    OutputStateEvent,
    SourceStateEvent,
    State,
    Updated,
    face_picture,
    json_schema,
    parse_event,
)
from facestream.pipeline.core.types import Reason
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

DOCUMENT = Path(__file__).parents[3] / "docs" / "events.md"


def sighting(**changes: object) -> Left:
    values: dict[str, object] = {
        "source": "clip.mp4",
        "sighting": "abc",
        "track_id": 3,
        "start": Moment.at(1.23456, 1_000_000_000.5),
        "end": Moment.at(2.5, 1_000_000_002.0),
        "best_box": (1.26, 2.0, 30.0, 40.0),
        "best_pts": 2.0,
        "best_score": 0.99,
        "faces": 12,
        "model": "vae-1",
    }
    return Left.model_validate(values | changes)


def test_a_line_of_json_has_every_field() -> None:
    event = sighting(person_id=7, name="Zoë", similarity=0.71, probability=0.98, uncertainty=0.2)
    line = event.to_json()
    assert "\n" not in line
    data = json.loads(line)
    assert set(data) == set(Left.model_fields)
    assert data["type"] == "left"
    assert data["name"] == "Zoë"
    assert data["start"] == {"pts": 1.235, "utc": "2001-09-09T01:46:40.500000Z"}
    assert data["best_box"] == [1.3, 2.0, 30.0, 40.0]
    assert Left.model_validate_json(line).person_id == 7


@pytest.mark.parametrize("value", [math.nan, math.inf, np.float32("nan")])
def test_an_uncertainty_that_was_never_measured_is_null(value: float) -> None:
    assert json.loads(sighting(uncertainty=value).to_json())["uncertainty"] is None


def test_every_event_has_an_id_of_its_own() -> None:
    assert sighting().id != sighting().id


@pytest.mark.parametrize(
    "wrong",
    [
        {"faces": 0},
        {"probability": 1.5},
        {"similarity": math.nan},
        {"reason": "moody"},
        {"colour": "red"},
    ],
)
def test_wrong_values_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        sighting(**wrong)


def test_the_picture_travels_with_the_event_but_not_into_json() -> None:
    image = np.zeros((5, 6, 3), np.uint8)
    event = sighting().with_image(image)
    assert event.image is image
    named = event.with_picture("pictures/a.jpg")
    assert named.image is image
    assert json.loads(named.to_json())["picture"] == "pictures/a.jpg"
    assert "image" not in named.to_json()


def test_the_embedding_is_written_at_length_one() -> None:
    template = FusedTemplate(np.array([3, 0, -4], np.float32), np.zeros(3, np.float32))
    event = sighting().with_template(template)
    assert json.loads(event.to_json())["embedding"] is None
    assert json.loads(event.with_embedding().to_json())["embedding"] == [0.6, 0.0, -0.8]
    assert sighting().with_embedding().embedding is None


def test_the_schema_describes_every_field_of_every_event() -> None:
    schema = json_schema()
    assert set(schema["discriminator"]["mapping"]) == set(get_args(EventType))
    for kind in KINDS:
        part = schema["$defs"][kind.__name__]
        assert set(part["properties"]) == set(kind.model_fields)
        assert part["additionalProperties"] is False
        for name, field in part["properties"].items():
            assert field.get("description"), f"{kind.__name__}.{name}"


def test_every_event_of_the_document_is_one() -> None:
    examples = [
        parse_event(text)
        for text in re.findall(
            r"```json\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL
        )
    ]
    assert [type(event) for event in examples] == list(KINDS)
    for event in examples:
        assert parse_event(event.to_json()) == event


def test_the_document_has_a_row_for_every_field_state_and_reason() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    head, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    rows = {part.split("\n")[0].strip("`"): _rows(part) for part in parts}
    shared = {*SHARED, "type"}
    assert rows["Fields of all events"] == shared
    assert set(re.findall(r"^\| \[`(\w+)`\]", head, re.MULTILINE)) == set(get_args(EventType))
    sightings = rows["Fields of the events of a sighting"]
    assert sightings == {*(set(Left.model_fields) & set(Appeared.model_fields)), "at", "box"} - (
        shared | {"start"}
    )
    for kind in (Appeared, Identified, Updated):
        assert rows[_type(kind)] == set(kind.model_fields) - shared - sightings
    assert rows["left"] == set(Left.model_fields) - shared - sightings
    assert rows["source_state"] == {*SourceStateEvent.model_fields, *get_args(State)} - shared
    causes = {*OutputStateEvent.model_fields, *get_args(OutputCause)}
    assert rows["output_state"] == causes - shared
    assert rows["Reasons"] == set(get_args(Reason))


KINDS = (Appeared, Identified, Updated, Left, SourceStateEvent, OutputStateEvent)
SHARED = ("schema_version", "id", "source")


def _type(kind: type[Event]) -> str:
    return str(kind.model_fields["type"].default)


def _rows(text: str) -> set[str]:
    return set(re.findall(r"^\| `(\w+)` ", text, flags=re.MULTILINE))


@given(
    st.tuples(*[st.floats(-500, 900, width=32)] * 4),
    st.integers(1, 400),
    st.integers(1, 400),
    st.integers(1, 300),
)
def test_a_face_picture_is_inside_the_frame(
    box: tuple[float, ...], width: int, height: int, largest: int
) -> None:
    frame = np.zeros((height, width, 3), np.uint8)
    picture = face_picture(frame, np.array(box, np.float32), largest=largest)
    assert picture.ndim == 3
    assert 1 <= picture.shape[0] <= min(height, largest)
    assert 1 <= picture.shape[1] <= min(width, largest)
    assert not np.shares_memory(picture, frame)
