"""How much of a change happens while accuracy jumps, and how much in windows of equal length."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inference.bootstrap import interval
from critical_phase.analysis.jumps.series_change import SeriesChange
from critical_phase.analysis.results import column

COLUMNS = [
    column("window", "checkpoints around the jump", "steps", kind="text"),
    column("across", "change across the jump"),
    column("across_interval", "interval"),
    column("elsewhere", "largest in windows as long elsewhere"),
]
"""Columns of a table that shows `Across`."""


@dataclass(frozen=True, slots=True)
class Window:
    """The checkpoints right before and right after the jump of accuracy."""

    before: int
    """Place of the last checkpoint before it."""
    after: int
    """Place of the first one after it."""
    text: str
    """Their steps."""


@dataclass(frozen=True, slots=True)
class Across:
    """The change of one quantity between two checkpoints around the jump."""

    window: str
    change: float
    interval: tuple[float, float]
    """95 % question bootstrap."""
    elsewhere: float | None
    """Largest change, by size, over as many checkpoints on one side of the jump.

    None where neither side is that long.
    """

    @property
    def cells(self) -> list[object]:
        """Return the cells under `COLUMNS`."""
        return [self.window, self.change, list(self.interval), self.elsewhere]


def window_of(steps: Int[np.ndarray, " step"], jump: SeriesChange | None) -> Window | None:
    """Find the checkpoints around a jump: its 10-90 width, and the interval of its middle.

    Args:
        steps: Steps in increasing order.
        jump: The accuracy jump, if there is one.

    Returns:
        None without a jump, or where no checkpoint lies on one side of it.
    """
    if jump is None:
        return None
    begin = min(jump.tau - jump.width / 2, jump.interval[0])
    end = max(jump.tau + jump.width / 2, jump.interval[1])
    before = int(np.searchsorted(steps, begin, side="right")) - 1
    after = int(np.searchsorted(steps, end, side="left"))
    if before < 0 or after >= steps.size:
        return None
    after = max(after, before + 1)  # a jump that lies on a checkpoint
    if after >= steps.size:
        return None
    return Window(before, after, f"{int(steps[before])} to {int(steps[after])}")


def across(
    values: Float[np.ndarray, "step question"],
    window: Window | None,
    weights: Float[np.ndarray, "draw question"],
) -> Across | None:
    """Measure a mean over questions across the jump, and in windows of equal length beside it."""
    if window is None:
        return None
    moved = values[window.after] - values[window.before]
    low, high = interval(weights @ moved)
    mean, length = values.mean(axis=1), window.after - window.before
    others = [
        float(mean[start + length] - mean[start])
        for start in range(len(mean) - length)
        if start + length <= window.before or start >= window.after
    ]
    most = max(others, key=abs) if others else None
    return Across(window.text, float(moved.mean()), (float(low), float(high)), most)
