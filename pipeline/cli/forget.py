"""``facestream forget``: what is asked, what would go, and the receipt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from facestream.engines.cards import load_card

from ..core.config import Settings
from ..core.errors import OutputError, PersonNotFound, UsageError
from ..identity.grouping import open_grouping
from ..recognition.encoder import DEFAULT_MODEL
from ..sightings import Sightings
from ..sightings.forget import ForgetPlan, ForgetRequest, Forgetting, Forgotten, finish
from ..sightings.receipts import UNSEEN, Receipt
from ..sinks.files import write_whole
from ..sinks.forgetting import forget_in_events, forget_pictures
from ..sinks.notifications import forget_messages
from ..storage.names import printable
from .console import confirmed, plural, print_json, say, warn
from .errors import FAILED


@dataclass(frozen=True, slots=True)
class ForgetOptions:
    """The flags of ``facestream forget``."""

    who: Sequence[str] = ()
    before: datetime | None = None
    unknown_before: datetime | None = None
    events: Sequence[Path] = ()
    pictures: Sequence[Path] = ()
    receipt: Path | None = None
    named: bool = False
    yes: bool = False
    dry_run: bool = False
    as_json: bool = False


def forget_command(options: ForgetOptions, sightings: Sightings, settings: Settings) -> int:
    """Forget, after a question; returns the exit status.

    Raises:
        UsageError: it is not clear what is meant, or nobody answered the question.
    """
    kinds = [bool(options.who), options.before is not None, options.unknown_before is not None]
    if sum(kinds) != 1:
        raise UsageError("give either people and sightings, or --before, or --unknown-older-than")
    card = load_card(DEFAULT_MODEL)
    rule = open_grouping(card, settings.recognition, sightings.calibrated())
    forgetting = Forgetting(sightings, card.id, rule)
    if not options.dry_run and (count := finish(sightings)):
        warn(f"erased what an interrupted command left: {plural(count, 'picture')}")
    plans = _plans(forgetting, options)
    if options.dry_run:
        _show(plans, as_json=options.as_json)
        return 0
    if all(plan.empty for plan in plans):
        if options.as_json:
            print_json({"receipts": []})
        else:
            say("there is nothing to forget")
        return 0
    what = "; ".join(map(_words, plans))
    if not options.yes and not confirmed(f"Forget for good: {what}?", doing=f"forgetting {what}"):
        say("Nothing was forgotten.")
        return 0

    # --db is where the messages lie beside.
    with_database = settings.with_values({"storage.database": sightings.location})

    def outputs(gone: Forgotten) -> Mapping[str, Mapping[str, int]]:
        done: dict[str, Mapping[str, int]] = {}
        done |= {str(file): forget_in_events(file, gone) for file in options.events}
        done |= {str(folder): forget_pictures(folder, gone) for folder in options.pictures}
        done.update(forget_messages(with_database, gone))
        return done

    receipts = [
        forgetting.carry_out(plan, named=options.named, outputs=outputs)
        for plan in plans
        if not plan.empty
    ]
    _report(receipts, plans, options)
    return 0 if all(one.proved or _only_unrepeated(one) for one in receipts) else FAILED


def _plans(forgetting: Forgetting, options: ForgetOptions) -> list[ForgetPlan]:
    if not options.who:
        request = ForgetRequest(before=options.before, unknown_before=options.unknown_before)
        return [forgetting.plan(request)]
    plans = []
    uids = []
    for one in options.who:
        try:
            plans.append(forgetting.plan(ForgetRequest(person=one)))
        except PersonNotFound as error:
            try:
                forgetting.plan(ForgetRequest(sightings=(one,)))
            except UsageError:
                raise error from None
            uids.append(one)
    if uids:
        plans.append(forgetting.plan(ForgetRequest(sightings=tuple(uids))))
    return plans


def _words(plan: ForgetPlan) -> str:
    if plan.unfinished is not None:
        return "what an interrupted command left"
    parts = [plural(len(plan.sightings), "sighting"), plural(plan.pictures, "picture")]
    if plan.resembling:
        parts[0] += f" ({plan.resembling:,} of them without a name)"
    if plan.person is None:
        learned = plural(plan.learned, "photo")
        also = f", and {learned} of people learned from them" if plan.learned else ""
        return f"{parts[0]} with {parts[1]}{also}"
    name = printable(plan.person.name)
    return f"'{name}' with {plural(plan.person.photos, 'photo')}, {parts[0]} and {parts[1]}"


def _show(plans: Sequence[ForgetPlan], *, as_json: bool) -> None:
    if as_json:
        print_json({"plans": [_as_json(plan) for plan in plans]})
        return
    for plan in plans:
        say(f"Would forget: {_words(plan)}")
        _note_others(plan)


def _as_json(plan: ForgetPlan) -> dict[str, Any]:
    return {
        "kind": plan.kind,
        "name": None if plan.person is None else plan.person.name,
        "photos": plan.learned if plan.person is None else plan.person.photos,
        "sightings": len(plan.sightings),
        "sightings_without_name": plan.resembling,
        "sightings_of_others": plan.others,
        "pictures": plan.pictures,
    }


def _note_others(plan: ForgetPlan) -> None:
    if plan.others:
        warn(
            f"{plural(plan.others, 'sighting')} with another name resemble the person, and stay; "
            "'facestream search PHOTO' lists them, 'facestream forget ID' erases one"
        )


def _report(
    receipts: Sequence[Receipt], plans: Sequence[ForgetPlan], options: ForgetOptions
) -> None:
    content = {"receipts": [one.to_dict() for one in receipts]}
    if options.as_json:
        print_json(content)
    for plan in plans:
        _note_others(plan)
    for one in receipts:
        if not options.as_json:
            rows = ", ".join(f"{name} {count:,}" for name, count in sorted(one.rows.items()))
            say(f"Forgotten ({one.kind}): {rows or 'no rows'}; files {one.files:,}")
            for path, counts in one.outputs.items():
                done = ", ".join(f"{name} {count:,}" for name, count in counts.items())
                say(f"  {path}: {done}")
            say(f"  receipt {one.id}; out of reach: {'; '.join(one.out_of_reach)}")
        for check, outcome in (one.proof or {}).items():
            if outcome not in ("passed", UNSEEN):
                warn(f"not proved ({check}): {outcome}")
        if not options.as_json and one.proved:
            say("  proved: no row, no search, and no file that is ours has anything of it")
    if options.receipt is not None:
        try:
            write_whole(options.receipt, json.dumps(content, indent=2).encode() + b"\n")
        except OutputError as error:
            warn(f"{error}; the receipt is in the database")


def _only_unrepeated(receipt: Receipt) -> bool:
    """An interrupted command was finished, and nothing contradicts it."""
    return receipt.proof is not None and set(receipt.proof) == {"search"}
