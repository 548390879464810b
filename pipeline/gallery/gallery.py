"""The people who can be recognised: one file, and the index built from it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from facestream.engines.closing import Closing
from facestream.engines.errors import InferenceError
from facestream.engines.index import DEFAULT_OPTIONS, IndexInfo, IndexOptions

from ..core.config import default_gallery_path
from ..core.errors import GalleryError
from ..core.types import Floats, Image, Matches
from ..recognition.cohort import Cohort
from . import enrol, transfer
from .changes import Head
from .database import Create
from .enrol import ImportPlan, ImportReport, plan_import
from .faces import expand_photos
from .index import TemplateIndex
from .names import printable
from .records import FaceReader, Person, Photo, PhotoResult
from .search import GallerySearch
from .store import Store

log = logging.getLogger(__name__)


class Gallery(Closing):
    """People, their photos and embeddings in one SQLite file.

    Methods may be called from several threads, and several processes may have the file open;
    ``refresh`` picks up what others changed. Close it, or use it as a context manager.

    Args:
        path: the file; None is ``default_gallery_path()``.
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
        path: Path | str | None = None,
        *,
        create: Create = "if_missing",
        reader: FaceReader | None = None,
        searching: IndexOptions = DEFAULT_OPTIONS,
    ) -> None:
        try:
            file = (default_gallery_path() if path is None else Path(path)).expanduser()
        except RuntimeError as error:
            raise GalleryError(f"cannot open {path}: its user has no home folder") from error
        self.path = file.absolute()
        if path is None and create == "if_missing":
            _make_folder(self.path.parent)
        self._store = Store(self.path, create=create)
        self._resources = ExitStack()
        self._resources.callback(self._store.close)
        if reader is None:
            from ..analysis import FaceAnalyzer  # loads OpenCV and an inference engine

            reader = self._resources.enter_context(FaceAnalyzer())
        self._reader: FaceReader = reader
        self._searching = searching
        self._index: TemplateIndex | None = None
        self._head = Head(-1, "")  # the file's state in the index
        self._seen = 0  # of this object's changes
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the file, and free the networks unless they belong to the caller's reader."""
        self._resources.close()

    def __repr__(self) -> str:
        return f"Gallery({str(self.path)!r})"

    # --- who is there ----------------------------------------------------------------------

    @property
    def model_id(self) -> str | None:
        """The model whose embeddings it holds; None while there are no photos."""
        return self._store.model_id()

    def require_model(self, model_id: str) -> None:
        """Check that this model's embeddings can be searched here.

        Raises:
            ModelMismatch: the gallery's come from another; names the command that re-embeds.
        """
        self._store.require_model(model_id)

    def people(self) -> list[Person]:
        """Everybody, by name."""
        return self._store.people()

    def person(self, name: str) -> Person:
        """One person; letter case does not matter.

        Raises:
            PersonNotFound: nobody has that name; suggests similar ones.
        """
        return self._store.person(name)

    def photos(self, name: str) -> list[Photo]:
        """A person's photos, oldest first.

        Raises:
            PersonNotFound: nobody has that name.
        """
        return self._store.photos(self._store.person(name).id)

    def crop(self, photo: Photo) -> Image:
        """The aligned face, 112×112×3 BGR uint8.

        Raises:
            GalleryCorrupt: it is gone or damaged.
        """
        return self._store.crop(photo.id)

    # --- changing --------------------------------------------------------------------------

    def add(self, name: str, *photos: Path | str | Image) -> list[PhotoResult]:
        """Enrol photos of a person, who is made with the first good one.

        Args:
            name: of the person; see ``names.normalise_name``.
            photos: picture files, folders of them, or arrays H×W×3 BGR uint8.

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
        return list(self.iter_add(name, flat))

    def iter_add(self, name: str, photos: Iterable[Path | str | Image]) -> Iterator[PhotoResult]:
        """Like ``add`` (without folders), one result at a time, each on the disk by then."""
        return enrol.enrol(self._store, self._reader, name, photos)

    def import_folder(
        self, folder: Path | str, *, progress: Callable[[str, PhotoResult], None] | None = None
    ) -> ImportReport:
        """Enrol a folder that holds a folder for each person, or what ``export`` wrote.

        Args:
            folder: the folder.
            progress: called with name and result after each photo.

        Raises:
            GalleryError: the folder cannot be read or holds nobody.
            ModelMismatch: the gallery's embeddings come from another model.
        """
        folder = Path(folder)
        report = ImportReport()
        if transfer.is_export(folder):
            steps = self.iter_restore(folder)
        else:
            plan = plan_import(folder)
            report.notes.extend([*plan.notes, *plan.refused])
            steps = self.iter_import(plan)
        for name, result in steps:
            report.results.append((name, result))
            if progress is not None:
                progress(name, result)
        return report

    def iter_import(self, plan: ImportPlan) -> Iterator[tuple[str, PhotoResult]]:
        """Enrol what ``plan_import`` found, one result at a time, each on the disk by then."""
        for name, photos in plan.people:
            for result in enrol.enrol(self._store, self._reader, name, photos):
                yield name, result

    def iter_restore(self, folder: Path | str) -> Iterator[tuple[str, PhotoResult]]:
        """Add what ``export`` wrote, one result at a time, each on the disk by then.

        Raises:
            GalleryError: the folder is not an export.
        """
        return transfer.restore(self._store, self._reader, Path(folder))

    def remove(self, name: str) -> Person:
        """Remove a person with all photos and embeddings.

        Returns:
            Who was removed.

        Raises:
            PersonNotFound: nobody has that name.
        """
        return self._store.remove(name)

    def rename(self, old: str, new: str) -> Person:
        """Give a person another name.

        Raises:
            PersonNotFound: nobody is called ``old``.
            PersonExists: somebody else is called ``new``.
            GalleryError: ``new`` cannot be a name.
        """
        return self._store.rename(old, new)

    def export(self, folder: Path | str) -> transfer.Export:
        """Write crops, people, photos and embeddings to a new or empty folder.

        Raises:
            OutputError: the folder is not empty or cannot be written.
        """
        return transfer.export(self._store, Path(folder))

    def re_embed(self, *, progress: Callable[[int, int], None] | None = None) -> int:
        """Embed all faces with the reader's model, and use that model from now on.

        Args:
            progress: called with the number that are done, and of all.

        Returns:
            How many were embedded.
        """
        count = 0
        for done, total in enrol.re_embed(self._store, self._reader):
            count = max(count, done)
            if progress is not None:
                progress(done, total)
        return count

    # --- searching -------------------------------------------------------------------------

    def searcher(self, model_id: str, cohort: Cohort | None) -> GallerySearch:
        """See ``identity.search.SearchableGallery``."""
        return GallerySearch(self, model_id, cohort)

    def search(self, mu: Floats, k: int = 5, *, cohort: Cohort | None = None) -> Matches:
        """The k most similar people of each face, from memory.

        The index is loaded at the first search, and brought up to date after changes made by
        this object; ``refresh`` picks up those of other processes.

        Args:
            mu: N×D embeddings of the gallery's model (see ``require_model``).
            k: at least 1.
            cohort: the similarities are normalised against it; None leaves them cosines.

        Raises:
            ValueError: the shape does not fit.
            BackendUnavailable: the index cannot serve here.
            InferenceError: it failed.
        """
        return self._current().search(mu, k, cohort=cohort)

    def templates(self) -> int:
        """How many photos a face is compared with by ``search``."""
        return len(self._current())

    def index_info(self) -> IndexInfo:
        """The index that searches; it is loaded if nothing was searched yet."""
        return (self._index or self._current()).info

    def _current(self) -> TemplateIndex:
        index = self._index
        if index is None or self._seen != self._store.changes:
            self.refresh()
            index = self._index
        if index is None:
            raise GalleryError(f"the index of '{printable(str(self.path))}' could not be built")
        return index

    def refresh(self) -> bool:
        """Bring the index up to date if the gallery changed, here or in another process.

        A few changes cost milliseconds, whatever the gallery's size; searches go on meanwhile.

        Returns:
            True when it did.

        Raises:
            BackendUnavailable: the index cannot serve here.
        """
        with self._lock:
            # Before the file is read: a change in between is seen at the next search.
            seen = self._store.changes
            head = self._store.head()
            if self._index is None or head != self._head:
                self._head = self._updated()
                self._seen = seen
                return True
            self._seen = seen
            return False

    def _updated(self) -> Head:
        """Build or update the index; returns the gallery's state in it."""
        index = self._index
        if index is not None:
            delta = self._store.delta(
                since=self._head, after=index.last_photo, model_id=index.model_id
            )
            try:
                if delta is not None and index.update(delta):
                    return delta.added.head
            except InferenceError as error:  # a GPU without room for more, for one
                log.warning("the index is rebuilt: %s", error)
        self._index = TemplateIndex(self._store.snapshot(), options=self._searching)
        return self._index.head


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise GalleryError(
            f"the folder '{printable(str(folder))}' for the gallery cannot be made: "
            f"{error.strerror}; choose another with --gallery"
        ) from error
