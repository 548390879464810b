"""What a redaction did: for the table and for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..core.types import Verdict
from .lines import Line, LinePart
from .plan import Plan
from .search import VideoFaces


@dataclass(frozen=True, slots=True)
class RedactedFace:
    """A face that was followed through the video.

    Attributes:
        start, end: seconds from the first frame.
        name: the person's in most frames with a name; None without one.
        verdict: of the part with that name, or of the longest one.
        reason: why it has no name; None with one, or where nobody had to be recognised.
        found: frames in which the detector found it.
        covered: frames in which it is covered.
        shown: frames in which it is not.
        gap: longest run of frames between two in which it was found.
        smallest: shorter side of its smallest box, in pixels.
    """

    start: float
    end: float
    name: str | None
    verdict: Verdict
    reason: str | None
    found: int
    covered: int
    shown: int
    gap: int
    smallest: float


@dataclass(frozen=True, slots=True)
class RedactionCheck:
    """The faces that are found in what was written.

    Attributes:
        frames: that were searched.
        uncovered: faces outside of covers that should have none: times in seconds.
        recognised: faces within covers that were named all the same: times in seconds.
        detected: faces that the detector found within covers; none of them was named unless
            ``recognised`` says so.
    """

    frames: int
    uncovered: tuple[float, ...]
    recognised: tuple[float, ...]
    detected: int

    @property
    def passed(self) -> bool:
        """Nothing was found that should be hidden."""
        return not (self.uncovered or self.recognised)


@dataclass(frozen=True, slots=True)
class RedactionReport:
    """What was written.

    Attributes:
        source, out: files.
        frames: of the video; 1 of a picture.
        frames_with_faces: in which the detector found one.
        frames_covered: with a cover.
        faces: one by one, by their start.
        codec: old and new one.
        min_face: smaller faces were not searched for, in pixels.
        seconds: that it took.
        notes: on what could not be kept or read, a line each.
        verification: None where it was not asked for.
    """

    source: str
    out: str
    frames: int
    frames_with_faces: int
    frames_covered: int
    faces: tuple[RedactedFace, ...]
    codec: tuple[str, str]
    min_face: int
    seconds: float
    notes: tuple[str, ...]
    verification: RedactionCheck | None

    @property
    def covered(self) -> int:
        """Faces that are covered in at least one frame."""
        return sum(face.covered > 0 for face in self.faces)

    @property
    def kept(self) -> int:
        """Faces that are shown in at least one frame."""
        return sum(face.shown > 0 for face in self.faces)

    @property
    def longest_gap(self) -> int:
        """Frames between two detections of a face, at the most."""
        return max((face.gap for face in self.faces), default=0)

    def people(self) -> dict[str, dict[str, int]]:
        """By name (``unknown`` without one): faces, and frames covered and shown."""
        by_name: dict[str, dict[str, int]] = {}
        for face in self.faces:
            row = by_name.setdefault(
                face.name or "unknown", {"faces": 0, "covered_frames": 0, "shown_frames": 0}
            )
            row["faces"] += 1
            row["covered_frames"] += face.covered
            row["shown_frames"] += face.shown
        return by_name

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        verification = None
        if self.verification is not None:
            verification = asdict(self.verification) | {"passed": self.verification.passed}
        return asdict(self) | {
            "covered": self.covered,
            "kept": self.kept,
            "longest_gap": self.longest_gap,
            "people": self.people(),
            "verification": verification,
        }


def faces_of(found: VideoFaces, parts: Sequence[LinePart], plan: Plan) -> tuple[RedactedFace, ...]:
    """The faces of a video, by their start."""
    by_line: dict[Line, list[LinePart]] = {line: [] for line in found.lines}
    for part in parts:
        by_line[part.line].append(part)
    faces = [_face(line, mine, found, plan) for line, mine in by_line.items()]
    return tuple(sorted(faces, key=lambda face: face.start))


def _face(line: Line, parts: Sequence[LinePart], found: VideoFaces, plan: Plan) -> RedactedFace:
    covered = plan.covered[line]
    main = max(parts, key=lambda p: (p.name is not None, p.frames[1] - p.frames[0]), default=None)
    times, zero = found.times, found.times[0]
    sides = [float((line.boxes[frame][2:] - line.boxes[frame][:2]).min()) for frame in line.found]
    return RedactedFace(
        start=round(times[line.start] - zero, 3),
        end=round(times[line.end] - zero, 3),
        name=None if main is None else main.name,
        verdict="unsure" if main is None else main.verdict,
        reason=None if main is None else main.reason,
        found=len(line.found),
        covered=len(covered),
        shown=len(line.boxes) - len(covered),
        gap=line.gap,
        smallest=round(min(sides), 1),
    )
