"""Curves and maps made from series, with their bands."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inference.accuracy_interval import band_name, band_of
from critical_phase.analysis.inference.bootstrap import series_interval
from critical_phase.analysis.results import BOOTSTRAP, Curve, Map
from critical_phase.analysis.series import Series


def layer_label(layer: int) -> str:
    """Name a layer as pages do."""
    return "embed" if layer < 0 else str(layer)


def numbers(values: Float[np.ndarray, " step"]) -> list[float | None]:
    """List values, None where undefined."""
    return [float(v) if np.isfinite(v) else None for v in values]


def curve(
    series: Series,
    weights: Float[np.ndarray, "draw question"],
    batch_size: int,
    *,
    group: str,
    label: str,
    caption: str,
    references: Sequence[dict[str, Any]] = (),
) -> Curve:
    """Draw a series as one line with its question band."""
    band = band_of(series, weights)
    questions = 0 if series.per_question is None else series.per_question.shape[1]
    return Curve(
        series.quantity if series.layer is None else f"{series.quantity}.{label}",
        series.title,
        series.unit,
        group,
        label,
        [int(s) for s in series.steps],
        [int(s) * batch_size for s in series.steps],
        numbers(series.value),
        caption,
        questions,
        series.head,
        series.mode,
        series.layer,
        None if band is None else numbers(band[0]),
        None if band is None else numbers(band[1]),
        None if band is None else band_name(series),
        list(references),
    )


def layer_map(
    group: Sequence[Series],
    weights: Float[np.ndarray, "draw question"] | None,
    *,
    map_id: str,
    title: str,
    control: str,
    caption: str,
    row_name: str = "layer",
    row_labels: Sequence[str] | None = None,
    bounds: tuple[float, float] | None = None,
    diverging: bool = False,
) -> Map:
    """Stack the series of several layers (or attention heads) into one map."""
    first = group[0]
    steps = np.unique(np.concatenate([s.steps for s in group]))
    bands = [None if weights is None else series_interval(s, weights) for s in group]
    whole = all(band is not None for band in bands)
    questions = None if first.per_question is None else first.per_question.shape[1]
    return Map(
        map_id,
        title,
        first.unit,
        first.head,
        row_name,
        list(row_labels or [layer_label(s.layer if s.layer is not None else 0) for s in group]),
        [int(s) for s in steps],
        [_on(steps, s, s.value) for s in group],
        diverging,
        None if bounds is None else list(bounds),
        control,
        caption,
        questions,
        BOOTSTRAP if whole else None,
        _edges(steps, group, bands, 0) if whole else None,
        _edges(steps, group, bands, 1) if whole else None,
    )


def _on(
    steps: Int[np.ndarray, " all"], series: Series, values: Float[np.ndarray, " step"]
) -> list[float | None]:
    """Place values on the steps of the whole map, None where the series is undefined."""
    row = np.full(steps.size, np.nan)
    row[np.searchsorted(steps, series.steps)] = values
    return numbers(row)


def _edges(
    steps: Int[np.ndarray, " all"],
    group: Sequence[Series],
    bands: Sequence[tuple[np.ndarray, np.ndarray] | None],
    edge: int,
) -> list[list[float | None]]:
    """Return the low or the high edge of every band."""
    return [
        _on(steps, series, band[edge])
        for series, band in zip(group, bands, strict=True)
        if band is not None
    ]
