"""A calibration as one HTML file with its pictures (SVG); it loads nothing."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.types import Floats
from .searches import GallerySearches

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 420, 300, 52, 42, 26
_COLOURS = ("#b3261e", "#e08a00", "#1f6f43")
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;"
    "color:#1c1e21;background:#fff}figure{display:inline-block;margin:0 1rem 1rem 0}"
    "td,th{text-align:left;padding:.15rem .8rem .15rem 0}"
)

Points = Sequence[tuple[float, float]]


class _Axes:
    """A drawing with labelled axes; points are given in the axes' units."""

    def __init__(
        self, title: str, labels: tuple[str, str], x: tuple[float, float], y: tuple[float, float]
    ) -> None:
        self._x, self._y = x, y
        self._parts = [
            f'<text x="{_WIDTH / 2}" y="16" text-anchor="middle" font-weight="600">{title}</text>',
            f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{labels[0]}</text>',
            f'<text x="12" y="{_HEIGHT / 2}" text-anchor="middle" '
            f'transform="rotate(-90 12 {_HEIGHT / 2})">{labels[1]}</text>',
        ]

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Pixels of a point; those outside lie on the border."""
        across = (x - self._x[0]) / (self._x[1] - self._x[0])
        up = (y - self._y[0]) / (self._y[1] - self._y[0])
        wide, high = _WIDTH - _LEFT - 12, _HEIGHT - _BOTTOM - _TOP
        return _LEFT + wide * min(max(across, 0), 1), _TOP + high * (1 - min(max(up, 0), 1))

    def ticks(self, x: Sequence[tuple[float, str]], y: Sequence[tuple[float, str]]) -> None:
        """Grey lines with their labels."""
        for value, label in x:
            (px, low), (_, high) = self.at(value, self._y[0]), self.at(value, self._y[1])
            self._line([(px, low), (px, high)], "#ddd")
            self._parts.append(
                f'<text x="{px:.1f}" y="{low + 14:.1f}" text-anchor="middle">{label}</text>'
            )
        for value, label in y:
            (left, py), (right, _) = self.at(self._x[0], value), self.at(self._x[1], value)
            self._line([(left, py), (right, py)], "#ddd")
            self._parts.append(
                f'<text x="{left - 5:.1f}" y="{py + 4:.1f}" text-anchor="end">{label}</text>'
            )

    def line(self, points: Points, colour: str, name: str = "", *, dash: str = "") -> None:
        """A line through points; a name is written at its right end or top."""
        pixels = [self.at(x, y) for x, y in points]
        self._line(
            pixels, colour, 'stroke-width="2"' + (f' stroke-dasharray="{dash}"' * bool(dash))
        )
        if name:
            x, y = min(pixels, key=lambda one: one[1])
            self._parts.append(
                f'<text x="{min(x, _WIDTH - 110) + 4:.1f}" y="{max(y + 12, _TOP + 12):.1f}" '
                f'fill="{colour}">{name}</text>'
            )

    def _line(self, pixels: Points, colour: str, more: str = "") -> None:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
        self._parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" {more}/>')

    def svg(self) -> str:
        """The drawing."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
            f'width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" font-size="11">'
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>{"".join(self._parts)}</svg>'
        )


def histogram_svg(searches: GallerySearches, threshold: float) -> str:
    """How similar the best person is, for strangers and for enrolled people."""
    groups = (
        ("strangers", searches.strangers.best),
        ("other people of the gallery", searches.others.best),
        ("enrolled people", searches.mated.best),
    )
    edges = np.linspace(0, 1, 51)
    counts = [_shares(scores, edges) for _, scores in groups]
    most = max(0.05, *(float(one.max(initial=0)) for one in counts))
    axes = _Axes("Best similarity of a search", ("similarity", "share"), (0, 1), (0, most))
    axes.ticks(
        [(x, f"{x:.1f}") for x in np.linspace(0, 1, 6)],
        [(y, f"{y:.0%}") for y in np.linspace(0, most, 5)],
    )
    for (name, _), shares, colour in zip(groups, counts, _COLOURS, strict=True):
        if shares.any():
            middles = (edges[:-1] + edges[1:]) / 2
            axes.line(list(zip(middles.tolist(), shares.tolist(), strict=True)), colour, name)
    axes.line([(threshold, 0), (threshold, most)], "#333", dash="4 3")
    return axes.svg()


def _shares(scores: Floats, edges: Any) -> Any:
    kept = scores[np.isfinite(scores)]
    return np.histogram(kept.clip(0, 1), edges)[0] / max(1, len(kept))


def det_svg(report: dict[str, Any]) -> str:
    """Misses against false alarms (DET), both logarithmic."""
    points = [(max(a, 1e-4), max(m, 1e-3)) for a, m in report["det"] if a > 0]
    axes = _Axes("Detection error trade-off", ("false alarms a search", "misses"), (-4, 0), (-3, 0))
    tens = [(-4, "0.01 %"), (-3, "0.1 %"), (-2, "1 %"), (-1, "10 %"), (0, "100 %")]
    axes.ticks(tens, tens[1:])
    axes.line([(float(np.log10(a)), float(np.log10(m))) for a, m in points], "#2457a6")
    alarms = float(np.log10(report["false_alarms"]))
    axes.line([(alarms, -3), (alarms, 0)], "#333", dash="4 3")
    return axes.svg()


def reliability_svg(report: dict[str, Any]) -> str:
    """The stated probability against the share that was right."""
    axes = _Axes("Probability", ("stated", "right"), (0, 1), (0, 1))
    fifths = [(x, f"{x:.0%}") for x in np.linspace(0, 1, 6)]
    axes.ticks(fifths, fifths)
    axes.line([(0, 0), (1, 1)], "#999", dash="4 3")
    found = report["probability"]
    if found is not None:
        axes.line([(one["stated"], one["right"]) for one in found["reliability"]], "#2457a6")
    return axes.svg()


def pictures_svg(searches: GallerySearches, report: dict[str, Any]) -> list[str]:
    """All pictures of a calibration."""
    histogram = histogram_svg(searches, report["threshold"]["value"])
    return [histogram, det_svg(report), reliability_svg(report)]


def calibration_page(
    searches: GallerySearches, report: dict[str, Any], lines: Sequence[str]
) -> str:
    """The page: sentences, pictures, and the tables of cameras and look-alikes."""
    figures = "".join(f"<figure>{one}</figure>" for one in pictures_svg(searches, report))
    told = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    cameras = _table(
        ("Camera", "Days", "Sightings a day", "Unnamed a day", "False alarms a day"),
        [
            (
                one["source"],
                one["days"],
                one["sightings_a_day"],
                one["unnamed_a_day"],
                one["false_alarms_a_day"]["value"],
            )
            for one in report["cameras"]
        ],
    )
    alike = _table(
        ("Person", "Resembles", "Name needs"),
        [(one["name"], one["resembles"] or "a rejected sighting", one["needs"]) for one in
         report["lookalikes"]],
    )  # fmt: skip
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Calibration</title>'
        f"<style>{_STYLE}</style><h1>Calibration</h1>{told}{figures}{cameras}{alike}</html>\n"
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return ""
    top = "".join(f"<th>{html.escape(head)}</th>" for head in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"
