"""What ``gallery check``, ``gallery add`` and learning from sightings find and take.

    python -m benchmarks gallery-check --json benchmarks/results/gallery_check.json

A gallery of LFW through facestream's own detector, alignment and encoder: people with three to
five pictures, and people with one. Then some photos are moved to other people, people are split
in two, and copies are added. The constants of ``gallery/findings.py`` and ``gallery/learn.py``
were chosen on the people of the ``dev`` half; the ``test`` half is what is reported.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import cv2
import numpy as np
from facestream.engines.cards import load_card
from facestream.engines.options import Serving
from facestream.pipeline.core.config import RecognitionSettings
from facestream.pipeline.core.types import Faces, Floats, Image
from facestream.pipeline.gallery import FaceOrigin, Gallery, learn_faces
from facestream.pipeline.gallery.guard import PhotoGuard
from facestream.pipeline.gallery.records import Embedded
from facestream.pipeline.identity.search import open_rules
from facestream.pipeline.recognition.encoder import Encoder
from facestream.training.evaluation.embeddings import embed_all
from facestream.training.evaluation.lfw import Half, half_of, open_zip, person_of, read_crops

from . import DATA
from .gallery_open import face, fill
from .identify_video import CACHE

PICTURES, SINGLES = 5, 300
MOVED, SPLIT, COPIED = 60, 60, 60
CROWD = 10_000


class FaceSet(NamedTuple):
    """N aligned faces with their embeddings, by person."""

    names: list[str]
    crops: Image
    mu: Floats
    logvar: Floats

    def by_person(self) -> dict[str, list[int]]:
        """The rows of each person."""
        found: dict[str, list[int]] = defaultdict(list)
        for row, name in enumerate(self.names):
            found[person_of(name)].append(row)
        return found


class KnownCrops:
    """A reader that knows the embeddings of these crops."""

    def __init__(self, faces: FaceSet) -> None:
        self.model_id = load_card("vae_encoder").id
        self._faces = faces
        self._rows = {crop.tobytes(): row for row, crop in enumerate(faces.crops)}

    def detect(self, image: Image, *, min_face: int | None = None) -> Faces:
        raise NotImplementedError

    def align(self, image: Image, landmarks: Floats) -> Image:
        raise NotImplementedError

    def embed(self, crops: Image) -> tuple[Floats, Floats]:
        rows = [self._rows[crop.tobytes()] for crop in crops]
        return self._faces.mu[rows], self._faces.logvar[rows]


def picture_names(lfw: Path, half: Half) -> list[str]:
    """Pictures of a half: of people with three and more, then one each of some others."""
    pictures: dict[str, list[str]] = defaultdict(list)
    with open_zip(lfw / "lfw_grey.zip") as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".jpg") and half_of(person_of(name)) == half:
                pictures[person_of(name)].append(name)
    many = [name for own in pictures.values() if len(own) > 2 for name in own[:PICTURES]]
    return many + [own[0] for own in pictures.values() if len(own) < 3][:SINGLES]


def read_faces(lfw: Path, half: Half, encoder: Encoder) -> FaceSet:
    """The people of a half."""
    names = picture_names(lfw, half)
    crops = read_crops(lfw, names, cache=CACHE).faces
    rng = np.random.default_rng(3)
    copied = [_copy(crops[row], rng) for row in range(COPIED)]
    crops = np.concatenate([crops, np.stack(copied)])
    mu, logvar = embed_all(encoder, crops, what=f"embed LFW ({half})")
    return FaceSet([*names, *names[:COPIED]], crops, mu, logvar)


def _copy(crop: Image, rng: np.random.Generator) -> Image:
    """The same picture, scaled and saved as JPEG."""
    scale, quality = float(rng.uniform(0.5, 1)), int(rng.integers(40, 90))
    small = cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    back = cv2.resize(decoded, (112, 112))
    return np.asarray(back, np.uint8)


def of_check(faces: FaceSet, folder: Path) -> dict[str, Any]:
    """Precision and recall of the findings, in a gallery with mistakes that are known."""
    rng = np.random.default_rng(7)
    people = faces.by_person()
    real = len(faces.names) - COPIED
    many = [name for name, rows in people.items() if len([r for r in rows if r < real]) > 2]
    owner = dict(enumerate(map(person_of, faces.names)))
    split = set(rng.choice(many, SPLIT, replace=False).tolist())
    for name in split:  # one half under another name
        rows = [row for row in people[name] if row < real]
        owner |= dict.fromkeys(rows[len(rows) // 2 :], f"{name} 2")
    whole = [name for name in many if name not in split]
    moved = {}
    for name in rng.choice(whole, MOVED, replace=False).tolist():
        row = int(rng.choice([row for row in people[name] if row < real]))
        moved[row] = owner[row] = str(rng.choice([one for one in whole if one != name]))
    ids: dict[int, int] = {}
    card = load_card("vae_encoder")
    with Gallery(folder / "check.db", reader=KnownCrops(faces)) as gallery:
        for row, name in owner.items():
            ids[row] = _store(gallery, faces, row, name)
        thresholds, cohort = open_rules(card, RecognitionSettings(), None)
        start = time.process_time()
        found = gallery.check(thresholds=thresholds, cohort=cohort).findings
        seconds = time.process_time() - start
    wrong = {one.photo_id for one in found if one.kind in ("other_person", "outlier")}
    pairs = {one.person.removesuffix(" 2") for one in found if one.same_person}
    right = sum(
        bool(one.same_person)
        and one.person.removesuffix(" 2") == (one.other or "").removesuffix(" 2")
        for one in found
    )
    copies = {one.photo_id for one in found if one.kind == "duplicate"}
    named = sum(bool(one.same_person) for one in found)
    return {
        "photos": len(owner),
        "people": len(set(owner.values())),
        "moved_photos": _rates(wrong, {ids[row] for row in moved}),
        "split_people": {
            "planted": SPLIT,
            "recall": len(pairs & split) / SPLIT,
            "precision": right / max(1, named),
            "listed": named,
        },
        "copies": _rates(copies, {ids[row] for row in range(real, len(owner))}),
        "look_alikes_listed": sum(one.same_person is False for one in found),
        "cpu_seconds": round(seconds, 2),
    }


def _rates(found: set[int | None], planted: set[int]) -> dict[str, Any]:
    hits = len(found & planted)
    precision = hits / max(1, len(found))
    return {
        "planted": len(planted),
        "recall": hits / len(planted),
        "precision": precision,
        "listed": len(found),
    }


def of_adding(faces: FaceSet, folder: Path) -> dict[str, Any]:
    """How often a photo that is added is doubted, and a face is learned.

    Everybody is enrolled but for the last photo of people with three and more. That one is added to
    its person, to a random person, and to the person it resembles most.
    """
    rng = np.random.default_rng(9)
    real = len(faces.names) - COPIED
    people = {name: [r for r in rows if r < real] for name, rows in faces.by_person().items()}
    late = {name: rows[-1] for name, rows in people.items() if len(rows) > 2}
    names = list(late)
    card = load_card("vae_encoder")
    found: dict[str, Any] = {"photos": len(late)}
    with Gallery(folder / "add.db", reader=KnownCrops(faces)) as gallery:
        for name, rows in people.items():
            for row in rows:
                if row != late.get(name):
                    _store(gallery, faces, row, name)
        guard = PhotoGuard(gallery, *open_rules(card, RecognitionSettings(), None))
        wrong = {row: str(rng.choice([n for n in names if n != who])) for who, row in late.items()}
        found["doubted"] = {
            "right_person": _doubted(guard, faces, {row: name for name, row in late.items()}),
            "random_person": _doubted(guard, faces, wrong),
        }
        alike = {row: _nearest(guard, faces, name, row) for name, row in late.items()}
        # The strangers first: nothing of theirs must be taken, so nothing changes.
        learned = {"look_alikes": alike, "random_person": wrong}
        learned["right_person"] = {row: name for name, row in late.items()}
        found["learned"] = {
            which: _learned(gallery, guard, faces, whom) for which, whom in learned.items()
        }
    return found


def _doubted(guard: PhotoGuard, faces: FaceSet, whom: dict[int, str]) -> float:
    count = 0
    for row, name in whom.items():
        guard.begin(name)
        count += guard.judge(faces.mu[row]) is not None
    return count / len(whom)


def _nearest(guard: PhotoGuard, faces: FaceSet, name: str, row: int) -> str:
    guard.begin(name)
    _, _, (other,) = guard.compare(faces.mu[row : row + 1])
    assert other is not None
    return other


def _learned(
    gallery: Gallery, guard: PhotoGuard, faces: FaceSet, whom: dict[int, str]
) -> dict[str, Any]:
    reasons: dict[str, int] = defaultdict(int)
    reader = KnownCrops(faces)
    for row, name in whom.items():
        origin = [FaceOrigin(f"{row:032x}", "lfw")]
        (result,) = learn_faces(gallery, reader, guard, name, faces.crops[row : row + 1], origin)
        reasons[result.reason or "taken"] += 1
    return {"offered": len(whom), **reasons}


def _store(gallery: Gallery, faces: FaceSet, row: int, name: str) -> int:
    known = face(f"{row:064x}")
    object.__setattr__(known, "crop", faces.crops[row])
    model = load_card("vae_encoder").id
    stored = gallery.add_face(name, known, Embedded(model, faces.mu[row], faces.logvar[row]))
    assert isinstance(stored, int)
    return stored


def by_photos(faces: FaceSet) -> dict[str, Any]:
    """The share of people whose first picture reaches the threshold by one, two and three others,
    in a gallery of as many photos as there are."""
    card = load_card("vae_encoder")
    thresholds, cohort = open_rules(card, RecognitionSettings(), None)
    assert cohort is not None
    least = thresholds.among(len(faces.names)).similarity
    real = len(faces.names) - COPIED
    unit = faces.mu / np.linalg.norm(faces.mu, axis=1, keepdims=True)
    means = cohort.means(unit)
    shares = {}
    for count in (1, 2, 3, 4):
        best = []
        for own in faces.by_person().values():
            rows = [row for row in own if row < real]
            if len(rows) > max(2, count):
                some = rows[1 : count + 1]
                cosines = unit[some] @ unit[rows[0]]
                best.append(cohort.normalised(cosines, means[rows[:1]], means[some]).max())
        shares[str(count)] = float((np.array(best) >= least).mean())
    return shares


def of_a_crowd(folder: Path) -> dict[str, Any]:
    """The time of a check of many people, four photos each (synthetic embeddings)."""
    fill(folder / "crowd.db", 4 * CROWD)
    thresholds, cohort = open_rules(load_card("vae_encoder"), RecognitionSettings(), None)
    with Gallery(folder / "crowd.db", reader=None) as gallery:
        start, cpu = time.perf_counter(), time.process_time()
        gallery.check(thresholds=thresholds, cohort=cohort)
        seconds = time.perf_counter() - start, time.process_time() - cpu
    return {
        "people": CROWD,
        "photos": 4 * CROWD,
        "seconds_busy_machine": round(seconds[0], 1),
        "cpu_seconds": round(seconds[1], 1),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks gallery-check", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of lfw/")
    parser.add_argument("--half", choices=get_args(Half), default="test")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    found: dict[str, Any] = {"model": load_card("vae_encoder").id, "half": given.half}
    with tempfile.TemporaryDirectory() as name:
        with Encoder(serving=Serving()) as encoder:
            faces = read_faces(given.data / "lfw", given.half, encoder)
        found["check"] = of_check(faces, Path(name))
        found["adding"] = of_adding(faces, Path(name))
        found["reached_by_photos"] = by_photos(faces)
        found["crowd"] = of_a_crowd(Path(name))
    text = json.dumps(found, indent=2)
    print(text)
    if given.json is not None:
        given.json.write_text(text + "\n", encoding="utf-8")
    return 0
