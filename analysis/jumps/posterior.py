"""Where one step would sit: its exact posterior, given that there is exactly one.

Two levels, one unknown noise variance on each side, independent noise; the levels and
variances are integrated out (normal-inverse-gamma), so nothing is sampled.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaln, logsumexp

from critical_phase.errors import FitError

PRECISION, SHAPE, RATE = 0.01, 1.0, 0.01
"""Prior: mean ~ N(0, variance / PRECISION), variance ~ inverse gamma(SHAPE, RATE)."""

FEWEST_PER_SIDE = 2
"""Checkpoints that either level needs."""

MASS = 0.95
"""Least posterior mass of the set that is reported."""


@dataclass(frozen=True, slots=True)
class StepPosterior:
    """Probability of every place of one step in a series of n points."""

    before: Int[np.ndarray, " place"]
    """Points before the step: k says that it lies between points k - 1 and k, from 0."""
    probability: Float[np.ndarray, " place"]
    """Sums to one."""

    @property
    def mode(self) -> int:
        """Return the most probable number of points before the step."""
        return int(self.before[np.argmax(self.probability)])

    @property
    def mass_at_mode(self) -> float:
        """Return the probability of that place."""
        return float(self.probability.max())

    @property
    def likely(self) -> Int[np.ndarray, " likely"]:
        """Return the fewest places that hold 95 % of the probability, in order."""
        order = np.argsort(-self.probability, kind="stable")
        count = int(np.searchsorted(np.cumsum(self.probability[order]), MASS)) + 1
        return np.sort(self.before[order[:count]])


def step_posterior(value: Float[np.ndarray, " step"]) -> StepPosterior:
    """Return p(place | series) for one step between two levels, all places equal beforehand.

    The prior is on the scale of the series (a noise of about a tenth of a unit): divide a
    series by its range where its unit should not matter.

    Args:
        value: The series, in order; its mean is taken out.

    Returns:
        The posterior of the number of points before the step.

    Raises:
        FitError: There are too few points for two levels, or one is not a number.

    Reference:
        p(k | y) is proportional to ML(y[:k]) ML(y[k:]), ML the normal-inverse-gamma marginal
        likelihood; Murphy (2007), conjugate Bayesian analysis of the Gaussian, equation 95.
    """
    count = value.size
    if count < 2 * FEWEST_PER_SIDE or not np.isfinite(value).all():
        raise FitError(
            f"a step between two levels needs at least {2 * FEWEST_PER_SIDE} numbers, found"
            f" {int(np.isfinite(value).sum())} of {count}",
            where="step_posterior",
        )
    centred = np.asarray(value, dtype=np.float64) - float(np.mean(value))
    before = np.arange(FEWEST_PER_SIDE, count - FEWEST_PER_SIDE + 1)
    weight = np.array([_marginal(centred[:k]) + _marginal(centred[k:]) for k in before])
    return StepPosterior(before, np.exp(weight - logsumexp(weight)))


def _marginal(part: Float[np.ndarray, " part"]) -> float:
    """Return the log marginal likelihood of one side, without its constant (2 pi)^(-n/2)."""
    count, mean = part.size, float(part.mean())
    precision, shape = PRECISION + count, SHAPE + count / 2
    squares = float(((part - mean) ** 2).sum())
    rate = RATE + (squares + PRECISION * count * mean**2 / precision) / 2
    return float(
        gammaln(shape)
        - gammaln(SHAPE)
        + SHAPE * np.log(RATE)
        - shape * np.log(rate)
        + (np.log(PRECISION) - np.log(precision)) / 2
    )
