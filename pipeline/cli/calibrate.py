"""``facestream calibrate``: thresholds that fit this gallery and installation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .flags import Config, Database, Json, examples

Action = Literal["dry_run", "apply", "show", "reset"]

EPILOG = examples(
    "facestream calibrate --db house.db",
    "facestream calibrate --db house.db --false-alarms 0.005 --apply",
    "facestream calibrate --db house.db --html calibration.html",
    "facestream calibrate --db house.db --reset   (back to the model's thresholds)",
    "Without --apply nothing is changed. Status 3: there is too little to calibrate on.",
)


@dataclass(frozen=True, slots=True)
class CalibrateRequest:
    """What is asked for; see the flags."""

    action: Action
    false_alarms: float | None
    own_cohort: bool
    page: Path | None


def calibrate(
    false_alarms: Annotated[
        float | None,
        typer.Option(
            "--false-alarms",
            metavar="RATE",
            help="Share of strangers who may get a name in one search, 0 to 1. "
            "[recognition.false_alarms]",
        ),
    ] = None,
    own_cohort: Annotated[
        bool,
        typer.Option(
            "--own-cohort",
            help="Normalise similarities by the strangers that were seen here, not by those that "
            "ship.",
        ),
    ] = False,
    apply: Annotated[
        bool,
        typer.Option(
            "--apply/--dry-run", help="Store it in the database: the next runs use it. [dry run]"
        ),
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the calibration in force.")] = False,
    reset: Annotated[
        bool, typer.Option("--reset", help="Remove it: the model's thresholds hold again.")
    ] = False,
    page: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE.html", help="Write a page with pictures, one file."),
    ] = None,
    as_json: Json = False,
    db: Database = None,
    config: Config = None,
) -> None:
    """Find the threshold that fits this gallery, with its errors, and store it."""
    from ..core.errors import UsageError

    if apply + show + reset > 1:
        raise UsageError("--apply, --show and --reset exclude each other; give one of them")
    action: Action = "reset" if reset else "show" if show else "apply" if apply else "dry_run"
    request = CalibrateRequest(action, false_alarms, own_cohort, page)
    raise typer.Exit(_run(request, db, config, as_json=as_json))


def _run(request: CalibrateRequest, db: str | None, config: Path | None, *, as_json: bool) -> int:
    from ..calibration import reset_calibration
    from ..gallery import Gallery
    from .console import print_json, say
    from .who import open_sightings

    sightings, settings = open_sightings(db, config)
    with sightings:
        if request.action == "reset":
            gone = reset_calibration(sightings)
            if as_json:
                print_json({"reset": gone})
            else:
                say("The model's thresholds hold." if gone else "There was no calibration.")
            return 0
        if request.action == "show":
            found = sightings.calibrated()
            if as_json:
                print_json({"calibration": None if found is None else found.stored.model_dump()})
            elif found is None:
                say("There is no calibration: the model's thresholds hold.")
            else:
                say(f"Calibrated on {found.stored.created} for {found.stored.model}.")
                for line in lines_of(found.stored.report):
                    say(line)
            return 0
        with Gallery(sightings.location, create="never") as gallery:
            return _calibrate(request, gallery, sightings, settings, as_json=as_json)


def _calibrate(
    request: CalibrateRequest, gallery: Any, sightings: Any, settings: Any, *, as_json: bool
) -> int:
    from facestream.engines.cards import load_card

    from ..calibration import apply_calibration, calibrate
    from ..calibration.page import calibration_page
    from ..recognition.encoder import DEFAULT_MODEL
    from ..sinks.files import write_whole
    from .console import print_json, say, warn
    from .errors import BAD_INPUT

    found = calibrate(
        gallery,
        sightings,
        load_card(DEFAULT_MODEL),
        settings.recognition,
        false_alarms=request.false_alarms,
        with_own_cohort=request.own_cohort,
    )
    applied = request.action == "apply" and found.stored is not None
    if applied:
        apply_calibration(sightings, found)
    if as_json:
        print_json({"calibration": {"applied": applied, **found.report}})
    else:
        for line in lines_of(found.report):
            say(line)
        for line in found.missing:
            warn(line)
        if found.stored is not None and not applied:
            say("Nothing was changed: --apply stores this.")
        elif applied:
            say(f"Stored in {sightings.location}: the next runs use it.")
    if request.page is not None and found.searches is not None:
        page = calibration_page(found.searches, found.report, lines_of(found.report))
        write_whole(request.page, page.encode("utf-8", "backslashreplace"))
        if not as_json:
            say(f"Wrote {request.page}")
    return 0 if found.stored is not None else BAD_INPUT


def lines_of(report: dict[str, Any]) -> list[str]:
    """A calibration in sentences."""
    from ..storage.names import printable

    if "threshold" not in report:
        return []
    measured, without = report["measured"], report["without"]
    lines = [
        f"Threshold {_range(report['threshold'])} for {report['false_alarms']:.2%} false alarms; "
        f"without calibration {without['threshold']:.3f}.",
        f"False alarms {_percent(measured['false_alarms'])}, misses "
        f"{_percent(measured['misses'])}; without calibration "
        f"{_percent(without['false_alarms'])} and {_percent(without['misses'])}.",
        f"Fitted on {report['fitted_on']}; measured on {report['reported_on']}.",
    ]
    tail = report["tail"]
    if tail["p_value"] < 0.05:
        lines.append(
            f"The tail's fit explains the similarities poorly (p {tail['p_value']:.2f}): rates "
            "far below those that were seen are uncertain."
        )
    if report["own_cohort"] is not None:
        lines.append(f"Normalised by {report['own_cohort']:,} strangers seen here.")
    if report["probability"] is not None:
        error = report["probability"]["calibration_error"]
        lines.append(f"Probabilities are off by {error:.3f} on average.")
    for one in report["cameras"]:
        alarms = one["false_alarms_a_day"]
        lines.append(
            f"{printable(one['source'])}: {one['unnamed_a_day']:.1f} clear sightings without a "
            f"name a day, {alarms['value']:.2f} false alarms a day expected if all are strangers "
            f"({alarms['low']:.2f} to {alarms['high']:.2f})."
        )
    for one in report["lookalikes"]:
        who = one["resembles"]
        because = "a rejected sighting" if who is None else f"'{printable(who)}'"
        lines.append(
            f"'{printable(one['name'] or '?')}' resembles {because}: the name needs "
            f"{one['needs']:.3f}."
        )
    return lines


def _range(one: dict[str, float]) -> str:
    return f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"


def _percent(one: dict[str, float | None]) -> str:
    if one["value"] is None:
        return "unknown"
    return f"{one['value']:.1%} ({one['low'] or 0:.1%} to {one['high'] or 0:.1%})"
