"""Correlations of per-question numbers, alone and with a third number held fixed.

Ranks are used throughout: one odd question cannot carry a correlation, and any monotone
relation to what is held fixed is taken out.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata


@dataclass(frozen=True, slots=True)
class Correlation:
    """A rank correlation over questions with its interval and its control."""

    value: float
    """Between -1 and 1; NaN where a number is the same for all questions."""
    interval: tuple[float, float]
    """95 % question bootstrap of the correlation of the same ranks."""
    null: Float[np.ndarray, " permutation"]
    """The same correlation with one number permuted over questions."""

    @property
    def p(self) -> float:
        """Return the two-sided permutation p."""
        return family_p([self])[0]


def family_p(family: list[Correlation]) -> list[float]:
    """Return p-values over a family: against the largest of all under each permutation (max-T).

    The members must have been permuted alike, with generators that started alike.
    """
    known = [one for one in family if np.isfinite(one.value)]
    if not known:
        return [float("nan")] * len(family)
    most = np.max([np.abs(one.null) for one in known], axis=0)
    return [
        float((1 + (most >= abs(one.value) - 1e-12).sum()) / (1 + most.size))
        if np.isfinite(one.value)
        else float("nan")
        for one in family
    ]


def rank_correlation(
    x: Float[np.ndarray, " question"],
    y: Float[np.ndarray, " question"],
    weights: Float[np.ndarray, "draw question"],
    rng: np.random.Generator,
    *,
    fixed: Float[np.ndarray, " question"] | None = None,
    permutations: int = 200,
) -> Correlation:
    """Correlate two numbers over questions, with a third held fixed if one is given.

    With `fixed`, both are replaced by what a straight line through the ranks of `fixed` leaves;
    the permutation then shuffles what is left of `y` (Freedman and Lane 1983), so that the
    relation of both to `fixed` stays.

    Args:
        x: One number per question.
        y: Another.
        weights: How often each draw takes each question.
        rng: Source of the permutations.
        fixed: What is held fixed, such as difficulty.
        permutations: Number of permutations.
    """
    columns = [rankdata(one) for one in ((x, y) if fixed is None else (x, y, fixed))]
    ranks = np.stack([one - one.mean() for one in columns])
    equal = np.full((1, x.size), 1 / x.size)
    value = float(_partial(ranks, equal)[0])
    draws = _partial(ranks, weights)
    draws = draws[np.isfinite(draws)]
    low, high = np.quantile(draws, [0.025, 0.975]) if draws.size else (np.nan, np.nan)
    one, two = (_left(row, ranks[2]) if fixed is not None else row for row in ranks[:2])
    shuffled = np.stack([rng.permutation(two) for _ in range(permutations)])
    if fixed is not None:
        shuffled = np.stack([_left(row, ranks[2]) for row in shuffled])
    size = np.sqrt((one**2).sum() * (shuffled**2).sum(axis=1))
    null = np.divide(shuffled @ one, size, out=np.zeros(permutations), where=size > 1e-9)
    return Correlation(value, (float(low), float(high)), null)


def _left(
    row: Float[np.ndarray, " question"], fixed: Float[np.ndarray, " question"]
) -> Float[np.ndarray, " question"]:
    """Return what a line through centred `fixed` leaves of a centred row."""
    size = float((fixed**2).sum())
    return row if size <= 0 else np.asarray(row - fixed * float(row @ fixed) / size)


def _partial(
    ranks: Float[np.ndarray, "number question"], weights: Float[np.ndarray, "draw question"]
) -> Float[np.ndarray, " draw"]:
    """Return the (partial) correlation under weights, from weighted covariances."""
    total = weights.sum(axis=1)
    means = weights @ ranks.T / total[:, None]
    products = np.stack([weights @ (a * ranks).T for a in ranks], axis=1) / total[:, None, None]
    covariance = products - means[:, :, None] * means[:, None, :]
    if len(ranks) == 3:
        last = covariance[:, 2, 2]
        safe = np.where(last > 1e-9, last, np.inf)
        covariance = covariance - (
            covariance[:, :, 2:] * covariance[:, 2:, :] / safe[:, None, None]
        )
    size = np.sqrt(np.maximum(covariance[:, 0, 0] * covariance[:, 1, 1], 0.0))
    unknown = np.full(total.size, np.nan)
    return np.asarray(np.divide(covariance[:, 0, 1], size, out=unknown, where=size > 1e-9))
