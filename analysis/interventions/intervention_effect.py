"""How much of the change of the margin an intervention brings: a ratio of sums over questions.

Effect = sum (m_patched - m_pre) / sum (m_post - m_pre). Ratios of single questions explode where
nothing moved, so their spread is shown beside it and never averaged.
Reference: 2404.15255 (denoising shows what is sufficient, noising what is necessary).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import t

from critical_phase.analysis.inference.bootstrap import interval, question_weights
from critical_phase.analysis.interventions.intervention_frame import Frame
from critical_phase.errors import FitError

_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
FEWEST = 5
"""Fewer questions have no interval worth the name."""


@dataclass(frozen=True, slots=True)
class Number:
    """A mean over questions with its 95 % bootstrap interval."""

    value: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Effect:
    """What one intervention does, over the questions of one part."""

    share: Number
    """Part of the margin's change from early (0) to late (1) that is there."""
    margin: Number
    """Mean margin, in units of the score."""
    accuracy: Number | None
    """Share of questions that are right; None where the scores separate nothing."""
    singles: tuple[float, ...]
    """Quantiles (.1, .25, .5, .75, .9) of the ratios of single questions that moved by more than
    a tenth of the mean."""
    questions: int
    another: tuple[float, float] | None = None
    """Where the share of one more draw lies, 95 %: of a control that was drawn at random. None
    with fewer than two draws, which say nothing of others."""

    @property
    def lost(self) -> Number:
        """Return what is missing to the late model: 1 - share."""
        low, high = self.share.interval
        return Number(1.0 - self.share.value, (1.0 - high, 1.0 - low))

    @property
    def another_lost(self) -> tuple[float, float] | None:
        """Return what is missing to the late model with one more draw."""
        return None if self.another is None else (1.0 - self.another[1], 1.0 - self.another[0])


def moved(frame: Frame, part: Bool[np.ndarray, " question"]) -> Number:
    """Return the mean change of the margin from early to late.

    Raises:
        FitError: It is not told from no change, so no share of it is defined.
    """
    if int(part.sum()) < FEWEST:
        raise FitError(
            f"{int(part.sum())} questions are too few for an interval over questions",
            fix=f"give {2 * FEWEST} questions or more: half of them choose, half report",
        )
    change = (frame.ends[1] - frame.ends[0])[part]
    found = number(change, frame.weights(part))
    if found.interval[0] <= 0 <= found.interval[1]:
        low, high = found.interval
        raise FitError(
            f"the margin moves by {found.value:.3g} [{low:.3g}, {high:.3g}] from early to late:"
            " that is not told from nothing, so no share of it is defined",
            fix="choose steps on both sides of a change, with --from and --to",
        )
    return found


def effect(
    frame: Frame,
    acting: Float[np.ndarray, "draw row"],
    part: Bool[np.ndarray, " question"],
) -> Effect:
    """Read one intervention, or the average over draws of a random one.

    Args:
        frame: Early and late model, and how scores are made.
        acting: Log-likelihoods of the acting head; of a random control one line per draw, whose
            margins and hits are averaged per question.
        part: Marks the questions that are used.
    """
    weights, lines = frame.weights(part), frame.margins(acting)[:, part]
    margin, hits = lines.mean(axis=0), frame.hits(acting).mean(axis=0)[part]
    early, late = (one[part] for one in frame.ends)
    return Effect(
        ratio(lines - early, late - early, weights, frame.seed),
        number(margin, weights),
        number(hits, weights) if np.isfinite(hits).all() else None,
        _singles(margin - early, late - early),
        int(part.sum()),
        one_more(lines - early, late - early, weights),
    )


def between(
    frame: Frame,
    late: Float[np.ndarray, " row"],
    early: Float[np.ndarray, " row"],
    part: Bool[np.ndarray, " question"],
) -> Number:
    """Return what is left of the margin's change where both models are changed alike.

    Args:
        frame: Early and late model, and how scores are made.
        late: Log-likelihoods of the acting head in the changed late model.
        early: The same in the changed early model.
        part: Marks the questions that are used.

    Returns:
        sum (m_late' - m_early') / sum (m_late - m_early).
    """
    changed = frame.margins(np.stack([late, early]))[:, part]
    below = (frame.ends[1] - frame.ends[0])[part]
    return ratio((changed[0] - changed[1])[None], below, frame.weights(part), frame.seed)


def ratio(
    above: Float[np.ndarray, "line question"],
    below: Float[np.ndarray, " question"],
    weights: Float[np.ndarray, "draw question"],
    seed: int = 0,
) -> Number:
    """Divide sums over questions, with the question bootstrap of both together.

    Args:
        above: One line, or one per draw of a random control: these are drawn anew too, so that
            the interval holds for random things in general.
        below: What they are divided by.
        weights: Of the question bootstrap.
        seed: Of the drawing of lines.
    """
    lines = question_weights(len(above), len(weights), np.random.default_rng([seed, 9]))
    drawn = ((weights @ above.T) * lines).sum(axis=1)
    low, high = interval(drawn / (weights @ below))
    return _number(float(above.mean(axis=0).sum() / below.sum()), float(low), float(high))


def one_more(
    above: Float[np.ndarray, "line question"],
    below: Float[np.ndarray, " question"],
    weights: Float[np.ndarray, "draw question"],
) -> tuple[float, float] | None:
    """Return where the share of one more random draw lies, 95 %.

    The mean of draws comes close to nothing as there are more of them, and a single one does not:
    what is held against random things must lie beyond what one of them does. With shares s of n
    draws the t prediction mean(s) -+ t(n - 1) sd(s) (1 + 1/n)^.5 is joined, in quadrature, with
    the question bootstrap of the mean.

    Args:
        above: One line per draw.
        below: What they are divided by.
        weights: Of the question bootstrap.
    """
    count = len(above)
    if count < 2:
        return None
    shares, mean = above.sum(axis=1) / below.sum(), above.mean(axis=0)
    centre = float(shares.mean())
    reach = float(t.ppf(0.975, count - 1) * shares.std(ddof=1) * (1 + 1 / count) ** 0.5)
    ends = interval((weights @ mean) / (weights @ below))
    low, high = (float(abs(end - centre)) for end in ends)
    return centre - float(np.hypot(reach, low)), centre + float(np.hypot(reach, high))


def number(
    values: Float[np.ndarray, " question"], weights: Float[np.ndarray, "draw question"]
) -> Number:
    """Return a mean over questions with its bootstrap interval."""
    low, high = interval(weights @ values)
    return _number(float(values.mean()), float(low), float(high))


def _number(value: float, low: float, high: float) -> Number:
    """Let the interval hold the value itself, which rounding of equal draws may move out."""
    return Number(value, (min(low, value), max(high, value)))


def _singles(
    above: Float[np.ndarray, " question"], below: Float[np.ndarray, " question"]
) -> tuple[float, ...]:
    clear = np.abs(below) > 0.1 * np.abs(below).mean()
    return tuple(float(x) for x in np.quantile(above[clear] / below[clear], _LEVELS))
