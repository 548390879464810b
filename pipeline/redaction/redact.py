"""``redact``: one video or picture with chosen faces covered."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ..analysis import FaceAnalyzer
from ..core.config import Settings
from ..core.errors import OutputError, UsageError
from ..core.location import Location
from ..core.picture_kinds import content_kind
from ..gallery import Gallery
from ..sinks.files import check_writable
from .naming import name_faces
from .options import RedactionOptions
from .pictures import redact_picture
from .plan import Plan
from .recode import recode, written
from .report import RedactionReport, faces_of
from .search import search_video
from .verify import verify

log = logging.getLogger(__name__)


def redact(
    source: Path | str,
    out: Path | str,
    options: RedactionOptions | None = None,
    *,
    gallery: Gallery | Location | str | None = None,
    settings: Settings | None = None,
) -> RedactionReport:
    """Cover faces of a video or a picture by who they are.

    ::

        from facestream.pipeline.redaction import RedactionChoice, RedactionOptions, redact

        keep = RedactionOptions(choice=RedactionChoice(keep=frozenset({"Ada Lovelace"})))
        report = redact("party.mp4", "covered.mp4", keep, gallery="people.db")

    ``out`` is there whole or not at all. For jobs: ``options.on_progress`` and ``options.cancel``.

    Args:
        source: a video file, or a photo.
        out: what is written; its suffix chooses the container.
        options: whose faces, and how.
        gallery: who is known; needed for every choice but everybody.
        settings: of detector, encoder, recognition, tracking and run time; ``min_face`` and the
            detector's scores are those of ``options``.

    Raises:
        SourceError, ImageError: ``source`` cannot be read.
        OutputError: ``out`` cannot be written, exists, or is the source.
        UsageError: a person of the choice is not enrolled.
        GalleryError: the gallery cannot be used.
        EngineError: the networks cannot run here.
        RedactionCancelled: ``options.cancel`` was set.
    """
    options = options or RedactionOptions()
    source, out = Path(source), Path(out)
    _check(source, out, options)
    began = time.monotonic()
    with ExitStack() as stack:
        if gallery is not None and not isinstance(gallery, Gallery):
            gallery = stack.enter_context(Gallery(gallery, create="never"))
        options = _known_names(gallery, options)
        analyzer = FaceAnalyzer(settings_for(settings or Settings(), options), gallery=gallery)
        stack.enter_context(analyzer)
        work = _redact_picture if content_kind(source) == "picture" else _redact_video
        report = work(source, out, analyzer.load(), options)
    return replace(report, seconds=round(time.monotonic() - began, 2))


def _check(source: Path, out: Path, options: RedactionOptions) -> None:
    if not source.is_file():
        raise UsageError(f"cannot read {source}: there is no such file; give a video or a picture")
    if out.exists() and not out.is_file() and not out.is_dir():
        raise OutputError(f"cannot write {out}: it is no regular file")
    if out.exists() and out.samefile(source):
        raise OutputError(f"{out} is the video itself; give another name")
    if out.exists() and not out.is_dir() and not options.force:
        raise OutputError(f"{out} exists; --force replaces it")
    check_writable(out)


def _known_names(gallery: Gallery | None, options: RedactionOptions) -> RedactionOptions:
    """The options with the names as they are enrolled."""
    choice = options.choice
    if choice.everybody:
        return options
    if gallery is None:
        raise UsageError(
            "nobody is enrolled, so nobody can be told apart: 'facestream gallery add NAME PHOTO' "
            "enrols, --gallery selects a gallery"
        )
    keep = frozenset(gallery.person(name).name for name in choice.keep)
    only = frozenset(gallery.person(name).name for name in choice.only)
    return replace(options, choice=replace(choice, keep=keep, only=only))


def settings_for(settings: Settings, options: RedactionOptions) -> Settings:
    """The settings with the detector that ``options`` ask for."""
    (first, second, third), least = settings.detector.thresholds, options.least_score
    lower = min(first, least + 0.1), min(second, least + 0.2), min(third, least)
    detector = settings.detector.model_copy(
        update={"min_face": options.min_face, "thresholds": lower}
    )
    return settings.model_copy(update={"detector": detector})


def _redact_video(
    source: Path, out: Path, analyzer: FaceAnalyzer, options: RedactionOptions
) -> RedactionReport:
    found = search_video(source, analyzer, options)
    parts = [] if options.choice.everybody else name_faces(found, analyzer)
    plan = Plan(found, parts, options.choice, margin=options.margin)
    with written(out) as part:
        done = recode(source, part, out, plan, options)
        verification = verify(part, plan, analyzer, options) if options.verify else None
    return RedactionReport(
        source=str(source),
        out=str(out),
        frames=done.frames,
        frames_with_faces=found.with_faces,
        frames_covered=plan.frames,
        faces=faces_of(found, parts, plan),
        codec=done.codec,
        min_face=options.min_face,
        seconds=0.0,
        notes=tuple(done.notes),
        verification=verification,
    )


def _redact_picture(
    source: Path, out: Path, analyzer: FaceAnalyzer, options: RedactionOptions
) -> RedactionReport:
    faces, verification = redact_picture(source, out, analyzer, options)
    kinds = source.suffix.lstrip(".").lower(), out.suffix.lstrip(".").lower()
    return RedactionReport(
        source=str(source),
        out=str(out),
        frames=1,
        frames_with_faces=int(bool(faces)),
        frames_covered=int(any(face.covered for face in faces)),
        faces=faces,
        codec=kinds,
        min_face=options.min_face,
        seconds=0.0,
        notes=(),
        verification=verification,
    )
