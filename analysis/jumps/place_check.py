"""Two ways to place a change, side by side: bootstrap of a sigmoid, exact posterior of a step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from critical_phase.analysis.jumps.posterior import FEWEST_PER_SIDE, step_posterior
from critical_phase.analysis.jumps.series_change import SeriesChange
from critical_phase.analysis.results import Table, column
from critical_phase.analysis.series import Series


@dataclass(frozen=True, slots=True)
class PlaceCheck:
    """The posterior of one step in a series, read in steps."""

    quantity: str
    mode: float
    """Most probable place: the middle of the gap between two checkpoints, in steps."""
    interval: tuple[float, float]
    """Checkpoints around all places of the 95 % set."""
    mass: float
    """Posterior probability of the gap at the mode."""
    agrees: bool | None
    """Does the set touch the bootstrap interval of tau? None where no abrupt change is placed."""


def place_checks(changes: Mapping[str, SeriesChange], names: Sequence[str]) -> list[PlaceCheck]:
    """Place one step in each of these series, and compare with the bootstrap.

    The series is divided by its range, so that its unit does not matter to the prior.

    Args:
        changes: Changes by quantity.
        names: Quantities to check; those without a change, or constant ones, are left out.
    """
    found = [changes[name] for name in names if name in changes]
    return [
        _check(change)
        for change in found
        if change.series.steps.size >= 2 * FEWEST_PER_SIDE and np.ptp(change.series.value) > 0
    ]


def _check(change: SeriesChange) -> PlaceCheck:
    """Read the posterior of one series in steps."""
    series: Series = change.series
    time = series.steps.astype(np.float64)
    posterior = step_posterior(series.value / float(np.ptp(series.value)))
    at, likely = posterior.mode, posterior.likely
    low, high = float(time[likely[0] - 1]), float(time[likely[-1]])
    agrees = None
    if change.test.found and change.placed:
        agrees = low <= change.interval[1] and change.interval[0] <= high
    middle = float(time[at - 1] + time[at]) / 2
    return PlaceCheck(series.quantity, middle, (low, high), posterior.mass_at_mode, agrees)


def disagreements(checks: Sequence[PlaceCheck], changes: Mapping[str, SeriesChange]) -> list[str]:
    """Say which changes the two ways put in places whose intervals do not touch."""
    return [
        f"{c.quantity}: one step would lie between steps {c.interval[0]:g} and {c.interval[1]:g}"
        f" (exact posterior), the bootstrap puts the change between"
        f" {changes[c.quantity].interval[0]:.3g} and {changes[c.quantity].interval[1]:.3g}; a curve"
        " that also moves before or after its fastest part is no single step"
        for c in checks
        if c.agrees is False
    ]


def place_table(checks: Sequence[PlaceCheck], changes: Mapping[str, SeriesChange]) -> Table:
    """List posterior and bootstrap of each series."""
    rows = []
    for c in checks:
        change = changes[c.quantity]
        word = {None: "no abrupt change to compare with", True: "yes", False: "no"}[c.agrees]
        rows.append(
            [c.quantity, c.mode, *c.interval, c.mass, change.tau, *change.interval, word,
             change.resolution]
        )  # fmt: skip
    columns = [
        column("quantity", "quantity", kind="text"),
        column("mode", "most probable place", "step"),
        column("low", "95 % set, from", "step"),
        column("high", "to", "step"),
        column("mass", "probability of that gap"),
        column("tau_step", "tau of the bootstrap", "step"),
        column("tau_low", "low", "step"),
        column("tau_high", "high", "step"),
        column("agrees", "do they meet", kind="text"),
        column("resolution", "gap between checkpoints", "steps"),
    ]
    caption = (
        "Exact posterior of the place of one step between two levels, all gaps between checkpoints"
        " equally likely beforehand. It takes for granted that there is a step and that the noise"
        " of checkpoints is independent: on a slope it is confident of the middle, so it says"
        " where, never whether. Neither interval is finer than the gap between checkpoints."
    )
    return Table("posterior", "Exact posterior of the place", caption, columns, rows)
