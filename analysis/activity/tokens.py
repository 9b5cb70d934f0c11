"""Measure `tokens`: a few questions, candidate by candidate, as training goes on."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from critical_phase.analysis.charts import numbers
from critical_phase.analysis.inputs import RunArrays
from critical_phase.analysis.results import MeasureResult, TokenView
from critical_phase.analysis.scores.curves import base_scores, combine, primary_mode, sorted_scores
from critical_phase.analysis.scores.margin import margins
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.states.activations import sorted_steps

MOST_HEADS = 16
"""Attention heads whose rows are kept: those that moved most from the first step to the last."""

ABOUT = (
    "Summed log-probabilities of the candidates of a few questions, chosen by when they turn right."
    " Examples to look at, no evidence."
)


def tokens(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Show the questions with the largest gain, the middle one, and the largest loss."""
    about = ("tokens", "Examples", ABOUT, "")
    mode = primary_mode(arrays.heads, settings.modes)
    if mode is None:
        return MeasureResult(*about, {}, ("no mode could be computed: no examples",))
    values = combine(arrays, mode, settings.weight).values
    margin = margins(arrays.rows, values)
    gain = margin[-1] - margin[0]
    order = np.argsort(gain, kind="stable")
    at = np.unique(np.round(np.linspace(0, order.size - 1, settings.examples)).astype(int))
    steps = np.sort(np.asarray(arrays.steps(arrays.heads[-1])))
    shown = np.isin(arrays.rows.question, order[at])
    seen = _attention_rows(arrays, steps, shown, done)
    views = tuple(_view(arrays, int(question), steps, seen, shown) for question in order[at][::-1])
    used = {"examples": settings.examples, "mode": mode, "attention_heads": len(seen)}
    return MeasureResult(*about, used, tokens=views)


def _view(
    arrays: RunArrays,
    question: int,
    steps: Int[np.ndarray, " step"],
    seen: Mapping[tuple[int, int], Float[np.ndarray, "step shown key"]],
    shown: Bool[np.ndarray, " row"],
) -> TokenView:
    """Collect one question."""
    rows = np.flatnonzero(arrays.rows.question == question)
    base = base_scores(arrays)
    found: dict[str, np.ndarray] = {}
    for head in ("positive", "negative"):
        if head not in arrays.heads:
            continue
        have, scores = sorted_scores(arrays, head)
        path = np.full((steps.size, base.size), np.nan)
        _, here, there = np.intersect1d(steps, have, return_indices=True)
        path[here] = scores[there]
        found[head] = path
    words = getattr(arrays, "token_texts", None)
    candidates: list[dict[str, Any]] = []
    for row in rows:
        text = arrays.rows.texts[row]
        candidates.append(
            {
                "text": text,
                "correct": bool(arrays.rows.correct[row]),
                "tokens": list(words(int(row))) if words is not None else [],
                "positive": _column(found, "positive", int(row)),
                "negative": _column(found, "negative", int(row)),
                "base": float(base[row]),
                "attention": _attention(arrays, seen, shown, int(row)),
            }
        )
    name = arrays.rows.question_ids[question]
    stems = getattr(arrays, "question_texts", None)
    text = stems[question] if stems is not None else name
    return TokenView(f"question-{name}", text, name, [int(s) for s in steps], candidates)


def _column(found: Mapping[str, np.ndarray], head: str, row: int) -> list[float | None] | None:
    """Return one row's path, None without the head."""
    return numbers(found[head][:, row]) if head in found else None


def _attention_rows(
    arrays: RunArrays,
    steps: Int[np.ndarray, " step"],
    shown: Bool[np.ndarray, " row"],
    done: Mapping[str, MeasureResult] | None,
) -> dict[tuple[int, int], Float[np.ndarray, "step shown key"]]:
    """Return the attention of the rows shown under the last head, by layer and attention head.

    NaN at steps left out. One layer of one checkpoint is held at a time.
    """
    head = arrays.heads[-1]
    if not arrays.attention_heads or max(arrays.layers, default=-1) < 0:
        return {}
    _, kept = sorted_steps(arrays, head)
    _, here, there = np.intersect1d(steps, kept, return_indices=True)
    found: dict[tuple[int, int], np.ndarray] = {}
    for layer, heads in _moved_most(arrays, done).items():
        path = np.stack(
            [arrays.attention_row_at(head, int(s), layer)[shown][:, heads] for s in kept]
        )
        seen = np.full((steps.size, *path.shape[1:]), np.nan, dtype=path.dtype)
        seen[here] = path[there]
        found |= {(layer, one): seen[:, :, at] for at, one in enumerate(heads)}
    return found


def _moved_most(
    arrays: RunArrays, done: Mapping[str, MeasureResult] | None
) -> dict[int, list[int]]:
    """Choose attention heads by how far they drifted at the end; without that, the last layer's."""
    name = f"attention_js.{arrays.heads[-1]}"
    maps = (
        [one for one in done["attention"].maps if one.id == name]
        if done and "attention" in done
        else []
    )
    if not maps:
        return {max(arrays.layers): list(range(min(arrays.attention_heads, MOST_HEADS)))}
    drift = [(row[-1] if row[-1] is not None else -1.0) for row in maps[0].values]
    most = np.argsort(-np.asarray(drift, dtype=np.float64), kind="stable")[:MOST_HEADS]
    chosen: dict[int, list[int]] = {}
    for layer, one in sorted(tuple(map(int, maps[0].row_labels[i].split("."))) for i in most):
        chosen.setdefault(layer, []).append(one)
    return chosen


def _attention(
    arrays: RunArrays,
    seen: Mapping[tuple[int, int], Float[np.ndarray, "step shown key"]],
    shown: Bool[np.ndarray, " row"],
    row: int,
) -> list[dict[str, Any]]:
    """Return the row's attention in every attention head that was kept, to four decimals."""
    if not seen:  # a run of scores alone has no keys to count
        return []
    at, keys = int(np.flatnonzero(shown).searchsorted(row)), int(arrays.key_length()[row])
    return [
        {
            "layer": layer,
            "attention_head": one,
            "head": arrays.heads[-1],
            "values": [numbers(step) for step in np.round(path[:, at, :keys].astype(float), 4)],
        }
        for (layer, one), path in seen.items()
    ]
