"""Who is this stranger that comes every Tuesday: unnamed sightings as people without a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from facestream.engines.cards import load_card
from numpy.typing import NDArray
from sqlalchemy import Connection, select

from ..core.config import Settings
from ..core.errors import UsageError
from ..core.types import Floats
from ..identity.calibrated import CalibratedRules, StoredCalibration
from ..identity.grouping import open_grouping
from ..recognition.encoder import DEFAULT_MODEL
from ..recognition.uncertainty import normalise
from ..storage.database import chunks
from ..storage.history import RecordedChange, changing, new_cluster, place, set_cluster
from ..storage.schema import ClusterMemberRow, SightingRow, SightingTemplateRow
from ..storage.sealed import opened_means
from .cluster_index import ClusterIndex, Placed
from .cluster_records import (
    ClusterState,
    UnknownCluster,
    best_of,
    find_cluster,
    largest,
    members,
    probability,
    visits,
)
from .naming import NameGiven, name_sightings
from .store import Sightings
from .transactions import bump, deciding

# Sightings of one transaction.
BATCH = 1000
Count = Callable[..., None]
Ids = list[int]
Rows = list[Any]


# Sightings by whose resemblance a cluster is cut in two; the others follow them.
_CUT = 2000


def _silent(done: int, *, total: int) -> None:
    pass


class Unknowns:
    """The clusters of a database. May be used from one thread at a time, and several processes.

    Every change is one transaction, is noted with who did it, and can be undone
    (`Corrections.undo`).

    Args:
        sightings: the database; not closed here.
        settings: say when two faces are the same person.
        who: does what is done here; None: the user of the operating system.
    """

    def __init__(
        self, sightings: Sightings, settings: Settings | None = None, *, who: str | None = None
    ) -> None:
        self._sightings = sightings
        self._settings = settings or Settings()
        self._who = who
        card = load_card(DEFAULT_MODEL)
        self._card, self._model_id = card, card.id
        self._calibrated: StoredCalibration | None = None
        self._take_rules(sightings.calibrated())

    def _take_rules(self, calibrated: CalibratedRules | None) -> None:
        self._calibrated = None if calibrated is None else calibrated.stored
        self._rule = open_grouping(self._card, self._settings.recognition, calibrated)
        self._index = ClusterIndex(self._card.id, self._rule)

    # --- keeping them up to date -----------------------------------------------------------

    def update(self, *, progress: Count = _silent) -> int:
        """Put the sightings that are new into clusters.

        Args:
            progress: is called after each batch with the number done, and ``total``.

        Returns:
            How many were new.
        """
        calibrated = self._sightings.calibrated()
        if (None if calibrated is None else calibrated.stored) != self._calibrated:
            self._take_rules(calibrated)
        with self._sightings.reading() as connection:
            self._index.refresh(connection)
        done = 0
        while self._index.waiting:
            with self._sightings.writing() as connection:
                # Another process may have been first.
                self._index.refresh(connection)
                waiting = self._index.waiting
                if not waiting:
                    break
                placed = self._index.next(BATCH)
                made = self._write(connection, placed)
                now = bump(connection)
            self._index.keep(placed, made, now)
            done += len(placed.sightings)
            progress(done, total=done + max(0, waiting - len(placed.sightings)))
        return done

    def _write(self, connection: Connection, placed: Placed) -> dict[int, int]:
        made: dict[int, int] = {}
        for group in sorted({one for one in placed.clusters if one < 0}, reverse=True):
            made[group] = new_cluster(connection, self._model_id)
        ignored = [
            one
            for one, group in zip(placed.sightings, placed.clusters, strict=True)
            if self._index.state(group) == "ignored"
        ]
        for gone, kept in placed.merged.items():
            if self._index.state(kept) != self._index.state(gone):
                ignored += [row.id for row in members(connection, gone)]
            connection.execute(
                sa.update(ClusterMemberRow)
                .where(ClusterMemberRow.cluster_id == gone)
                .values(cluster_id=kept)
            )
            set_cluster(connection, gone, "merged", kept)
        rows = zip(placed.sightings, placed.clusters, placed.core, strict=True)
        place(connection, ((s, made.get(c, c), core, False) for s, c, core in rows))
        if ignored:
            with changing(connection, "learnt", "resemble somebody ignored", who="facestream") as c:
                c.decide({key: {"ignored": True} for key in ignored}, cause="resembles the ignored")
        return made

    # --- asking ----------------------------------------------------------------------------

    def list(
        self, *, state: ClusterState = "open", least: int = 1, limit: int = 50
    ) -> Sequence[UnknownCluster]:
        """The clusters with most sightings.

        Args:
            state: ``open`` or ``ignored``.
            least: sightings that a cluster has at least.
            limit: most clusters.
        """
        with self._sightings.reading() as connection:
            ids = largest(connection, state, model_id=self._model_id, least=least, limit=limit)
            found = [self._describe(connection, one) for one in ids]
        return [one for one in found if one is not None]

    def get(self, cluster: int) -> UnknownCluster:
        """One cluster.

        Raises:
            UsageError: there is none of this number, it is part of another, or has nobody left.
        """
        with self._sightings.reading() as connection:
            row = find_cluster(connection, cluster)
            found = self._describe(connection, row.id)
        if found is None:
            raise UsageError(f"the sightings of cluster {cluster} have a name now")
        return found

    def _describe(self, connection: Connection, cluster: int) -> UnknownCluster | None:
        row = find_cluster(connection, cluster)
        rows = members(connection, cluster)
        if not rows:
            return None
        best = best_of(rows)
        return UnknownCluster(
            id=row.id,
            state=row.state,
            size=len(rows),
            visits=visits(rows),
            days=len({one.seen_at.date() for one in rows}),
            cameras=tuple(sorted({one.source for one in rows})),
            first_seen=rows[0].seen_at,
            last_seen=rows[-1].seen_at,
            best=self._sightings.by_row_id([best.id])[best.id],
            uncertainty=float(best.clearest),
            probability=probability(connection, rows, self._rule),
            sightings=tuple(one.uid for one in rows),
        )

    # --- changing --------------------------------------------------------------------------

    def name(self, cluster: int, name: str, *, progress: Count = _silent) -> NameGiven:
        """Give the person of a cluster a name: all its sightings, and those that resemble them.

        The person is made, or is one who has this name already. Their clearest pictures become
        photos of the gallery, where they resemble nobody else.

        Raises:
            UsageError: there is no such cluster.
            GalleryError: the name cannot be used.
        """
        self.get(cluster)
        return name_sightings(
            self._sightings, self._settings, name, cluster=cluster, who=self._who, progress=progress
        )

    def merge(self, keep: int, *others: int) -> UnknownCluster:
        """Make clusters one: the first one, which keeps its number.

        Raises:
            UsageError: one of them does not exist, or is given twice.
        """
        if len({keep, *others}) != 1 + len(others) or not others:
            raise UsageError("give two or more different clusters")
        text = f"merged cluster {', '.join(map(str, others))} into {keep}"
        with deciding(self._sightings) as connection:
            kept = find_cluster(connection, keep)
            with changing(connection, "merge", text, who=self._who) as change:
                self._pin(change, keep, [row.id for row in members(connection, keep)])
                for other in others:
                    gone = find_cluster(connection, other)
                    moved = [row.id for row in members(connection, other, unnamed=False)]
                    self._pin(change, keep, moved)
                    if (kept.state == "ignored") != (gone.state == "ignored"):
                        ignored = {"ignored": kept.state == "ignored" or None}
                        change.decide(dict.fromkeys(moved, ignored), cause=text)
                    change.set_cluster(other, "merged", merged_into=keep)
        return self.get(keep)

    def split(self, cluster: int, sightings: Sequence[str] = ()) -> UnknownCluster:
        """Take sightings out of a cluster, into a new one.

        Args:
            sightings: their ids, or beginnings of them; without any the cluster is cut in two by
                its own structure.

        Returns:
            The new cluster.

        Raises:
            UsageError: there is no such cluster or sighting, or nothing would be left.
        """
        uids = [self._sightings.get(one).id for one in sightings]
        with deciding(self._sightings) as connection:
            find_cluster(connection, cluster)
            rows = members(connection, cluster)
            out = [row.id for row in rows if row.uid in uids]
            if len(out) != len(set(uids)):
                raise UsageError(f"not all of these sightings are in cluster {cluster}")
            out = out or self._smaller_part(connection, [row.id for row in rows])
            if len(out) == len(rows):
                raise UsageError(f"nothing would be left of cluster {cluster}")
            text = f"split {len(out)} of {len(rows)} sightings off cluster {cluster}"
            with changing(connection, "split", text, who=self._who) as change:
                made = change.new_cluster(self._model_id)
                self._pin(change, made, out)
                self._pin(change, cluster, [row.id for row in rows if row.id not in set(out)])
                change.decide({key: {"ignored": None} for key in out}, cause=text)
        return self.get(made)

    def ignore(self, cluster: int, *, ignored: bool = True) -> UnknownCluster:
        """Leave a cluster out of lists and alarms from now on, with all that resembles it.

        Args:
            ignored: False: list it again.

        Raises:
            UsageError: there is no such cluster.
        """
        self.get(cluster)
        text = f"{'ignored' if ignored else 'listed again:'} cluster {cluster}"
        with (
            deciding(self._sightings) as connection,
            changing(connection, "ignore", text, who=self._who) as change,
        ):
            rows = [row.id for row in members(connection, cluster)]
            change.set_cluster(cluster, "ignored" if ignored else "open")
            change.decide({key: {"ignored": ignored or None} for key in rows}, cause=text)
        return self.get(cluster)

    def _pin(self, change: RecordedChange, cluster: int, rows: Sequence[int]) -> None:
        change.place(rows, cluster, pinned=True)

    def _smaller_part(self, connection: Connection, ids: Sequence[int]) -> Ids:
        """One of the two parts of these sightings that resemble each other least."""
        templates = select(SightingTemplateRow.__table__, SightingRow.clearest).join(
            SightingRow, SightingRow.id == SightingTemplateRow.sighting_id
        )
        rows: Rows = []
        for part in chunks(ids):
            rows += connection.execute(
                templates.where(SightingTemplateRow.sighting_id.in_(part))
            ).all()
        if len(rows) < 2:
            raise UsageError("a cluster of one sighting cannot be split")
        unit = normalise(opened_means(connection, rows))
        first = _two_parts(unit)
        chosen = [row.sighting_id for row, own in zip(rows, first, strict=True) if own]
        return chosen if 2 * len(chosen) <= len(rows) else sorted(set(ids) - set(chosen))


def _two_parts(unit: Floats) -> NDArray[np.bool_]:
    """Cut faces N×D of length 1 in two, so that the parts resemble each other least on average."""
    from scipy.cluster.hierarchy import fcluster, linkage  # takes a tenth of a second to import

    some = np.random.default_rng(0).permutation(len(unit))[:_CUT]
    tree = linkage(unit[some], "average", metric="cosine")
    first = fcluster(tree, 2, "maxclust") == 1
    if first.all():  # they are all equal
        first[0] = False
    centres = normalise(np.stack([unit[some[first]].mean(axis=0), unit[some[~first]].mean(axis=0)]))
    own: NDArray[np.bool_] = (unit @ centres.T).argmax(axis=1) == 0
    own[some] = first
    return own
