"""The FAISS module, loaded when it is first needed and set up for few threads."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from ..errors import BackendUnavailable, InferenceError

# FAISS compares one query after another below this many floats of queries (M×D) and multiplies
# matrices above. 1.15 set it to 128000, right for tens of cores; on one thread the two cost the
# same at about 800 (facebookresearch/faiss pull request 5109).
_TOO_HIGH = 128_000
_CROSSOVER = 800


@cache
def load_faiss() -> Any:
    """The module, its threshold set; BackendUnavailable if not installed or it does not load."""
    with warnings.catch_warnings():
        # SWIG's own types lack __module__ from Python 3.12 on; users cannot fix it.
        warnings.filterwarnings(
            "ignore",
            message="builtin type [sS]wig.* has no __module__",
            category=DeprecationWarning,
        )
        try:
            faiss: Any = importlib.import_module("faiss")
        except (ImportError, OSError) as error:
            raise BackendUnavailable(
                f"faiss does not load ({error}); install it with: pip install faiss-cpu"
            ) from error
    if not hasattr(faiss, "knn"):
        raise BackendUnavailable(
            "the faiss module is damaged (faiss-cpu and faiss-gpu over one another?); "
            "uninstall both, then: pip install faiss-cpu"
        )
    # Other versions count differently and have a suitable value.
    if faiss.cvar.distance_compute_blas_threshold == _TOO_HIGH:
        faiss.cvar.distance_compute_blas_threshold = _CROSSOVER
    return faiss


@contextmanager
def single_threaded() -> Iterator[Any]:
    """The module for one search on the calling thread.

    OpenMP's threads spin while they wait for each other: on cores busy with networks, far longer
    than the work. Measured on 2 busy cores, 32 queries among 1,000,000 × 128: 5 s with OpenMP's
    two threads, 0.3 s with one.

    Raises:
        InferenceError: FAISS failed inside.
    """
    faiss = load_faiss()
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)  # OpenMP keeps this number for each calling thread
    try:
        yield faiss
    except RuntimeError as error:
        raise InferenceError(f"the faiss search failed: {faiss_message(error)}") from error
    finally:
        faiss.omp_set_num_threads(threads)


def faiss_message(error: RuntimeError) -> str:
    """FAISS's message without the signature of the function that raised it."""
    lines = str(error).strip().splitlines() or ["no reason given"]
    return lines[0].rpartition(" Error: ")[2][:200]
