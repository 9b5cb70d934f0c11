"""What the movement of one layer at one checkpoint is made of."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import RunArrays, question_count
from critical_phase.analysis.probing.direction import mean_along, row_cosine
from critical_phase.analysis.states.activations import (
    base_states,
    sorted_steps,
    spread_steps,
    state_at,
)
from critical_phase.analysis.states.cka import block_cka, block_features
from critical_phase.analysis.states.displacement import constant_shift
from critical_phase.analysis.states.displacement_parts import PARTS, displacement_parts, label_sums
from critical_phase.analysis.states.path_share import halves, random_change
from critical_phase.analysis.states.row_subset import some_questions
from critical_phase.analysis.states.spectrum import Spectrum, spectrum

MOST_STEPS = 17
"""Checkpoints of every map of this measure."""

SPECTRUM_ROWS = 1000
"""Rows of a spectrum, where there are more rows and more dimensions than this."""


@dataclass(frozen=True, slots=True)
class Movement:
    """The parts of one layer's movement over some checkpoints."""

    head: str
    layer: int
    steps: Int[np.ndarray, " step"]
    parts: Float[np.ndarray, "part step question"]
    """Pseudo-values of the shares, in the order of `displacement_parts.PARTS`."""
    to_last: Float[np.ndarray, "step question"]
    """Cosine of each row's change with its change at the last step."""
    dimensions: Float[np.ndarray, " step"]
    """Participation ratio of centred changes."""
    last: "Last | None"
    """More about the last step, None where nothing moved."""


@dataclass(frozen=True, slots=True)
class Last:
    """The last step, beside what random changes of equal norm give."""

    spectrum: Spectrum
    random: Spectrum
    along: tuple[float, Float[np.ndarray, " question"]]
    """Right-minus-wrong change along the base's own right-minus-wrong direction."""
    half_cosine: float
    """Cosine of the mean change of two disjoint halves of the questions."""
    cka: float
    random_cka: float
    """CKA within questions that random directions per row leave."""
    random_phi: float
    common_cka: float
    """The same for one random direction for all rows, each row moved by its own amount."""
    common_phi: float


def movement_of(arrays: RunArrays, head: str, layer: int, seed: int) -> Movement:
    """Measure the movement of a layer at evenly spread checkpoints, the last one first.

    Args:
        arrays: The run.
        head: Trained head.
        layer: Residual layer.
        seed: Start of the random controls.
    """
    rows, (_, every) = arrays.rows, sorted_steps(arrays, head)
    steps = spread_steps(every[every > 0], MOST_STEPS)
    base = base_states(arrays, layer)
    count, width = question_count(rows), base.shape[1]
    shape = (steps.size, count)
    parts, cosines = np.full((len(PARTS), *shape), np.nan), np.full(shape, np.nan)
    dimensions = np.full(steps.size, np.nan)
    _, kept = some_questions(rows, _spectrum_rows(rows.question.size, width))
    end = np.zeros_like(base)
    for t in reversed(range(steps.size)):
        change = state_at(arrays, head, layer, int(steps[t])) - base
        end = change if t == steps.size - 1 else end
        parts[:, t] = displacement_parts(rows, change).pseudo
        cosines[t] = row_cosine(rows, change, end)
        dimensions[t] = spectrum(change[kept]).participation
    last = _last(arrays, base, end, kept, seed) if end.any() else None
    return Movement(head, layer, steps, parts, cosines, dimensions, last)


def _spectrum_rows(rows: int, width: int) -> int:
    """Take all rows unless neither side of the table is small."""
    return SPECTRUM_ROWS if min(rows, width) > SPECTRUM_ROWS else rows


def _last(
    arrays: RunArrays,
    base: Float[np.ndarray, "row d"],
    change: Float[np.ndarray, "row d"],
    kept: Int[np.ndarray, " _kept"],
    seed: int,
) -> Last:
    """Describe the last change and its controls."""
    rows, rng = arrays.rows, np.random.default_rng([seed, 32])
    first, second = halves(rows.question, rng)
    apart, common = random_change(change, rng), random_change(change, rng, common=True)
    origin = block_features(rows, base)
    ckas = [block_cka(origin, block_features(rows, base + c))[0] for c in (change, apart, common)]
    means = (change[half.chosen[rows.question]].mean(axis=0) for half in (first, second))
    return Last(
        spectrum(change[kept]),
        spectrum(apart[kept]),
        mean_along(label_sums(rows, change), label_sums(rows, base)),
        _cosine(*means),
        ckas[0],
        ckas[1],
        constant_shift(rows, apart)[0],
        ckas[2],
        constant_shift(rows, common)[0],
    )


def _cosine(one: Float[np.ndarray, " d"], two: Float[np.ndarray, " d"]) -> float:
    """Return the plain cosine, NaN for a zero vector."""
    size = float(np.linalg.norm(one) * np.linalg.norm(two))
    return float(one @ two) / size if size > 0 else float("nan")
