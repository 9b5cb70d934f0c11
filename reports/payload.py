"""The numbers a page carries for its scripts: short, exact enough, never NaN."""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from critical_phase.reports.elements import Curve, Grid, Map, Measure, Numbers, TokenView
from critical_phase.reports.panels import Chart, MapFigure
from critical_phase.reports.section import Section
from critical_phase.reports.style import layer_colour, line_style, palette_bytes
from critical_phase.reports.tables import Cell, View

Json = dict[str, Any]
Row = tuple[tuple[int, ...], Numbers, Numbers | None, Numbers | None]

COMPRESS_ABOVE = 50_000
"""Bytes of JSON above which the block is compressed."""
EXACT_CELLS = 120_000
"""Map cells up to which hover values have four digits; above, one byte per cell."""
LAYER_ROWS = ("layer", "attention_head", "module")
"""Kinds of map rows that belong to a layer."""
LEVELS = 9999
"""Steps of the range in which a map cell is carried."""
BLANK = 255
"""Byte that stands for a missing cell."""


def build(
    sections: Sequence[Section],
    steps: Sequence[int],
    examples: Sequence[int | None],
    jump: Json | None,
    folded: Sequence[View] = (),
) -> Json:
    """Collect what the scripts draw."""
    figures = [figure for section in sections for figure in section.maps]
    coarse = is_coarse(sections)
    rows = {} if coarse else _map_rows(figures)
    return {
        "steps": list(steps),
        "examples": list(examples),
        "jump": jump,
        "coarse": coarse,
        "palettes": {name: palette_bytes(name) for name in ("viridis", "vlag")},
        "charts": {c.id: _chart(c, rows) for section in sections for c in section.charts},
        "maps": {
            map_key(figure, item): _map(figure, item, coarse=coarse)
            for figure in figures
            for item in figure.maps
        },
        "tables": {table.id: _table(table) for table in folded},
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
    """Name one map on the page, shortly."""
    return "m" + hashlib.sha256(f"{figure.id} {item.id}".encode()).hexdigest()[:7]


def row_layer(row_name: str, label: str) -> int | None:
    """Read the layer a row belongs to from its label; `embed` is -1."""
    if row_name not in LAYER_ROWS:
        return None
    if label.lower().startswith("embed"):
        return -1
    found = re.search(r"(\d+)", label)
    return int(found[1]) if found else None


def _map_rows(figures: Sequence[MapFigure]) -> dict[Row, Json]:
    """Find every map row by its numbers, so that a curve that repeats one need not."""
    return {
        (item.steps, row, item.low[i] if item.low else None, item.high[i] if item.high else None): {
            "map": map_key(figure, item),
            "row": i,
        }
        for figure in figures
        for item in figure.maps
        for i, row in enumerate(item.values)
    }


def _table(table: View) -> Json:
    return {
        "caption": table.caption,
        "columns": table.columns,
        "rows": [[[cell.text, _sort(cell)] for cell in row] for row in table.rows],
    }


def _sort(cell: Cell) -> float | int | str | None:
    """Give what a cell is sorted by, where that is not its text."""
    if isinstance(cell.sort, str):
        return None
    return None if cell.sort is None else rounded([cell.sort])[0]


def _chart(chart: Chart, rows: dict[Row, Json]) -> Json:
    layers = sorted({curve.layer for curve in chart.curves if curve.layer is not None})
    references = dict(pair for curve in chart.curves for pair in curve.references)
    return {
        "title": chart.title,
        "unit": chart.unit,
        "head": chart.head,
        "log": chart.log,
        "caption": f"{chart.caption} {chart.facts}" if chart.layered else "",
        "curves": [_curve(curve, rank, layers, rows) for rank, curve in enumerate(chart.curves)],
        "references": [{"label": k, "value": v} for k, v in references.items()],
    }


def _curve(curve: Curve, rank: int, layers: Sequence[int], rows: dict[Row, Json]) -> Json:
    light, dark, dash = line_style(curve.label, rank)
    if curve.layer is not None:
        place = layers.index(curve.layer)
        light = layer_colour(place, len(layers), dark=False)
        dark, dash = layer_colour(place, len(layers), dark=True), ()
    same = rows.get((curve.steps, curve.value, curve.low, curve.high))
    numbers = same or {
        "steps": curve.steps,
        "value": rounded(curve.value),
        "low": rounded(curve.low, 3) if curve.low else None,
        "high": rounded(curve.high, 3) if curve.high else None,
    }
    return numbers | {
        "label": curve.label,
        "layer": curve.layer,
        "light": light,
        "dark": dark,
        "dash": dash,
    }


def _map(figure: MapFigure, item: Map, *, coarse: bool) -> Json:
    exact = not coarse or figure.kind == "trail"  # a place in a plane needs more than 255 levels
    return {
        "title": item.title,
        "unit": item.unit,
        "head": item.head,
        "row_name": item.row_name,
        "rows": item.row_labels,
        "layers": [row_layer(item.row_name, label) for label in item.row_labels],
        "layer": item.layer,
        "steps": item.steps,
        "changes": level_changes(item.values, figure.limits) if exact else None,
        "bytes": None if exact else cells_to_bytes(item.values, figure.limits),
        "low": _band(item.values, item.low) if exact and item.low else None,
        "high": _band(item.values, item.high) if exact and item.high else None,
        "limits": figure.limits,
        "palette": "vlag" if figure.diverging else "viridis",
    }


def _band(values: Grid, bound: Grid) -> Json:
    """Carry one end of the intervals as its distance from the value, a byte per cell."""
    rows = tuple(
        tuple(None if v is None or b is None else b - v for v, b in zip(row, ends, strict=True))
        for row, ends in zip(values, bound, strict=True)
    )
    known = [cell for row in rows for cell in row if cell is not None] or [0.0]
    limits = (float(min(known)), float(max(known)) + 1e-12)
    return {"bytes": cells_to_bytes(rows, limits), "limits": limits}


def _tokens(view: TokenView) -> Json:
    return {
        "id": view.id,
        "question_id": view.question_id,
        "steps": view.steps,
        "candidates": [
            {
                "tokens": [clip(token, 60) for token in _token_texts(item)],
                "positive": rounded(item["positive"]) if item.get("positive") else None,
                "negative": rounded(item["negative"]) if item.get("negative") else None,
                "base": item.get("base"),
                "attention": [
                    {
                        "layer": entry.get("layer"),
                        "attention_head": entry.get("attention_head"),
                        "head": entry.get("head"),
                        "tokens": max((len(row) for row in entry.get("values") or ()), default=0),
                        "bytes": cells_to_bytes(_grid(entry.get("values")), (0.0, 1.0)),
                    }
                    for entry in item.get("attention") or ()
                ],
            }
            for item in view.candidates
        ],
    }


def _grid(rows: Sequence[Sequence[float | int | None]] | None) -> Grid:
    return tuple(tuple(row) for row in rows or ())


def _token_texts(candidate: Json) -> list[str]:
    """List the tokens; where the file has only their attention, number them."""
    texts = [str(token) for token in candidate.get("tokens") or ()]
    rows = [row for entry in candidate.get("attention") or () for row in entry.get("values") or ()]
    return texts or [str(k + 1) for k in range(len(rows[0]) if rows else 0)]


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


def level_changes(values: Grid, limits: tuple[float, float]) -> list[list[int | None]]:
    """Write cells as changes from step to step, in 1/9999 of the range: short and compressible.

    A cell outside the range keeps its value: levels may be negative or above 9999.
    """
    low, high = limits
    rows: list[list[int | None]] = []
    for row in values:
        last = 0
        changes: list[int | None] = []
        for value in row:
            if value is None:
                changes.append(None)
                continue
            level = round((value - low) / (high - low) * LEVELS)
            changes.append(level - last)
            last = level
        rows.append(changes)
    return rows


def clip(text: str, limit: int) -> str:
    """Cut a long text and say so."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} characters)"


def _short(value: float) -> float | int:
    return int(value) if value.is_integer() and abs(value) < 1e15 else value
