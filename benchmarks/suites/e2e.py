"""Whole videos, from file to embedding, by faces per frame and sources at a time."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import av
import numpy as np
from facestream.pipeline import Pipeline, Settings
from facestream.pipeline.cli.bench_results import Missing, Scalar
from facestream.pipeline.core.types import Image

from ..peers import FACENET, SFACE, YUNET, YunetSface, lacks_facenet, lacks_zoo
from ..pictures import SIZES, write_clip
from ..suite import Case, Options, Prepared, Suite, sort_out

# ``every`` embeds every face of every frame, as the peers do.
OURS, OURS_EVERY, YUNET_SFACE = "facestream", "facestream-every", "yunet+sface"


class E2eSuite(Suite):
    """See ``suite.Suite``. Loading the networks does not count, decoding does."""

    name = "e2e"

    def contenders(self, options: Options) -> tuple[list[str], list[Missing]]:
        """Ours, and the peers."""
        found: dict[str, Missing | None] = {OURS: None, OURS_EVERY: None}
        if options.peers:
            files = (YUNET, SFACE)
            found[YUNET_SFACE] = lacks_zoo(self.name, options.zoo, files, YUNET_SFACE)
            found[FACENET] = lacks_facenet(self.name)
        return sort_out(found)

    def cases(self, options: Options) -> tuple[list[Case], list[Missing]]:
        """The given videos, or rendered clips by faces and sources."""
        shared = {
            "zoo": str(options.zoo or ""),
            "max_frames": options.max_frames,
            "peer_frames": options.peer_frames,
            "min_face": options.min_face,
            "detect_every": options.detect_every,
        }
        cases = []
        for key, clips in _clips(options):
            given = {**shared, "videos": [str(clip) for clip in clips]}
            cases.append(Case(key, "frames/s", given, group=json.dumps(key)))
        return cases, []

    def prepare(self, contender: str, case: Case) -> Prepared:
        """Each step is a run over all frames."""
        given = dict(case.given)
        if contender == FACENET:
            given["max_frames"] = min(given["max_frames"] or 10**9, given["peer_frames"])
        videos = Videos(
            tuple(map(Path, given["videos"])), given["max_frames"], given["detect_every"]
        )
        if contender in (OURS, OURS_EVERY):
            return _facestream(videos, given["min_face"], contender == OURS_EVERY)
        if contender == YUNET_SFACE:
            look = _yunet_sface(Path(given["zoo"]))
        else:
            look = _facenet(given["min_face"])
        look(next(videos.images()))
        return _peer(videos, look)

    def check(self, case: Case, answers: Mapping[str, Any]) -> dict[str, dict[str, Scalar]]:
        """Faces per frame, and the time of each of our stages."""
        return {name: dict(answer) for name, answer in answers.items()}


@dataclass(frozen=True, slots=True)
class Videos:
    """Files that are read at the same time.

    Attributes:
        paths: one or more.
        max_frames: of each; None for all.
        detect_every: every N-th frame is searched.
    """

    paths: tuple[Path, ...]
    max_frames: int | None = None
    detect_every: int = 1

    def frames(self) -> Iterator[Image | None]:
        """All frames, H×W×3 BGR uint8; None for those that are decoded and not searched.

        Of several files in turn.
        """
        files = [self._frames(path) for path in self.paths]
        while files:
            for file in list(files):
                try:
                    image = next(file)
                except StopIteration:
                    files.remove(file)
                else:
                    yield image

    def images(self) -> Iterator[Image]:
        """The searched frames alone."""
        return (image for image in self.frames() if image is not None)

    def _frames(self, path: Path) -> Iterator[Image | None]:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for number, frame in enumerate(container.decode(stream)):
                if number == self.max_frames:
                    return
                if number % self.detect_every:
                    yield None
                else:
                    yield np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)


def _clips(options: Options) -> Iterator[tuple[dict[str, Scalar], list[Path]]]:
    if options.videos:
        for video in options.videos:
            yield {"video": video.name}, [video]
        return
    sizes = ["720p"] if options.quick else ["1080p"]
    if "size" in options.only:
        sizes = [size for size in SIZES if size in options.only["size"]]
    faces = (1, 3) if options.quick else (0, 1, 2, 3, 10)
    sources = (1,) if options.quick else (1, 4)
    for size, count, number in product(sizes, faces, sources):
        key: dict[str, Scalar] = {"size": size, "faces": count, "sources": number}
        if options.takes(key):
            clip = options.folder / f"{size}-{count}-faces.mp4"
            if not clip.exists():
                write_clip(clip, count, size=size, seconds=1.0 if options.quick else 4.0)
            yield key, copies(clip, number)


def copies(clip: Path, count: int) -> list[Path]:
    """The clip under as many names: every source has one of its own."""
    paths = [clip, *(clip.with_name(f"{clip.stem}-{n}.mp4") for n in range(2, count + 1))]
    for path in paths:
        if not path.exists():
            os.link(clip, path)
    return paths


def _facestream(videos: Videos, min_face: int, every: bool) -> Prepared:
    values: dict[str, Any] = {
        "detector.min_face": min_face,
        "encoder.looks": "every" if every else "budget",
        "tracking.detect_every": videos.detect_every,
    }
    if videos.max_frames is not None:
        values["runtime.max_frames"] = videos.max_frames
    settings = Settings().with_values(values)
    first = next(videos.images())
    answer: dict[str, Scalar] = {}

    def step() -> tuple[float, float]:
        with Pipeline(list(videos.paths), settings=settings, frames="searched") as pipeline:
            pipeline.warm_up(first)
            report = pipeline.run()
        answer["faces_per_frame"] = round(report.faces / report.frames, 2)
        answer["embedded"] = report.embedded
        for name, stage in report.stages.items():
            answer[f"{name}_busy"] = round(stage.seconds / report.seconds, 3)
        answer["limiting_queue"] = report.limiting_queue
        return report.frames, report.seconds

    return Prepared(step, lambda: answer, warm=0)


def _peer(videos: Videos, look: Callable[[Image], int]) -> Prepared:
    answer: dict[str, Scalar] = {}

    def step() -> tuple[float, float]:
        start = time.perf_counter()
        counts = [0 if image is None else look(image) for image in videos.frames()]
        seconds = time.perf_counter() - start
        answer["faces_per_frame"] = round(sum(counts) / len(counts), 2)
        return len(counts), seconds

    return Prepared(step, lambda: answer, warm=0)


def _yunet_sface(zoo: Path) -> Callable[[Image], int]:
    """One after the other, with OpenCV's own threads."""
    peer = YunetSface(zoo)

    def look(image: Image) -> int:
        found = peer.detect(image)
        for face in found:
            peer.embed(image, face)
        return len(found)

    return look


def _facenet(min_face: int) -> Callable[[Image], int]:
    """As its documentation runs it: MTCNN that crops all faces, and the encoder."""
    import torch

    from ..facenet import facenet_inception, facenet_mtcnn, quietly

    mtcnn, encoder = facenet_mtcnn(min_face=min_face), facenet_inception()

    def look(image: Image) -> int:
        with quietly():
            faces = mtcnn(np.ascontiguousarray(image[..., ::-1]))
        if faces is None:
            return 0
        with torch.inference_mode():
            encoder(faces)
        return len(faces)

    return look


SUITE = E2eSuite()
