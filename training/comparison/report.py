"""The comparison as JSON, as a Markdown table and as pictures."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..generation.synthetic_pictures import Picture, grid, save_synthetic
from ..record import write_json
from .compare import PICTURES, Comparison, Result

NONE: Final = "–"


def _number(value: float | None, pattern: str) -> str:
    return NONE if value is None else format(value, pattern)


def _lfw(result: Result) -> str:
    if result.lfw is None or result.lfw_95 is None:
        return NONE
    low, high = result.lfw_95
    return f"{result.lfw:.1%} ({100 * low:.1f} to {100 * high:.1f})"


def _millions(value: int | None) -> str:
    return NONE if value is None else f"{value / 1e6:.1f}"


# Heading of each column and what stands in it.
COLUMNS: Final[tuple[tuple[str, Callable[[Result], str]], ...]] = (
    ("contender", lambda r: r.title),
    ("LFW (95 %)", _lfw),
    ("TAR at FAR 0.1 %", lambda r: _number(r.tar, ".1%")),
    ("PSNR, dB", lambda r: _number(r.psnr, ".2f")),
    ("SSIM", lambda r: _number(r.ssim, ".3f")),
    ("identity cosine", lambda r: _number(r.cosine, ".3f")),
    ("Fréchet", lambda r: _number(r.frechet, ".1f")),
    ("encoder, M", lambda r: _millions(r.parameters_encoder)),
    ("decoder, M", lambda r: _millions(r.parameters_decoder)),
    ("encoder, MMAC", lambda r: _millions(r.macs)),
    ("faces/s", lambda r: _number(r.faces_per_second, ".0f")),
)


def machine() -> dict[str, Any]:
    """Where this was measured, free of names and paths."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    return {
        "cpu": models[0] if models else platform.machine(),
        "cpu_features": [flag for flag in wanted if flag in flags],
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


def as_json(comparison: Comparison, *, command: str, note: str) -> dict[str, Any]:
    """Plain data for a JSON file; paths of this machine are left out."""
    shared = comparison.results[0].config.model_dump(
        mode="json", exclude={"data", "teacher", "cache", "lfw", "contenders"}
    )
    return {
        "command": command,
        "note": note,
        "machine": machine(),
        "git": comparison.revision,
        "settings": shared,
        "frechet_of_real_faces": {"distance": comparison.floor, "faces": comparison.held},
        # Each ran at another hour: `python -m benchmarks suite training` compares the speeds.
        "results": [
            r.model_dump(mode="json", exclude={"config", "train_speed"}) for r in comparison.results
        ],
    }


def as_markdown(comparison: Comparison, *, command: str, note: str) -> str:
    """The table with its conditions."""
    results = comparison.results
    config, where = results[0].config, machine()
    heading = [name for name, _ in COLUMNS]
    lines = [
        "# The contenders on the same data and budget",
        "",
        f"    {command}",
        "",
        f"{where['cpu']}, {where['cores']} cores. {note}".strip(),
        "",
        f"Each was trained on the same {results[0].pictures:,} pictures in the same order "
        f"({config.steps} batches of {config.batch}, seed {config.seed}), from fresh weights "
        "unless its name says otherwise. LFW: 10 folds, grey pictures, our own detection. PSNR, "
        f"SSIM and identity cosine: {config.faces} faces of held-out people, made from mu. "
        f"Fréchet distance: {config.samples} samples of the prior against the training faces, on "
        f"the teacher's embeddings; {comparison.held} real faces of held-out people are at "
        f"{comparison.floor:.1f}. Faces/s: the encoder's, batch 8, all encoders taking turns in "
        f"one run ({config.threads} thread(s), OpenVINO).",
        "",
        "| " + " | ".join(heading) + " |",
        "|" + "---|" * len(heading),
        *("| " + " | ".join(cell(r) for _, cell in COLUMNS) + " |" for r in results),
        "",
    ]
    return "\n".join(lines)


def write_report(comparison: Comparison, out: Path, *, command: str, note: str = "") -> list[Path]:
    """Write ``compare.json``, ``compare.md``, ``compare.png`` and ``pictures.png`` to the folder.

    Args:
        comparison: the results.
        out: folder of the run, which holds the contenders' pictures.
        command: the command line, to repeat it.
        note: one line on the machine or the budget.

    Returns:
        What was written.
    """
    files = [out / name for name in ("compare.json", "compare.md", "compare.png", "pictures.png")]
    write_json(files[0], as_json(comparison, command=command, note=note))
    files[1].write_text(as_markdown(comparison, command=command, note=note), encoding="utf-8")
    save_bars(files[2], comparison.results)
    save_pictures(files[3], out, comparison.results)
    return files


def save_bars(path: Path, results: Sequence[Result]) -> None:
    """Recognition, reconstruction, samples and speed as bars (needs matplotlib)."""
    from matplotlib.figure import Figure

    panels: tuple[tuple[str, Callable[[Result], float | None]], ...] = (
        ("LFW accuracy, %", lambda r: None if r.lfw is None else 100 * r.lfw),
        ("PSNR, dB", lambda r: r.psnr),
        ("Fréchet distance (lower is better)", lambda r: r.frechet),
        ("encoder, faces/s", lambda r: r.faces_per_second),
    )
    figure = Figure(figsize=(14, 0.45 * len(results) + 1.4), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True)
    for axis, (title, value) in zip(axes, panels, strict=True):
        known = [(r, v) for r in reversed(results) if (v := value(r)) is not None]
        axis.barh([r.title for r in reversed(results)], [0.0] * len(results))
        axis.barh([r.title for r, _ in known], [v for _, v in known], color="tab:blue")
        axis.set_title(title, fontsize=10)
        if title.startswith("LFW") and known:
            axis.set_xlim(left=50)
            low = [v - 100 * r.lfw_95[0] for r, v in known if r.lfw_95]
            high = [100 * r.lfw_95[1] - v for r, v in known if r.lfw_95]
            names, values = [r.title for r, _ in known], [v for _, v in known]
            axis.errorbar(values, names, xerr=[low, high], fmt="none", color="black")
    figure.savefig(path, dpi=110)


def save_pictures(path: Path, out: Path, results: Sequence[Result]) -> None:
    """Real faces, and each contender's reconstructions of them and samples, as one picture."""
    rows: list[list[Picture]] = []
    names: list[str] = []
    for result in results:
        with np.load(out / result.name / PICTURES) as kept:
            if not rows:
                rows.append([*kept["real"]])
                names.append("real")
            for kind, what in (("made", "again"), ("samples", "samples")):
                if kind in kept:
                    rows.append([*kept[kind]])
                    names.append(f"{result.name.replace('vae-mobile-sface', 'vae-sface')}")
                    names[-1] += f" {what}" if len(names[-1]) < 9 else f" {what[:1]}."
    save_synthetic(path, grid(rows, names=names))
