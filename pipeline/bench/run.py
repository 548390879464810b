"""Runs the suites that are wanted, one after another."""

from __future__ import annotations

from collections.abc import Sequence

from .results import Results
from .suite import Wanted, Watch
from .suites import SuiteName, suite_named
from .suites.e2e import E2eSuite, VideoOptions
from .turns import take_turns


def run_suites(
    suites: Sequence[SuiteName],
    wanted: Wanted,
    results: Results,
    watch: Watch,
    *,
    videos: VideoOptions,
) -> None:
    """Measure into the results, which hold what was done also when this is interrupted.

    Raises:
        FacestreamError: our own pipeline failed, or pictures cannot be made.
    """
    if not wanted.peers:
        results.note("Peers were not measured; --peers measures them.")
    for name in suites:
        if name == "e2e":
            E2eSuite(videos).run(wanted, results, watch)
            continue
        suite = suite_named(name)
        try:
            take_turns(suite, wanted, results, watch)
        finally:
            others = [row for row in results.rows if row.suite != name]
            results.rows[:] = [*others, *suite.finish(results.of(name))]
    results.complete = True
