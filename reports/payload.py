"""The numbers a page carries for its scripts: short, exact enough, never NaN."""

import base64
import gzip
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from critical_phase.reports.elements import Curve, Grid, Map, Measure, Numbers, TokenView
from critical_phase.reports.sections import Chart, MapFigure, Section, panel_title
from critical_phase.reports.style import layer_colour, line_style, palette_bytes

Json = dict[str, Any]

COMPRESS_ABOVE = 50_000
"""Bytes of JSON above which the block is compressed."""
EXACT_CELLS = 120_000
"""Map cells up to which hover values have four digits; above, one byte per cell."""
BLANK = 255
"""Byte that stands for a missing cell."""


def build(
    sections: Sequence[Section],
    steps: Sequence[int],
    examples: Sequence[int | None],
    jump: Json | None,
) -> Json:
    """Collect what the scripts draw."""
    figures = [figure for section in sections for figure in section.maps]
    coarse = is_coarse(sections)
    return {
        "steps": list(steps),
        "examples": list(examples),
        "jump": jump,
        "coarse": coarse,
        "palettes": {name: palette_bytes(name) for name in ("viridis", "vlag")},
        "charts": {c.id: _chart(c) for section in sections for c in section.charts},
        "maps": {
            map_key(figure, item): _map(figure, item, coarse=coarse)
            for figure in figures
            for item in figure.maps
        },
        "tokens": [_tokens(view) for s in sections if s.found for view in s.found.tokens],
    }


def is_coarse(sections: Sequence[Section]) -> bool:
    """Tell whether the maps are too many to carry four digits per cell."""
    cells = sum(
        len(item.row_labels) * len(item.steps)
        for section in sections
        for figure in section.maps
        for item in figure.maps
    )
    return cells > EXACT_CELLS


def encode(value: Json) -> Json:
    """Compress a large payload; the result is the same bytes every time."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) <= COMPRESS_ABOVE:
        return {"encoding": "json", "data": value}
    packed = gzip.compress(text.encode(), compresslevel=9, mtime=0)
    return {"encoding": "gzip+base64", "data": base64.b64encode(packed).decode()}


def saved_steps(measures: dict[str, Measure]) -> tuple[tuple[int, ...], tuple[int | None, ...]]:
    """List the steps the slider stops at, with their examples.

    They are the steps of the accuracy curves and of all maps. A training log, which
    has a value at every step, does not count.
    """
    every = [curve for found in measures.values() for curve in found.curves]
    chosen = [curve for curve in every if curve.group == "accuracy"] or every
    steps = {step for curve in chosen for step in curve.steps}
    steps |= {step for found in measures.values() for item in found.maps for step in item.steps}
    steps |= {step for found in measures.values() for view in found.tokens for step in view.steps}
    known = {s: e for curve in every for s, e in zip(curve.steps, curve.examples, strict=True)}
    ratio = next((e / s for s, e in sorted(known.items()) if s), None)
    ordered = tuple(sorted(steps)) or (0,)
    return ordered, tuple(
        known.get(step, round(step * ratio) if ratio is not None else None) for step in ordered
    )


def map_key(figure: MapFigure, item: Map) -> str:
    """Name one map on the page."""
    return re.sub(r"[^a-z0-9]+", "-", f"{figure.id} {item.id}".lower())


def row_layer(row_name: str, label: str) -> int | None:
    """Read the layer a row belongs to from its label; `embed` is -1."""
    if label.lower().startswith("embed"):
        return -1
    found = re.search(r"(\d+)", label)
    return int(found[1]) if found and row_name != "step" else None


def _chart(chart: Chart) -> Json:
    layers = sorted({curve.layer for curve in chart.curves if curve.layer is not None})
    references = dict(pair for curve in chart.curves for pair in curve.references)
    return {
        "title": chart.title,
        "unit": chart.unit,
        "head": chart.head,
        "curves": [_curve(curve, rank, layers) for rank, curve in enumerate(chart.curves)],
        "references": [{"label": k, "value": v} for k, v in references.items()],
    }


def _curve(curve: Curve, rank: int, layers: Sequence[int]) -> Json:
    light, dark, dash = line_style(curve.label, rank)
    if curve.layer is not None:
        place = layers.index(curve.layer)
        light = layer_colour(place, len(layers), dark=False)
        dark, dash = layer_colour(place, len(layers), dark=True), ()
    return {
        "label": curve.label,
        "layer": curve.layer,
        "steps": curve.steps,
        "examples": curve.examples,
        "value": rounded(curve.value),
        "low": rounded(curve.low) if curve.low else None,
        "high": rounded(curve.high) if curve.high else None,
        "light": light,
        "dark": dark,
        "dash": dash,
    }


def _map(figure: MapFigure, item: Map, *, coarse: bool) -> Json:
    exact = not coarse
    return {
        "title": item.title,
        "panel": panel_title(item, figure),
        "unit": item.unit,
        "head": item.head,
        "row_name": item.row_name,
        "rows": item.row_labels,
        "layers": [row_layer(item.row_name, label) for label in item.row_labels],
        "layer": item.layer,
        "steps": item.steps,
        "values": [rounded(row) for row in item.values] if exact else None,
        "bytes": None if exact else cells_to_bytes(item.values, figure.limits),
        "low": [rounded(row) for row in item.low] if exact and item.low else None,
        "high": [rounded(row) for row in item.high] if exact and item.high else None,
        "limits": figure.limits,
        "palette": "vlag" if figure.diverging else "viridis",
    }


def _tokens(view: TokenView) -> Json:
    return {
        "id": view.id,
        "question_id": view.question_id,
        "steps": view.steps,
        "candidates": [
            {
                "tokens": [clip(str(token), 60) for token in item.get("tokens") or ()],
                "positive": rounded(item["positive"]) if item.get("positive") else None,
                "negative": rounded(item["negative"]) if item.get("negative") else None,
                "base": item.get("base"),
                "attention": [
                    {
                        "layer": entry.get("layer"),
                        "attention_head": entry.get("attention_head"),
                        "head": entry.get("head"),
                        "values": [rounded(row, 3) for row in entry.get("values") or ()],
                    }
                    for entry in item.get("attention") or ()
                ],
            }
            for item in view.candidates
        ],
    }


def rounded(
    values: Numbers | Sequence[float | int | None], digits: int = 4
) -> list[float | int | None]:
    """Keep `digits` significant digits; whole numbers lose their point."""
    return [None if v is None else _short(float(f"{v:.{digits}g}")) for v in values]


def cells_to_bytes(values: Grid, limits: tuple[float, float]) -> str:
    """Write cells as one byte each: 0 to 254 over the range, 255 for none."""
    low, high = limits
    grid = np.array([[np.nan if v is None else v for v in row] for row in values], dtype=float)
    scaled = np.clip((grid - low) / (high - low), 0, 1) * (BLANK - 1)
    return base64.b64encode(
        np.where(np.isnan(scaled), BLANK, np.round(scaled)).astype(np.uint8).tobytes()
    ).decode()


def clip(text: str, limit: int) -> str:
    """Cut a long text and say so."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def _short(value: float) -> float | int:
    return int(value) if value.is_integer() and abs(value) < 1e15 else value
