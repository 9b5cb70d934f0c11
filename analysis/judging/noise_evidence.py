"""What a second scoring says about H0b: does noise hide a change that is there from the start?"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inference.bootstrap import interval
from critical_phase.analysis.judging.thresholds import EQUAL
from critical_phase.analysis.scores.second_scoring import LEVELS, SecondScoring
from critical_phase.analysis.scores.second_scoring_views import Twice
from critical_phase.analysis.series import Series

MISSING = (
    "a scoring in a finer type, where noise would hide nothing, is missing"
    " (probe collect RUN --contexts again-float64)"
)

BEFORE = 2
"""Checkpoints scored twice before the jump that are needed to say anything about it."""


@dataclass(frozen=True, slots=True)
class NoiseEvidence:
    """Prediction and kill test of H0b at one jump."""

    predicted: bool
    """Signal over noise first rises above 1 where accuracy jumps, and a scoring of a finer
    type has a higher accuracy before: a change that is not there yet has no signal either."""
    killed: bool
    """Signal was far above noise well before, and the place is the same in both scorings.
    Whether the direction alone was right by then is evidence beside it: a change that only
    grows has its direction from the start, and noise has no part in that."""
    least: float
    """Least signal over noise at the steps scored twice before the jump; NaN without any."""
    least_interval: tuple[float, float]
    """95 % over questions."""
    texts: tuple[str, ...]
    """One sentence per part, for the evidence of a verdict."""


def noise_evidence(
    found: SecondScoring,
    twice: Twice | None,
    direction: Series | None,
    weights: Float[np.ndarray, "draw question"],
    *,
    place: tuple[float, float],
    finer: Twice | None = None,
    head: str = "",
) -> NoiseEvidence:
    """Hold a second scoring against the place of a jump.

    Args:
        found: Signal over noise of the head under study.
        twice: Accuracy of the mode that jumps, in both scorings.
        direction: Accuracy of the direction alone of that head, A_dir.
        weights: Question resamples.
        place: Interval of the jump, in steps.
        finer: Accuracy in a scoring of a finer numeric type, where there is one. Without it
            nothing is predicted: a change that begins at the jump crosses the noise there too.
        head: Head under study, which then begins what is said of it alone.

    Returns:
        What is predicted, what is killed, and why; neither where too few steps before the
        jump were scored twice.
    """
    before, name = np.flatnonzero(found.steps < place[0]), f"{head} head: " if head else ""
    if before.size < BEFORE:
        text = (
            f"{name}{before.size} trained steps before the jump were scored twice, {BEFORE} are"
            " needed"
        )
        return NoiseEvidence(False, False, np.nan, (np.nan, np.nan), (text,))
    at = int(before[np.argmin(found.snr[before])])
    clear = bool((found.low[before] >= LEVELS[1]).all())
    same, place_text = _same_place(twice)
    _, turn_text = _turned(direction, weights, int(found.steps[before[-1]]))
    crossing = found.crossings[0]
    meets = crossing.step is not None and _meets(found, crossing.interval, place)
    raised, text = False, MISSING
    if finer is not None:
        raised, text = _raised(finer, weights, place[0])
    more = (text,) if meets or finer is not None else ()
    where = "never" if crossing.step is None else f"first at step {crossing.step}"
    texts = (
        f"{name}signal over noise of score changes is at least {found.snr[at]:.3g}"
        f" [{found.low[at]:.3g}, {found.high[at]:.3g}] at the {before.size} steps before the jump"
        f" that were scored twice ({LEVELS[1]:g} is asked), and {where} above {LEVELS[0]:g}",
        place_text,
        f"{name}{turn_text}",
        *more,
    )
    least = (float(found.low[at]), float(found.high[at]))
    return NoiseEvidence(meets and raised, clear and same, float(found.snr[at]), least, texts)


def _meets(found: SecondScoring, crossing: tuple[float, float], place: tuple[float, float]) -> bool:
    """Say whether a crossing, no finer than the steps scored twice, meets the jump."""
    steps = found.steps
    first = int(np.searchsorted(steps, crossing[0]))
    low = float(steps[max(first - 1, 0)]) if first > 0 else 0.0
    return low <= place[1] and crossing[1] >= place[0] and first > 0


def _same_place(twice: Twice | None) -> tuple[bool, str]:
    """Say whether accuracy is half way at the same step in both scorings."""
    if twice is None or twice.shift_interval is None:
        return False, "the place of the jump could not be compared between the scorings"
    low, high = twice.shift_interval
    same = low >= -twice.spacing and high <= twice.spacing
    text = (
        f"{twice.mode} is half way at step {twice.tau:.1f} in the run's own scoring and"
        f" {twice.tau_again:.1f} in the second (shift [{low:.1f}, {high:.1f}], checkpoints"
        f" {twice.spacing:g} apart)"
    )
    return same, text


def _turned(
    direction: Series | None,
    weights: Float[np.ndarray, "draw question"],
    step: int,
) -> tuple[bool, str]:
    """Say whether the direction alone was clearly worse before the jump than at the end."""
    if direction is None or direction.per_question is None or step not in direction.steps:
        return False, "the accuracy of the direction alone is not known before the jump"
    at = int(np.flatnonzero(direction.steps == step)[0])
    gain = direction.per_question[-1] - direction.per_question[at]
    low, high = interval(weights @ gain)
    text = (
        f"the direction alone is right in {direction.value[at]:.2f} of questions at step {step} and"
        f" {direction.value[-1]:.2f} at the end (gain [{low:.2f}, {high:.2f}])"
    )
    return bool(low > EQUAL), text


def _raised(
    finer: Twice, weights: Float[np.ndarray, "draw question"], before: float
) -> tuple[bool, str]:
    """Say whether accuracy before the jump is higher where it is computed more finely."""
    assert finer.one.per_question is not None
    assert finer.two.per_question is not None
    early = (finer.one.steps > 0) & (finer.one.steps < before)
    if not early.any():
        return False, "no trained step before the jump was scored more finely"
    gain = (finer.two.per_question - finer.one.per_question)[early].mean(axis=0)
    low, high = interval(weights @ gain)
    text = (
        f"scored more finely, {finer.mode} is right in {gain.mean():+.2f} [{low:+.2f}, {high:+.2f}]"
        " of questions more before the jump"
    )
    return bool(low > EQUAL), text
