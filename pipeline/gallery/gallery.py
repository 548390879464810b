"""The people who can be recognised: one database, and the index built from it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from facestream.engines.cards import ModelCard, load_card
from facestream.engines.errors import InferenceError
from facestream.engines.files import make_folder
from facestream.engines.index import DEFAULT_OPTIONS, IndexInfo, IndexOptions
from facestream.engines.private_files import tighten

from ..core.config import RecognitionSettings, RuntimeSettings, default_gallery_path
from ..core.errors import GalleryError, ModelMismatch
from ..core.location import DatabaseUrl, Location, locate
from ..core.types import Floats, Image, Matches
from ..identity.decision import Thresholds
from ..identity.search import open_rules
from ..recognition.cohort import Cohort
from ..storage.database import Create, waiting_at_most
from ..storage.names import printable
from . import enrol, transfer
from .changes import Head
from .check import check_gallery
from .enrol import DEFAULT_RULES, EnrolmentRules, ImportPlan, ImportReport, plan_import
from .faces import PhotoContent, expand_photos
from .findings import GalleryCheck
from .guard import PhotoGuard
from .index import TemplateIndex
from .learn import DEFAULT_LEARNING, LearningRules, learn_faces
from .records import NO_NOTES, FaceOrigin, FaceReader, PhotoNotes, PhotoResult
from .rejections import Rejections, read_rejections
from .store import Store

log = logging.getLogger(__name__)


class Gallery(Store):
    """People, their photos and embeddings in one SQLite file, or on a PostgreSQL server.

    Methods may be called from several threads, and several processes may have it open;
    ``refresh`` reads the changes of others. Close it, or use it as a context manager.

    Args:
        path: the file, or a ``postgresql://`` URL; None is ``default_gallery_path()``.
        create: ``if_missing`` makes a new gallery, ``never`` refuses.
        reader: finds and embeds faces, and stays the caller's to close; None loads the shipped
            networks when they are needed.
        searching: the kind of index, and whether another may serve instead.

    Raises:
        GalleryCorrupt: the file is not a gallery, or is damaged.
        GalleryError: it is missing, cannot be opened, or was written by a newer version.
    """

    def __init__(
        self,
        path: Location | str | None = None,
        *,
        create: Create = "if_missing",
        reader: FaceReader | None = None,
        searching: IndexOptions = DEFAULT_OPTIONS,
    ) -> None:
        super().__init__(_full(path, create), create=create)
        self._resources = ExitStack()
        self._resources.callback(super().close)
        if reader is None:
            from ..analysis import FaceAnalyzer  # loads OpenCV and an inference engine

            reader = self._resources.enter_context(FaceAnalyzer())
        self._reader: FaceReader = reader
        self._searching = searching
        self._index: TemplateIndex | None = None
        self._rejections: tuple[Head, str, Rejections | None] | None = None
        self._seen = 0  # of this object's writes
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the file, and free the networks unless they belong to the caller's reader."""
        self._resources.close()

    def __repr__(self) -> str:
        return f"Gallery({str(self.location)!r})"

    # --- changing --------------------------------------------------------------------------

    def add(
        self,
        name: str,
        *photos: Path | str | Image,
        strict: bool = False,
        dates: PhotoNotes = NO_NOTES,
    ) -> list[PhotoResult]:
        """Enrol photos of a person, who is made with the first good one.

        A photo that resembles another person more than its own, or none of the person's photos,
        has a ``doubt`` in its result. That is judged with the shipped encoder's thresholds only.

        Args:
            name: of the person; see ``names.normalise_name``.
            photos: picture files, folders of them, or arrays H×W×3 BGR uint8.
            strict: doubtful photos are refused.
            dates: when the photos were taken, and from and until when they hold.

        Returns:
            A result for each photo; the accepted ones are in the gallery.

        Raises:
            GalleryError: the name cannot be used, or the gallery cannot be written.
            ModelMismatch: the gallery's embeddings come from another model.
        """
        flat: list[Path | str | Image] = []
        for photo in photos:
            flat.extend(
                expand_photos([Path(photo)])[0] if isinstance(photo, str | Path) else [photo]
            )
        return list(self.iter_add(name, flat, self.enrolment_rules(strict=strict, dates=dates)))

    def iter_add(
        self,
        name: str,
        photos: Iterable[Path | str | Image | PhotoContent],
        rules: EnrolmentRules = DEFAULT_RULES,
    ) -> Iterator[PhotoResult]:
        """Like ``add`` (without folders), one result at a time, each on the disk by then.

        ``rules`` are those of ``enrolment_rules``; by default nothing is judged.
        """
        return enrol.enrol(self, self._reader, name, photos, rules)

    def learn(
        self,
        name: str,
        crops: Image,
        origins: Sequence[FaceOrigin],
        *,
        sigmas: Sequence[float | None] | None = None,
        rules: LearningRules = DEFAULT_LEARNING,
        recognition: RecognitionSettings | None = None,
    ) -> list[PhotoResult]:
        """Add faces of sightings (N×112×112×3 BGR uint8, aligned) to a person, under guard.

        See ``learn_faces``; ``recognition`` has the thresholds, None: the defaults.

        Raises:
            GalleryError: the name cannot be used, or the gallery cannot be written.
            ModelMismatch: the reader or the gallery is of another model than the shipped one.
        """
        card = load_card("vae_encoder")
        self._compare(self._reader.model_id, card.id)
        guard = PhotoGuard(self, *self._open_rules(card, recognition))
        return learn_faces(
            self, self._reader, guard, name, crops, origins, sigmas=sigmas, rules=rules
        )

    def enrolment_rules(
        self,
        *,
        strict: bool = False,
        dates: PhotoNotes = NO_NOTES,
        recognition: RecognitionSettings | None = None,
    ) -> EnrolmentRules:
        """The rules of ``add``; ``recognition`` has the thresholds, None: the defaults.

        Photos are judged only where the reader is the shipped encoder, which has thresholds.
        """
        guard = None
        card = load_card("vae_encoder")
        if self._reader.model_id == card.id:
            guard = PhotoGuard(self, *self._open_rules(card, recognition))
        return EnrolmentRules(guard, strict=strict, dates=dates)

    def import_folder(
        self,
        folder: Path | str,
        *,
        progress: Callable[[str, PhotoResult], None] | None = None,
        strict: bool = False,
    ) -> ImportReport:
        """Enrol a folder that holds a folder for each person, or the folder of an export.

        With ``strict`` photos that do not fit their person are refused.

        ``progress`` is called with name and result after each photo.

        Raises:
            GalleryError: the folder cannot be read or has no people.
            ModelMismatch: the gallery's embeddings come from another model.
        """
        folder = Path(folder)
        report, rules = ImportReport(), self.enrolment_rules(strict=strict)
        if transfer.is_export(folder):
            steps = self.iter_restore(folder, rules=rules)
        else:
            plan = plan_import(folder)
            report.notes.extend([*plan.notes, *plan.refused])
            steps = self.iter_import(plan, rules)
        for name, result in steps:
            report.results.append((name, result))
            if progress is not None:
                progress(name, result)
        return report

    def iter_import(
        self, plan: ImportPlan, rules: EnrolmentRules = DEFAULT_RULES
    ) -> Iterator[tuple[str, PhotoResult]]:
        """Enrol a plan of ``plan_import``, one result at a time, each on the disk by then."""
        for name, photos in plan.people:
            for result in self.iter_add(name, photos, rules):
                yield name, result

    def iter_restore(
        self,
        folder: Path | str,
        *,
        trust: transfer.Trust = "nothing",
        rules: EnrolmentRules = DEFAULT_RULES,
    ) -> Iterator[tuple[str, PhotoResult]]:
        """Add the people of an export, one result at a time, each on the disk by then.

        The embeddings are computed from the crops. ``trust="embeddings"`` takes those of the
        export, which is faster, and gives whoever made it the choice of who is called what; those
        that are not finite, of another length or of another model are refused.

        Raises:
            GalleryError: the folder is not a complete export.
            ModelMismatch: the reader's model is not the gallery's.
        """
        return transfer.restore(self, self._reader, Path(folder), trust=trust, rules=rules)

    def export(self, folder: Path | str) -> transfer.Export:
        """Write crops, people, photos and embeddings to a new or empty folder.

        Raises:
            OutputError: the folder is not empty or cannot be written.
            GalleryCorrupt: a crop cannot be read.
        """
        return transfer.export(self, Path(folder))

    def re_embed(self, *, progress: Callable[[int, int], None] | None = None) -> int:
        """Embed all faces with the reader's model, use that model from now on; returns the count.

        ``progress`` is called with the number done and the total. Raises GalleryCorrupt if a crop
        cannot be read.
        """
        count = 0
        for done, total in enrol.re_embed(self, self._reader):
            count = max(count, done)
            if progress is not None:
                progress(done, total)
        return count

    def check(
        self,
        people: Collection[str] | None = None,
        *,
        thresholds: Thresholds | None = None,
        cohort: Cohort | None = None,
        recognition: RecognitionSettings | None = None,
    ) -> GalleryCheck:
        """Look for people who may be one, and for photos that may be of somebody else.

        Args:
            people: names of those who are compared with everybody; None: all.
            thresholds: when two photos are similar; None: those of the shipped encoder, with its
                cohort.
            cohort: see ``search``; only together with ``thresholds``.
            recognition: the settings of which ``thresholds`` are; None: the defaults.

        Raises:
            ModelMismatch: the gallery's embeddings are not the shipped encoder's.
            PersonNotFound: a name is not in the gallery.
        """
        if thresholds is None:
            from ..recognition.encoder import DEFAULT_MODEL  # loads an inference engine

            card = load_card(DEFAULT_MODEL)
            self.require_model(card.id)
            thresholds, cohort = self._open_rules(card, recognition)
        return check_gallery(self, thresholds, cohort=cohort, people=people)

    def _open_rules(
        self, card: ModelCard, recognition: RecognitionSettings | None
    ) -> tuple[Thresholds, Cohort | None]:
        return open_rules(card, recognition or RecognitionSettings(), self.calibrated())

    # --- searching -------------------------------------------------------------------------

    def searcher(self, model_id: str, cohort: Cohort | None) -> GallerySearch:
        """See ``identity.search.SearchableGallery``."""
        return GallerySearch(self, model_id, cohort)

    def search(
        self,
        mu: Floats,
        k: int = 5,
        *,
        cohort: Cohort | None = None,
        at: Sequence[float] | None = None,
    ) -> Matches:
        """The k most similar people of each face, from memory.

        The index is loaded at the first search, and updated after changes made through this
        object; ``refresh`` reads those of other processes.

        Args:
            mu: N×D embeddings of the gallery's model (see ``require_model``).
            k: at least 1.
            cohort: the similarities are normalised against it; None leaves them cosines.
            at: when each face was seen, N, seconds since the epoch, NaN where that is not known;
                None: now. Photos that do not hold then take no part.

        Raises:
            ValueError: the shape does not fit, or k is below 1.
            BackendUnavailable: the index cannot serve here.
            InferenceError: it failed.
        """
        times = None if at is None else np.array(at, np.float64)
        return self._current().search(mu, k, cohort=cohort, at=times)

    def rejections(self, model_id: str) -> Rejections | None:
        """Faces that humans said are not certain people, as the index was read last."""
        head = self._current().head
        known = self._rejections
        if known is None or known[:2] != (head, model_id):
            with self._read() as session:
                read = read_rejections(session.connection(), model_id)
            known = self._rejections = head, model_id, read
        return known[2]

    def templates(self) -> int:
        """How many photos a face is compared with by ``search``."""
        return len(self._current())

    def index_info(self) -> IndexInfo:
        """The index that searches; it is loaded if nothing was searched yet."""
        return (self._index or self._current()).info

    def refresh(self) -> bool:
        """Bring the index up to date if the gallery changed, here or in another process.

        True when it did. A few changes cost milliseconds, whatever the gallery's size; searches go
        on meanwhile. Raises BackendUnavailable if the index cannot serve here.
        """
        return self._refreshed()[1]

    def _current(self) -> TemplateIndex:
        index = self._index
        return self._refreshed()[0] if index is None or self._seen != self._writes else index

    def _refreshed(self) -> tuple[TemplateIndex, bool]:
        """The index, and whether the gallery had changed."""
        with self._lock:
            # Before the file is read: a change in between is seen at the next search.
            seen = self._writes
            index = self._index
            changed = index is None or self.head() != index.head
            if index is None or (changed and not self._update(index)):
                index = self._index = TemplateIndex(self.snapshot(), options=self._searching)
            self._seen = seen
            return index, changed

    def _update(self, index: TemplateIndex) -> bool:
        """Apply the changes; False when the index must be rebuilt."""
        delta = self.delta(since=index.head, after=index.last_photo, model_id=index.model_id)
        try:
            return delta is not None and index.update(delta)
        except InferenceError as error:  # a GPU without room for more, for one
            log.warning("the index is rebuilt: %s", error)
            return False


