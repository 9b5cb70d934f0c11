"""Intervals of an accuracy that stay open where every question is right, or every one wrong.

Resampling questions that are all right gives all right again: a percentile interval of width
zero at an accuracy of 1 and too narrow a one close to it. Wilson's score interval is wide
there. Joined, neither end is ever inside what one of the two allows.

Reference: Brown, Cai, DasGupta (2001), Statist. Sci. 16, 101.
"""

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inference.bootstrap import curve_draws, interval, series_interval
from critical_phase.analysis.inference.proportion import wilson
from critical_phase.analysis.results import BOOTSTRAP
from critical_phase.analysis.series import Series

JOINED = f"{BOOTSTRAP} joined with Wilson's interval"
"""Name of the interval of an accuracy."""


def accuracy_band(
    hits: Float[np.ndarray, "step question"], weights: Float[np.ndarray, "draw question"]
) -> tuple[Float[np.ndarray, " step"], Float[np.ndarray, " step"]]:
    """Return the question bootstrap of accuracies, joined with Wilson's interval."""
    low, high = interval(curve_draws(weights, hits))
    least, most = wilson(hits.mean(axis=1), hits.shape[1])
    return np.minimum(low, least), np.maximum(high, most)


def is_accuracy(series: Series) -> bool:
    """Say whether a series is a share of questions that are right."""
    return series.kind == "accuracy" and series.unit.startswith("share")


def band_of(
    series: Series, weights: Float[np.ndarray, "draw question"]
) -> tuple[Float[np.ndarray, " step"], Float[np.ndarray, " step"]] | None:
    """Return the interval that is shown of a series, None without questions."""
    if series.per_question is None or not is_accuracy(series):
        return series_interval(series, weights)
    return accuracy_band(series.per_question, weights)


def band_name(series: Series) -> str:
    """Name the interval of `band_of`."""
    return JOINED if is_accuracy(series) else BOOTSTRAP
