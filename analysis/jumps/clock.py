"""Other clocks than steps: examples, summed learning rate, path of the weights, distance to base.

A clock gives a time to every checkpoint of a mode. The time of a mode of two heads is the mean
over its heads for examples and learning rates, the sum for path length and distance.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from critical_phase.analysis.inputs import RunArrays
from critical_phase.analysis.scores.curves import NEEDS
from critical_phase.analysis.scores.effect_lines import stored
from critical_phase.analysis.updates.lora_geometry import step_lengths

HeadTimes = tuple[Int[np.ndarray, " known"], Float[np.ndarray, " known"]]
"""Steps of one head, increasing, and the time at each."""

PROPORTIONAL = 1e-6
"""Largest distance to a straight line, as a share of the clock's range, of the clock of steps."""


@dataclass(frozen=True, slots=True)
class Clock:
    """One way to measure time over the checkpoints of a mode."""

    name: str
    unit: str
    steps: Int[np.ndarray, " step"]
    """Checkpoints at which the clock is ahead of everything before; the others have no time."""
    time: Float[np.ndarray, " step"]
    """Increasing."""
    left_out: int
    """Checkpoints at which it stood still, went back, or was not measured."""

    @property
    def proportional(self) -> bool:
        """Say whether it runs evenly in steps, so that nothing can differ from steps."""
        line = np.interp(self.steps, self.steps[[0, -1]], self.time[[0, -1]])
        gap = float(np.max(np.abs(self.time - line)))
        return not self.left_out and gap <= PROPORTIONAL * float(np.ptp(self.time))

    def step_at(self, time: float) -> float:
        """Read the step at a time between checkpoints."""
        return float(np.interp(time, self.time, self.steps))


def path_length(
    arrays: RunArrays, head: str
) -> tuple[Int[np.ndarray, " step"], Float[np.ndarray, " step"]] | None:
    """Return steps and the summed length of weight updates up to each, None if not stored."""
    steps, adapters = np.asarray(arrays.steps(head)), arrays.adapters(head)
    if len(adapters) != steps.size or not adapters:
        return None
    order = np.argsort(steps, kind="stable")
    lengths = step_lengths([adapters[i] for i in order])
    return steps[order], np.concatenate(([0.0], np.cumsum(lengths)))


Paths = Mapping[str, HeadTimes | None]
"""Path length by head, None where adapters are not stored."""


def path_clock(
    paths: Paths, mode: str, steps: Int[np.ndarray, " step"]
) -> Float[np.ndarray, " step"] | None:
    """Return the path length of a mode's heads at the given steps, summed over heads."""
    total = np.zeros(steps.size)
    for head in NEEDS[mode]:
        path = paths.get(head)
        if path is None or not np.isin(steps, path[0]).all():
            return None
        total += path[1][np.searchsorted(path[0], steps)]
    return total if np.all(np.diff(total) > 0) else None


def examples_seen(arrays: RunArrays, head: str) -> HeadTimes | None:
    """Return the answers that a head was trained on up to each logged step."""
    return _logged(arrays, head, "examples", lambda column: column)


def summed_rate(arrays: RunArrays, head: str) -> HeadTimes | None:
    """Return the learning rates added up to each logged step."""
    return _logged(arrays, head, "lr", np.cumsum)


def distance_to_base(arrays: RunArrays, head: str) -> HeadTimes | None:
    """Return the divergence from the base per token of neutral text, else of the answers."""
    steps, found = stored(arrays, head, "kl_text", "tokens_text")
    if found:
        tokens = found["tokens_text"]
        return steps, (found["kl_text"] * tokens).sum(axis=1) / tokens.sum(axis=1)
    steps, found = stored(arrays, head, "kl_question")
    return (steps, found["kl_question"].mean(axis=1)) if found else None


CLOCKS: dict[str, tuple[str, Callable[[RunArrays, str], HeadTimes | None], bool, str]] = {
    "examples": ("answers", examples_seen, True, "a training log with every step"),
    "summed learning rate": ("lr", summed_rate, True, "a training log with every step"),
    "path length": ("norm of dW", path_length, False, "low-rank adapters at every step"),
    "KL from base": ("nats", distance_to_base, False, "probe effects RUN --text FILE"),
}
"""Clocks beside steps: unit, time of one head, mean (not sum) over heads, and what it needs."""


def clocks_of(
    arrays: RunArrays, mode: str, steps: Int[np.ndarray, " step"], paths: Paths | None = None
) -> dict[str, Clock]:
    """Return every clock that is stored for a mode, by name; steps are the first.

    Args:
        arrays: The run.
        mode: How heads are combined; all its heads need the clock.
        steps: Checkpoints to give a time to, increasing.
        paths: Path lengths that are known; read from the run where left out.

    Returns:
        Clocks with at least two checkpoints. Checkpoints that a clock does not move past are
        left out of it and counted: no time lies between them and the one before.
    """
    found = {"steps": Clock("steps", "steps", steps, steps.astype(np.float64), 0)}
    for name, (unit, of_head, mean, _) in CLOCKS.items():
        known = paths if of_head is path_length else None
        heads = [
            of_head(arrays, head) if known is None else known.get(head) for head in NEEDS[mode]
        ]
        times = [_at(steps, one) for one in heads if one is not None]
        if len(times) < len(heads):
            continue
        total = np.sum(times, axis=0) / (len(times) if mean else 1)
        ahead = _ahead(total)
        if np.count_nonzero(ahead) > 1:
            left = int(steps.size - np.count_nonzero(ahead))
            found[name] = Clock(name, unit, steps[ahead], total[ahead], left)
    return found


def _logged(
    arrays: RunArrays,
    head: str,
    column: str,
    total: Callable[[np.ndarray], np.ndarray],
) -> HeadTimes | None:
    """Return a column of the training log up to each step, with step 0; None with gaps."""
    log = arrays.training_log(head)
    if "step" not in log or column not in log or not len(log["step"]):
        return None
    order = np.argsort(log["step"], kind="stable")
    steps, values = np.asarray(log["step"])[order], np.asarray(log[column], np.float64)[order]
    if not np.array_equal(steps, np.arange(1, steps.size + 1)) or not np.isfinite(values).all():
        return None
    start = np.zeros(1)
    return np.concatenate((start.astype(np.int64), steps)), np.concatenate((start, total(values)))


def _at(steps: Int[np.ndarray, " step"], known: HeadTimes) -> Float[np.ndarray, " step"]:
    """Look times up, NaN where none is known."""
    at = np.clip(np.searchsorted(known[0], steps), 0, known[0].size - 1)
    return np.where(known[0][at] == steps, known[1][at], np.nan)


def _ahead(time: Float[np.ndarray, " step"]) -> Bool[np.ndarray, " step"]:
    """Mark the points that lie beyond every earlier one."""
    known = np.where(np.isfinite(time), time, -np.inf)
    before = np.concatenate(([-np.inf], np.maximum.accumulate(known)[:-1]))
    return np.asarray(known > before)
