"""Every plotted number of one measure as one long CSV table."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

COLUMNS = ("kind", "id", "head", "row", "step", "value", "low", "high", "unit")


def measure_csv(measure: Mapping[str, Any]) -> str:
    """Write curves and maps of a measure, one number per line; missing values are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for curve in measure["curves"]:
        writer.writerows(_curve_lines(curve))
    for item in measure["maps"]:
        writer.writerows(_map_lines(item))
    return text.getvalue()


def _curve_lines(curve: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    empty = [None] * len(curve["steps"])
    rows = zip(
        curve["steps"],
        curve["value"],
        curve["low"] or empty,
        curve["high"] or empty,
        strict=True,
    )
    layer = curve["layer"] if curve["layer"] is not None else ""
    for step, value, low, high in rows:
        yield "curve", curve["id"], curve["head"], layer, step, value, low, high, curve["unit"]


def _map_lines(item: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    for label, values in zip(item["row_labels"], item["values"], strict=True):
        for step, value in zip(item["steps"], values, strict=True):
            yield "map", item["id"], item["head"], label, step, value, None, None, item["unit"]
