"""H0a: is the step of accuracy only a threshold that a smooth margin passes?"""

import numpy as np

from critical_phase.analysis.judging.hypotheses import Case, Kind, Verdict
from critical_phase.analysis.judging.thresholds import EXPLAINS
from critical_phase.analysis.jumps.mirage import Mirage, mirage
from critical_phase.analysis.jumps.series_change import SeriesChange

SMOOTH_KINDS = ("line", "saturating", "hinge")
"""Kinds of margin curve that a mirage predicts."""


def smooth_margin(case: Case) -> Verdict:
    """H0a: does a smooth drift of margins explain the largest step of accuracy?

    Decided on the questions with even numbers and confirmed on those with odd numbers.
    """
    points = case.results["change_points"].facts
    found: Mirage | None = points["mirages"].get((case.primary, "steps"))
    accuracy, margin = case.accuracy, case.margin
    if found is None or accuracy is None or margin is None or found.smooth_interval is None:
        return Verdict("H0a", "not tested", None, None, None, ("too few checkpoints",))
    moved = accuracy.size_interval
    if moved is None:
        return Verdict("H0a", "not tested", None, None, None, ("accuracy could not be placed",))
    if moved[0] <= 0 <= moved[1]:
        return Verdict("H0a", "not tested", None, None, None, (_unmoved(accuracy),))
    even, odd = _half(case, margin, 0), _half(case, margin, 1)
    if even is None or odd is None:
        return Verdict("H0a", "not tested", None, None, None, ("too few questions to split",))
    kinds = points["kinds"].get(margin.series.quantity, {})
    best = min(kinds, key=lambda k: kinds[k]) if kinds else "unknown"
    texts: tuple[str, ...] = (
        f"smooth margin drift gives {_share(found)} of the largest accuracy step;"
        f" {_share(even)} on even questions, which decide, and {_share(odd)} on odd ones, which"
        " confirm",
        f"it puts the change at step {found.smooth_middle:.1f}, seen at step {found.middle:.1f}"
        f" (delay {found.delay:.1f}{_band(found.delay_interval)} steps)",
        f"the margin is closest to a {best} curve; abruptness p = {margin.test.p:.3g}",
    )
    kind = _mirage_kind(found, (even, odd), best, abrupt=margin.test.found)
    if kind == "not separable":
        texts += ("more checkpoints inside the jump, or more questions, would separate it",)
    p = case.adjusted(margin.series.quantity)
    return Verdict(
        "H0a", kind, found.smooth_share, found.smooth_interval, p, texts,
        "largest accuracy step under a smooth margin drift over the largest observed", "times",
        "" if p is None else margin.series.title,
    )  # fmt: skip


def _unmoved(accuracy: SeriesChange) -> str:
    """Say that there is no change to explain: none that is abrupt, or none that has a size."""
    low, high = accuracy.size_interval or (0.0, 0.0)
    band = f"[{low:.2f}, {high:.2f}]"
    if accuracy.test.found:
        return f"the size of the abrupt change of accuracy may be zero ({band})"
    return f"accuracy did not change abruptly: the fitted change of {band} may be zero"


def _mirage_kind(whole: Mirage, halves: tuple[Mirage, Mirage], best: str, *, abrupt: bool) -> Kind:
    """Decide on the first half and confirm on the second.

    Nothing is chosen by the place, so all questions may show that it is the same; neither half
    may have it elsewhere.
    """
    bands = [half.smooth_interval or (0.0, np.inf) for half in halves]
    if all(high < EXPLAINS for _, high in bands) and best in ("sigmoid", "step") and abrupt:
        return "excluded"
    placed = whole.same_place is True and not any(half.same_place is False for half in halves)
    explains = placed and all(low > EXPLAINS for low, _ in bands)
    if explains and best in SMOOTH_KINDS and not abrupt:
        return "supported"
    return "not separable"


def _half(case: Case, margin: SeriesChange, first: int) -> Mirage | None:
    """Run the mirage test on every second question, None where it cannot be run."""
    assert margin.series.per_question is not None
    part = margin.series.per_question[:, first::2]
    weights = case.results["changes"].facts["weights"][:, first::2]
    total = weights.sum(axis=1, keepdims=True)
    if not part.size or not (total > 0).all():
        return None
    found = mirage(part, margin.series.steps, weights / total)
    return found if found.smooth_interval is not None else None


def _share(found: Mirage) -> str:
    """Write the share with its interval."""
    low, high = found.smooth_interval or (float("nan"), float("nan"))
    return f"{found.smooth_share:.2f} [{low:.2f}, {high:.2f}]"


def _band(pair: tuple[float, float] | None, digits: int = 1) -> str:
    """Write an interval behind its number."""
    return "" if pair is None else f" [{pair[0]:.{digits}f}, {pair[1]:.{digits}f}]"
