"""Pictures of the page for the documentation, from a house that is filled with two portraits.

``python -m benchmarks page-pictures`` writes docs/page/*.png; it needs Debian's chromium and the
package playwright.
"""

from __future__ import annotations

import argparse
import tempfile
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from facestream.pipeline.core.addresses import Address
from facestream.pipeline.core.config import Settings
from facestream.pipeline.core.events import Appeared, FusedTemplate, Left, Moment, face_picture
from facestream.pipeline.core.types import Image
from facestream.pipeline.detection.portraits import portraits
from facestream.pipeline.recognition.align import align_faces
from facestream.pipeline.server.models import corners
from facestream.pipeline.server.service import Service
from facestream.pipeline.server.serving import ServiceServer
from facestream.pipeline.sightings.writer import SightingWriter
from PIL import Image as Picture

CHROMIUM = "/usr/bin/chromium"
VIEWS = {"timeline": "/", "people": "/people", "unknown": "/unknown"}


def varied(image: Image, seed: int) -> Image:
    """The picture with other light, size and noise; half of them mirrored."""
    random = np.random.default_rng(seed)
    made: Image = image[:, ::-1] if seed % 2 else image
    scale = random.uniform(0.9, 1.6)
    sized = cv2.resize(made, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    light = sized.astype(np.float32) * random.uniform(0.8, 1.15)
    light += random.normal(0, 3, sized.shape)
    return np.asarray(light.clip(0, 255), np.uint8)


def see(service: Service, image: Image, at: datetime, *, source: str = "door") -> str:
    """Store a sighting of the largest face of a picture, as a camera would; returns its id."""
    analysis = service.analyzer.analyze_batch([image], keep="largest")[0]
    face, faces = next(iter(analysis)), analysis.faces
    assert faces.mu is not None
    assert faces.logvar is not None
    identity = face.identity
    pts = at.timestamp()
    common: dict[str, Any] = {
        "source": source,
        "sighting": uuid.uuid4().hex,
        "track_id": 1,
        "model": service.analyzer.model_id,
        "start": Moment.at(0.0, pts),
    }
    box = corners(face.box)
    first = Appeared(**common, at=Moment.at(0.0, pts), box=box)
    crop = align_faces(image, face.landmarks[None])[0]
    last = (
        Left(
            **common,
            end=Moment.at(4.0, pts + 4),
            best_box=box,
            best_pts=1.0,
            best_score=min(1.0, face.score),
            faces=40,
            looks=5,
            person_id=identity.person_id,
            name=identity.name or "unknown",
            similarity=float(np.clip(np.nan_to_num(identity.similarity, neginf=0), -1, 1)),
            probability=float(np.nan_to_num(identity.probability)),
            uncertainty=face.sigma,
            reason=identity.reason,
            verdict=service.analyzer.matcher.verdict(identity, face.sigma),
        )
        .with_image(face_picture(image, face.box), crop)
        .with_template(FusedTemplate(faces.mu[0], faces.logvar[0], face.sigma))
    )
    writer = SightingWriter(service.sightings)
    for event in (first, last):
        writer.event(event, pace="waits")
    writer.close()
    return str(common["sighting"])


def fill(service: Service, now: datetime) -> None:
    """One known person, and sightings of two people on several days."""
    known, other = (one.image for one in portraits())
    service.gallery.add("Eileen Collins", known)
    service.gallery.add("Eileen Collins", varied(known, 3))
    service.refresh()
    visits = [(0, 8, "door", known), (0, 8, "hall", known), (0, 10, "door", other)]
    visits += [(0, 10, "hall", other), (1, 9, "door", known), (1, 17, "door", other)]
    visits += [(3, 12, "yard", known), (3, 12, "door", known), (6, 18, "door", other)]
    for number, (days, hour, source, image) in enumerate(visits):
        day = (now - timedelta(days=days)).replace(hour=hour, minute=number * 3)
        see(service, varied(image, number + 10), day, source=source)


def take(url: str, out: Path) -> list[Path]:
    """Screenshots of the views in both themes."""
    from playwright.sync_api import sync_playwright

    taken = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for theme in ("light", "dark"):
            page = browser.new_page(
                viewport={"width": 1000, "height": 640}, color_scheme=theme, locale="en-GB"
            )
            for name, path in VIEWS.items():
                page.goto(url + path)
                page.wait_for_load_state("load")
                page.wait_for_timeout(300)  # lazy pictures are decoded
                taken.append(out / f"{name}-{theme}.png")
                page.screenshot(path=str(taken[-1]))
                with Picture.open(taken[-1]) as picture:
                    small = picture.convert("RGB").quantize(128)
                small.save(taken[-1], optimize=True)
        browser.close()
    return taken


def main(arguments: Sequence[str]) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks page-pictures", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/page"))
    parser.add_argument("--serve", action="store_true", help="serve it until Enter is pressed")
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings().with_values({"storage.database": Path(folder) / "house.db"})
        with ServiceServer(settings, Address("127.0.0.1", 0)) as server:
            fill(server.service, datetime.now(UTC))
            if chosen.serve:
                input(f"{server.url}: press Enter to end ")
            for path in take(server.url, chosen.out):
                print(path)
    return 0
