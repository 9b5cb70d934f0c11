"""Measure `tokens`: a few questions, candidate by candidate, as training goes on."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from .activations import sorted_steps
from .charts import numbers
from .curves import base_scores, combine, primary_mode, sorted_scores
from .inputs import RunArrays
from .margin import margins
from .results import MeasureResult, TokenView
from .settings import AnalysisSettings

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
    seen = _last_attention(arrays, steps, np.isin(arrays.rows.question, order[at]))
    views = tuple(_view(arrays, int(question), steps, seen) for question in order[at][::-1])
    return MeasureResult(*about, {"examples": settings.examples, "mode": mode}, tokens=views)


def _view(
    arrays: RunArrays,
    question: int,
    steps: Int[np.ndarray, " step"],
    seen: Mapping[int, Float[np.ndarray, "step attention_head key"]] | None,
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
                "attention": _attention(arrays, seen, int(row)),
            }
        )
    name = arrays.rows.question_ids[question]
    stems = getattr(arrays, "question_texts", None)
    text = stems[question] if stems is not None else name
    return TokenView(f"question-{name}", text, name, [int(s) for s in steps], candidates)


def _column(found: Mapping[str, np.ndarray], head: str, row: int) -> list[float | None] | None:
    """Return one row's path, None without the head."""
    return numbers(found[head][:, row]) if head in found else None


def _last_attention(
    arrays: RunArrays, steps: Int[np.ndarray, " step"], shown: Bool[np.ndarray, " row"]
) -> dict[int, Float[np.ndarray, "step attention_head key"]] | None:
    """Return the attention of the rows shown, in the last layer of the last head, by row.

    NaN at steps left out. One checkpoint is held at a time.
    """
    head, layer = arrays.heads[-1], max(arrays.layers, default=-1)
    if not arrays.attention_heads or layer < 0:
        return None
    _, kept = sorted_steps(arrays, head)
    path = np.stack([arrays.attention_row_at(head, int(step), layer)[shown] for step in kept])
    seen = np.full((steps.size, *path.shape[1:]), np.nan, dtype=path.dtype)
    _, here, there = np.intersect1d(steps, kept, return_indices=True)
    seen[here] = path[there]
    return {int(row): seen[:, at] for at, row in enumerate(np.flatnonzero(shown))}


def _attention(
    arrays: RunArrays,
    seen: Mapping[int, Float[np.ndarray, "step attention_head key"]] | None,
    row: int,
) -> list[dict[str, Any]]:
    """Return the row's attention in the attention head that moved most."""
    if seen is None:
        return []
    path = seen[row][:, :, : int(arrays.key_length()[row])]
    kept = path[np.isfinite(path).all(axis=(1, 2))]
    if not len(kept):
        return []
    most = int(np.argmax(np.abs(kept[-1] - kept[0]).sum(axis=-1)))
    values = [numbers(step) for step in path[:, most]]
    return [{"layer": max(arrays.layers), "attention_head": most, "values": values}]
