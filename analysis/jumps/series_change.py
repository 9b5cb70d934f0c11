"""The change of one series: tested for abruptness, located on the shared bootstrap draws."""

from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cholesky

from critical_phase.analysis.inference.bootstrap import curve_draws, interval
from critical_phase.analysis.jumps.change_point import (
    FEWEST,
    LEAST_SHARE,
    MOST_SHARE,
    Abruptness,
    AbruptTest,
)
from critical_phase.analysis.jumps.location import Places, change_kind, near_shapes, wide_places
from critical_phase.analysis.jumps.noise_model import (
    crossed,
    curve_covariance,
    training_covariance,
    training_noise,
)
from critical_phase.analysis.jumps.resolution import bracket, spacing
from critical_phase.analysis.jumps.templates import ABRUPT_SHARE
from critical_phase.analysis.series import Series, spread_evenly
from critical_phase.analysis.settings import AnalysisSettings

QUESTIONS = "95 % question bootstrap plus training noise; one training run"
TRAINING = "95 % training noise; no variation over questions; one training run"
UNPLACED = "not placed: where the test looked; no interval"


@dataclass(frozen=True, slots=True)
class SeriesChange:
    """One change in one series."""

    series: Series
    test: Abruptness
    tau: float
    """Middle of the change, in steps."""
    interval: tuple[float, float]
    """Interval of tau, in steps."""
    interval_kind: str
    """What the interval is."""
    width: float
    """10-90 width, in steps."""
    before: float
    after: float
    size_interval: tuple[float, float] | None
    """Interval of after minus before."""
    kind: str
    """`step` or `ramp`, how long the change takes."""
    draws: Float[np.ndarray, " draw"] | None
    """tau on every draw of questions (shared) and training noise; None where not placed."""
    width_at_limit: bool = False
    """Is the width the widest that was tried, so that the change may take longer?"""
    placed: bool = True
    """False where the tested change could not be located where it was tested."""

    @property
    def size(self) -> float:
        """Return after minus before."""
        return self.after - self.before

    @property
    def resolution(self) -> float:
        """Return the gap between the checkpoints around tau, in steps; no interval is finer."""
        return spacing(self.series.steps, self.tau)

    @property
    def width_text(self) -> str:
        """Write the width, with a sign where it is only a lower limit."""
        return f">= {self.width:.3g}" if self.width_at_limit else f"{self.width:.3g}"


