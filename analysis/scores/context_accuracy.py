"""Accuracy after other texts beside accuracy after the question, on the same resamples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.charts import curve
from critical_phase.analysis.inference.accuracy_interval import accuracy_band
from critical_phase.analysis.inference.bootstrap import curve_draws, interval
from critical_phase.analysis.inputs import Rows, RunArrays, Scored, chance
from critical_phase.analysis.results import Curve, Table, column
from critical_phase.analysis.scores.contexts import BLIND, InContext, context_label
from critical_phase.analysis.scores.curves import available_modes, base_scores, combine, top_hits
from critical_phase.analysis.series import Series, question_series
from critical_phase.analysis.settings import AnalysisSettings

CAPTION = (
    "The same answers after another text. If the accuracy without the question comes"
    " near the one with it, the wording of the answers decides and not the question."
)


JOIN = " = "
"""Between the names of contexts that share one line."""

ALIKE = (
    "Contexts joined by “=” give every answer the same score, as where the premise of this prompt"
    " format is empty, and share one line."
)

SAME = 1e-4
"""Difference of scores, in nats, below which two contexts are the same text."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Accuracy in a context beside accuracy with the question, on the same resamples."""

    arrays: RunArrays
    settings: AnalysisSettings
    weights: Float[np.ndarray, "draw question"]

    def curves(self, contexts: Sequence[InContext]) -> list[Curve]:
        """Draw a chart for each mode: with the question, and in every context."""
        drawn, labels = [], distinct_labels(contexts)
        contexts = [context for context in contexts if context.name in labels]
        for mode in available_modes(self.arrays.heads, self.settings.modes):
            have = [c for c in contexts if mode in available_modes(c.heads, (mode,))]
            own: list[tuple[str, Scored]] = [("question", self.arrays)] if have else []
            for name, source in [*own, *((c.name, c) for c in have)]:
                one = self._series(source, name, mode)
                label = labels.get(name, context_label(name))
                drawn += [self._curve(one, label, mode)] if one.value.size else []
        return drawn

    def tables(self, contexts: Sequence[InContext]) -> tuple[Table, ...]:
        """List accuracy in every context at the last step it shares with the run."""
        rows = [
            row
            for context in contexts
            for mode in ("base", *available_modes(context.heads, self.settings.modes))
            if (row := self._row(context, mode)) is not None
        ]
        columns = [
            column("mode", "score", kind="text"),
            column("context", "before the answer", kind="text"),
            column("blind", "question hidden", kind="text"),
            column("step", "step"),
            column("accuracy", "accuracy", "share"),
            column("interval", "interval"),
            column("question", "with the question", "share"),
            column("difference", "question minus context", "share"),
            column("difference_interval", "interval of the difference"),
        ]
        caption = (
            "At the last step that both have. Differences are paired over questions (95 %). A"
            " question-blind accuracy close to the real one says that answers can be told apart"
            " by their wording alone."
        )
        table = Table("contexts", "Accuracy after other texts", caption, columns, rows)
        return (table,) if rows else ()

    def _series(self, source: Scored, name: str, mode: str) -> Series:
        found = combine(source, mode, self.settings.weight)
        title = f"accuracy of {mode} by what stands before the answer, {context_label(name)}"
        return accuracy_series(
            self.arrays.rows, found.steps, found.values, f"context.{name}.{mode}", title, mode
        )

    def _curve(self, one: Series, label: str, mode: str) -> Curve:
        return curve(
            one,
            self.weights,
            self.arrays.batch_size,
            group=f"context.{mode}",
            label=label,
            caption=ALIKE if JOIN in label else CAPTION,
            references=[{"label": "chance", "value": chance(self.arrays.rows)}],
        )

    def _row(self, context: InContext, mode: str) -> list[Any] | None:
        pair = self._last_hits(context, mode)
        if pair is None:
            return None
        step, own, there = pair
        low, high = accuracy_band(there[None], self.weights)
        least, most = interval(curve_draws(self.weights, (own - there)[None]))
        blind = "yes" if context.name in BLIND else "no"
        return [
            mode, context_label(context.name), blind, step, float(there.mean()),
            [float(low[0]), float(high[0])], float(own.mean()), float((own - there).mean()),
            [float(least[0]), float(most[0])],
        ]  # fmt: skip

    def _last_hits(
        self, context: InContext, mode: str
    ) -> tuple[int, Float[np.ndarray, " question"], Float[np.ndarray, " question"]] | None:
        """Return the last shared step with defined scores, and both accuracies there."""
        rows = self.arrays.rows
        if mode == "base":
            values = np.stack([base_scores(self.arrays), base_scores(context)])
            hits = top_hits(rows, values[:1]).value[0], top_hits(rows, values[1:]).value[0]
            return None if np.isnan(hits).any() else (0, *hits)
        own, there = (combine(s, mode, self.settings.weight) for s in (self.arrays, context))
        steps, at, other = np.intersect1d(own.steps, there.steps, return_indices=True)
        one, two = top_hits(rows, own.values[at]).value, top_hits(rows, there.values[other]).value
        usable = np.flatnonzero(np.isfinite(one).all(axis=1) & np.isfinite(two).all(axis=1))
        if not usable.size:
            return None
        last = int(usable[-1])
        return int(steps[last]), one[last], two[last]


def distinct_labels(contexts: Sequence[InContext]) -> dict[str, str]:
    """Name the contexts to draw; one that scores as an earlier one only adds its name to it."""
    labels: dict[str, str] = {}
    for at, context in enumerate(contexts):
        own = context_label(context.name)
        earlier = (c.name for c in contexts[:at] if c.name in labels and _alike(c, context))
        twin = next(earlier, None)
        labels[twin or context.name] = own if twin is None else f"{labels[twin]}{JOIN}{own}"
    return labels


def _alike(one: InContext, other: InContext) -> bool:
    """Say whether two contexts give all answers the same scores, at the same steps."""
    if one.heads != other.heads:
        return False
    pairs = [(one.base_scores(), other.base_scores())]
    for head in one.heads:
        if not np.array_equal(one.steps(head), other.steps(head)):
            return False
        pairs.append((one.scores(head), other.scores(head)))
    return all(np.allclose(a, b, rtol=0, atol=SAME, equal_nan=True) for a, b in pairs)


def accuracy_series(
    rows: Rows,
    steps: Int[np.ndarray, " step"],
    values: Float[np.ndarray, "step row"],
    name: str,
    title: str,
    mode: str,
) -> Series:
    """Turn scores into a series of accuracy."""
    hits = top_hits(rows, values).value
    return question_series(name, title, "share of questions", "accuracy", steps, hits, mode=mode)
