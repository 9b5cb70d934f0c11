"""How often free answers are right: by way of decoding, against the base and the positive head.

Questions with even numbers choose the strength of a contrast, those with odd numbers report
(probe_choice.py), so that the best of several strengths is not reported on what made it the best.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from critical_phase.analysis.inference.accuracy_interval import accuracy_band
from critical_phase.analysis.inference.bootstrap import interval, question_weights
from critical_phase.analysis.inference.paired_share import PairedShare, paired_share
from critical_phase.analysis.probing.probe_choice import confirmatory
from critical_phase.errors import ShapeError

CATEGORIES = ("right", "wrong", "other", "several", "none", "empty")
"""What an answer names: the right candidate, a wrong one, something that is no candidate, more
than one thing, nothing, or it says nothing at all."""
RIGHT = CATEGORIES.index("right")


@dataclass(frozen=True, slots=True)
class FreeAnswers:
    """The answers of one way of decoding."""

    name: str
    """Such as `base` or `contrast-a1`."""
    mode: str
    """`base`, `positive`, `negative`, `contrast` or `merged`."""
    alpha: float | None
    """Strength of the pair; None where there is none."""
    category: Int[np.ndarray, "question draw"]
    """Number in CATEGORIES of what each answer names."""
    tokens: Int[np.ndarray, "question draw"]
    """Tokens of each answer."""
    limited: Bool[np.ndarray, "question draw"]
    """Whether it ran into the most tokens allowed."""

    @property
    def right(self) -> Float[np.ndarray, " question"]:
        """Share of each question's answers that are right."""
        return np.asarray((self.category == RIGHT).mean(axis=1))


@dataclass(frozen=True, slots=True)
class Share:
    """An estimate with its 95 % interval."""

    value: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class AnswerSummary:
    """What one way of decoding gives on some questions."""

    name: str
    mode: str
    alpha: float | None
    questions: int
    draws: int
    """Answers per question."""
    shares: Mapping[str, Share]
    """Of all answers, by category; `right` is the one that is compared."""
    tokens: Share
    """Mean length in tokens."""
    limited: Share
    """Share of answers that ran into the most tokens allowed."""


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """Every way of decoding on the questions that report, and the pairs that matter."""

    exploratory: int
    """Questions that chose."""
    summaries: tuple[AnswerSummary, ...]
    """On the questions that report, in the order given."""
    chosen: Mapping[str, str]
    """The way whose alpha was chosen, by mode, on the questions that choose."""
    exploratory_right: Mapping[str, float]
    """Share that is right on the questions that choose, by way."""
    differences: Mapping[str, Mapping[str, PairedShare]]
    """Chosen way by mode, and what it is held against, on the questions that report."""


def summarise(
    answers: Sequence[FreeAnswers], *, draws: int, seed: int, against: Sequence[str]
) -> GenerationResult:
    """Count answers and compare ways of decoding.

    Args:
        answers: Ways of decoding, all on the same questions in the same order.
        draws: Resamples of the questions.
        seed: Of the resamples.
        against: Names of the ways that others are held against, where they are there.

    Raises:
        ShapeError: Ways of different questions, or too few to choose and to report.
    """
    sizes = {one.category.shape[0] for one in answers}
    if len(sizes) != 1:
        raise ShapeError(f"ways of decoding answer {sorted(sizes)} questions: not the same ones")
    (questions,) = sizes
    report = confirmatory(questions)
    if questions < 2:
        raise ShapeError("asked for free answers of 1 question: one chooses, another reports")
    weights = question_weights(int(report.sum()), draws, np.random.default_rng([seed, 9]))
    chosen = choose(answers, ~report)
    by_name = {one.name: one for one in answers}
    compared = {
        mode: {
            other: paired_share(by_name[name].right[report], by_name[other].right[report], weights)
            for other in against
            if other in by_name and other != name
        }
        for mode, name in chosen.items()
    }
    return GenerationResult(
        exploratory=int((~report).sum()),
        summaries=tuple(summary(one, report, weights) for one in answers),
        chosen=chosen,
        exploratory_right={one.name: float(one.right[~report].mean()) for one in answers},
        differences=compared,
    )


def choose(answers: Sequence[FreeAnswers], part: Bool[np.ndarray, " question"]) -> dict[str, str]:
    """Take, for every mode, the way that is right most often on some questions.

    Of equal ones the weakest is taken: where nothing speaks for a strength, less is changed.
    """
    best: dict[str, FreeAnswers] = {}
    for one in sorted(answers, key=lambda way: abs(way.alpha or 0.0)):
        now = best.get(one.mode)
        if now is None or one.right[part].mean() > now.right[part].mean():
            best[one.mode] = one
    return {mode: one.name for mode, one in best.items()}


def summary(
    one: FreeAnswers,
    part: Bool[np.ndarray, " question"],
    weights: Float[np.ndarray, "resample part"],
) -> AnswerSummary:
    """Count the answers of one way on some questions."""
    category = one.category[part]
    table = np.stack([(category == i).mean(axis=1) for i in range(len(CATEGORIES))])
    limited = one.limited[part].mean(axis=1)
    low, high = accuracy_band(np.vstack([table, limited]), weights)
    shares = [
        Share(float(row.mean()), (float(a), float(b)))
        for row, a, b in zip(np.vstack([table, limited]), low, high, strict=True)
    ]
    return AnswerSummary(
        name=one.name,
        mode=one.mode,
        alpha=one.alpha,
        questions=int(category.shape[0]),
        draws=int(category.shape[1]),
        shares=dict(zip(CATEGORIES, shares[:-1], strict=True)),
        tokens=mean_share(one.tokens[part].mean(axis=1), weights),
        limited=shares[-1],
    )


def mean_share(
    values: Float[np.ndarray, " question"], weights: Float[np.ndarray, "draw question"]
) -> Share:
    """Return a mean over questions with its bootstrap interval."""
    low, high = interval(weights @ values)
    return Share(float(values.mean()), (float(low), float(high)))


def verdict(gap: PairedShare, one: str, other: str) -> str:
    """Say in one sentence what a difference shows, and no more."""
    low, high = gap.interval
    size = f"{gap.value:+.3f} [{low:+.3f}, {high:+.3f}]"
    counted = f"{gap.gained} questions gained, {gap.lost} lost of {gap.questions}"
    said = "is right more often than" if low > 0 else "is right less often than"
    if low <= 0 <= high:
        said = "is not shown to differ from"
    return f"{one} {said} {other}: {size} ({counted})"
