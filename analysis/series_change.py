"""The change of one series: tested for abruptness, located on the shared bootstrap draws."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .bootstrap import curve_draws, interval
from .change_point import FEWEST, Abruptness, AbruptTest
from .location import Places, change_kind, narrow_places, wide_places
from .series import Series
from .settings import AnalysisSettings
from .templates import ABRUPT_SHARE

QUESTIONS = "95 % question bootstrap"
SPACING = "neighbouring checkpoints; no variation over questions"


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
    """tau on every draw of the question bootstrap."""

    @property
    def size(self) -> float:
        """Return after minus before."""
        return self.after - self.before


class ChangeFinder:
    """Tests and locates changes; series with the same steps share all preparation."""

    def __init__(
        self, weights: Float[np.ndarray, "draw question"], settings: AnalysisSettings
    ) -> None:
        """Keep the question resamples that all series share."""
        self.weights, self.settings = weights, settings
        self._tests: dict[tuple[float, ...], AbruptTest] = {}
        self._places: dict[tuple[float, ...], tuple[Places, Places]] = {}

    def test(self, series: Series, clock: Float[np.ndarray, " step"] | None = None) -> Abruptness:
        """Test one series on its steps or on another clock."""
        time = np.asarray(series.steps if clock is None else clock, dtype=np.float64)
        key = tuple(time.tolist())
        if key not in self._tests:
            rng = np.random.default_rng([self.settings.seed, 3])
            self._tests[key] = AbruptTest(time, self.settings.smooth_draws, rng)
        return self._tests[key].run(series.value, series.per_question)

    def find(self, series: Series) -> SeriesChange | None:
        """Test and locate the change of one series, None with too few checkpoints."""
        if series.steps.size < FEWEST:
            return None
        test = self.test(series)
        time = series.steps.astype(np.float64)
        grid = self._grid(time, series.value, test)
        point = grid.locate(series.value[None])
        tau, width = float(point.tau[0]), float(point.width[0])
        lowest, highest = float(series.value.min()), float(series.value.max())
        before, after = (float(np.clip(v[0], lowest, highest)) for v in (point.before, point.after))
        band, sizes, draws, name = _bracket(time, tau), None, None, SPACING
        if series.per_question is not None:
            found = grid.locate(curve_draws(self.weights, series.per_question))
            draws, name = found.tau, QUESTIONS
            low, high = (float(v) for v in interval(draws))
            band = (min(low, tau, band[0]), max(high, tau, band[1]))
            ends = interval(found.after - found.before)
            sizes = (float(ends[0]), float(ends[1]))
        kind = change_kind(width, time)
        return SeriesChange(series, test, tau, band, name, width, before, after, sizes, kind, draws)

    def _grid(
        self, time: Float[np.ndarray, " step"], value: Float[np.ndarray, " step"], test: Abruptness
    ) -> Places:
        """Choose a level ground, or a sloping one where an abrupt change rides on a drift."""
        key = tuple(time.tolist())
        if key not in self._places:
            self._places[key] = (wide_places(time), narrow_places(time))
        wide, narrow = self._places[key]
        if not test.found:
            return wide
        width = float(wide.locate(value[None]).width[0])
        return wide if width <= 1.2 * ABRUPT_SHARE * float(time[-1] - time[0]) else narrow


def _bracket(time: Float[np.ndarray, " step"], tau: float) -> tuple[float, float]:
    """Return the checkpoints on either side of a place."""
    after = int(np.clip(np.searchsorted(time, tau, side="right"), 1, time.size - 1))
    before = after - 1 if time[after - 1] < tau or after == 1 else after - 2
    return float(time[before]), float(time[after])