class ChangeFinder:
    """Tests and locates changes; series with the same steps share all preparation."""

    def __init__(
        self, weights: Float[np.ndarray, "draw question"], settings: AnalysisSettings
    ) -> None:
        """Keep the question resamples that all series share."""
        self.weights, self.settings = weights, settings
        self._tests: dict[tuple[float, ...], AbruptTest] = {}
        self._places: dict[tuple[float, ...], Places] = {}

    def test(
        self,
        series: Series,
        clock: Float[np.ndarray, " step"] | None = None,
        *,
        curves: int = 0,
    ) -> Abruptness:
        """Test one series on its steps or on another clock, with up to so many curves."""
        time = np.asarray(series.steps if clock is None else clock, dtype=np.float64)
        return self.prepared(time).run(series.value, series.per_question, curves=curves)

    def prepared(self, time: Float[np.ndarray, " step"]) -> AbruptTest:
        """Return the test that all series with this time share."""
        key = tuple(time.tolist())
        if key not in self._tests:
            rng = np.random.default_rng([self.settings.seed, 3])
            self._tests[key] = AbruptTest(time, self.settings.smooth_draws, rng)
        return self._tests[key]

    def refine(self, change: SeriesChange, curves: int) -> SeriesChange:
        """Simulate more curves for a change whose p-value is as small as it can get."""
        return replace(change, test=self.test(change.series, curves=curves))

    def find(self, series: Series, margins: Series | None = None) -> SeriesChange | None:
        """Test and locate the change of one series, None with too few checkpoints.

        Args:
            series: The series.
            margins: Of an accuracy, the margins that it counts: the wander of training is then
                read from them and shared with their own draws.
        """
        if series.steps.size < FEWEST:
            return None
        test = self.test(series)
        time = series.steps.astype(np.float64)
        if not test.found:
            return self._describe(series, test, self._wide(time), margins)
        grid, window = _near(series, time, test)
        change = self._describe(series, test, grid, margins)
        edge = not window[0] < change.tau < window[1]
        size = float(grid.locate(series.value[None]).size[0])
        share = abs(size) / float(np.ptp(series.value))
        if not edge and LEAST_SHARE <= share <= MOST_SHARE and size * test.sign > 0:
            return change
        return _unplaced(change, time)

    def _describe(
        self, series: Series, test: Abruptness, grid: Places, margins: Series | None
    ) -> SeriesChange:
        """Locate a change on the curve and on every draw."""
        time = series.steps.astype(np.float64)
        point = grid.locate(series.value[None])
        tau, width = float(point.tau[0]), float(point.width[0])
        lowest, highest = float(series.value.min()), float(series.value.max())
        before, after = (float(np.clip(v[0], lowest, highest)) for v in (point.before, point.after))
        found = grid.locate(self._draws(series, margins))
        name = TRAINING if series.per_question is None else QUESTIONS
        low, high = (float(v) for v in interval(found.tau))
        near = bracket(time, tau)
        band = (min(low, tau, near[0]), max(high, tau, near[1]))
        ends = interval(found.after - found.before)
        return SeriesChange(
            series, test, tau, band, name, width, before, after,
            (float(ends[0]), float(ends[1])), change_kind(width, time), found.tau,
            width_at_limit=width >= float(grid.shapes.width.max()),
        )  # fmt: skip

    def _draws(self, series: Series, margins: Series | None) -> Float[np.ndarray, "draw step"]:
        """Draw the curve on resampled questions with the wander of other trainings."""
        drawn = self._wander(series)
        if series.per_question is None:
            drawn += series.value
            return drawn
        drawn += curve_draws(self.weights, series.per_question)
        if margins is not None and margins.per_question is not None:
            even = spread_evenly(_at(margins, series.steps))
            assert even.per_question is not None
            drawn += crossed(self.weights, even.per_question, self._wander(even))
        return drawn

    def _wander(self, series: Series) -> Float[np.ndarray, "draw step"]:
        """Draw the wander of training; the same draws whenever the same series is asked for."""
        name = f"{series.quantity} {series.layer} {series.attention_head}"
        rng = np.random.default_rng([self.settings.seed, 5, crc32(name.encode())])
        time = series.steps.astype(np.float64)
        training = training_covariance(series.value, time, series.per_question)
        return training_noise(training, len(self.weights), rng)

    def _wide(self, time: Float[np.ndarray, " step"]) -> Places:
        """Return sigmoids of every place and width, for curves without an abrupt change."""
        key = tuple(time.tolist())
        if key not in self._places:
            self._places[key] = wide_places(time)
        return self._places[key]


def _at(series: Series, steps: Int[np.ndarray, " step"]) -> Series:
    """Keep some steps of a series with questions."""
    assert series.per_question is not None
    kept = np.isin(series.steps, steps)
    return replace(
        series, steps=series.steps[kept], value=series.value[kept],
        per_question=series.per_question[kept],
    )  # fmt: skip


def _unplaced(change: SeriesChange, time: Float[np.ndarray, " step"]) -> SeriesChange:
    """Say only where the test looked: the levels are the curve's own on either side."""
    test, value = change.test, change.series.value
    low, high = bracket(time, test.tau)
    band = (min(low, test.tau - test.width / 2), max(high, test.tau + test.width / 2))
    before, after = (float(v) for v in np.interp(band, time, value))
    widest = ABRUPT_SHARE * float(time[-1] - time[0])
    return replace(
        change, tau=test.tau, width=test.width, interval=band, interval_kind=UNPLACED,
        before=before, after=after, size_interval=None, draws=None, placed=False,
        kind=change_kind(test.width, time), width_at_limit=test.width >= widest * (1 - 1e-9),
    )  # fmt: skip


def _near(
    series: Series, time: Float[np.ndarray, " step"], test: Abruptness
) -> tuple[Places, tuple[float, float]]:
    """Return the places around the tested change, weighted by the noise as in the test.

    The ground is sloping where that is worth its degree of freedom (BIC), else level.
    """
    shapes, window = near_shapes(time, test.tau, test.width)
    covariance = curve_covariance(series.value, time, series.per_question)
    lower = cholesky(covariance, lower=True)
    level, sloping = (Places(time, shapes, degree=d, lower=lower) for d in (0, 1))
    flat, sloped = (max(place.residual(series.value), 1e-300) for place in (level, sloping))
    ratio = flat / sloped  # rounding may leave a sum of squares just below zero
    return (sloping if time.size * np.log(ratio) > np.log(time.size) else level), window