# Seconds that a refresh waits for another process's transaction: all cameras wait with it.
REFRESH_PATIENCE = 0.05


@dataclass(slots=True, eq=False)
class GallerySearch:
    """Searches a gallery for one encoder; see ``identity.search.Searcher``.

    Attributes:
        gallery: that is searched.
        model_id: of the encoder whose embeddings are compared.
        cohort: the similarities are normalised against it; None leaves them cosines.
    """

    gallery: Gallery
    model_id: str
    cohort: Cohort | None = None
    _changed: bool = field(default=False, init=False)
    _stale: bool = field(default=False, init=False)

    def search(self, mu: Floats, k: int, at: Sequence[float] | None = None) -> Matches:
        found = self.gallery.search(mu, k, cohort=self.cohort, at=at)
        rejections = self.gallery.rejections(self.model_id)
        return found if rejections is None else rejections.apply(found, mu, self.cohort)

    def templates(self) -> int:
        return self.gallery.templates()

    def refresh(self) -> bool:
        """See ``Searcher``. A gallery that cannot be read at the moment stays as it was.

        Raises ModelMismatch if it was embedded again by another model.
        """
        try:
            with waiting_at_most(REFRESH_PATIENCE):
                self._changed |= self.gallery.refresh()
                if self._changed:
                    self.gallery.require_model(self.model_id)
        except ModelMismatch:
            raise
        except GalleryError as error:
            if not self._stale:
                log.warning("the gallery stays as it was read last: %s", error)
            self._stale = True
            return False
        if self._stale:
            log.warning("the gallery can be read again")
        self._stale = False
        if not self._changed:
            return False
        self._changed = False
        log.info("the gallery changed: all live tracks are searched again")
        return True


def searching_of(runtime: RuntimeSettings) -> IndexOptions:
    """How the settings want a gallery to be searched."""
    return IndexOptions(
        runtime.index, "strict" if runtime.strict_device else "fallback", runtime.device
    )


def _full(given: Location | str | None, create: Create) -> Location:
    place = default_gallery_path() if given is None else locate(given)
    if isinstance(place, DatabaseUrl):
        return place
    try:
        place = place.expanduser().absolute()
    except RuntimeError as error:
        raise GalleryError(f"cannot open {place}: its user has no home folder") from error
    if given is None and create == "if_missing":
        _make_folder(place.parent)
    return place


def _make_folder(folder: Path) -> None:
    try:
        make_folder(folder)
        tighten(folder)
    except OSError as error:
        raise GalleryError(
            f"the folder '{printable(str(folder))}' for the gallery cannot be made: "
            f"{error.strerror}; choose another with --gallery"
        ) from error
