"""The numbers that `probe score` prints: accuracies by normalisation, baselines, calibration."""

import csv
import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis import Rows
from critical_phase.analysis.inference.bootstrap import centred_interval, interval, question_weights
from critical_phase.analysis.scores.calibration import (
    brier,
    calibration_error,
    confidence,
    error_draws,
)
from critical_phase.analysis.scores.curves import combine, top_hits
from critical_phase.analysis.scores.normalisation import normalise, pmi_dc

BASE = "base"
ADAPTER = "adapter"
"""An adapter of which nothing more is known, and the mode that scores with it alone."""
DRAWS = 2000
LENGTHS = {"acc": "sum", "acc_norm": "per_char", "acc_token": "per_token", "acc_bytes": "per_byte"}
"""Accuracy by its usual name, and how its scores are divided."""


@dataclass(frozen=True, eq=False)
class OneStep:
    """One checkpoint per head, in the form that the analysis combines."""

    rows: Rows
    logprobs: Mapping[str, Float[np.ndarray, " row"]]
    """Summed log-probability of every row, by head; `base` among them."""

    @property
    def heads(self) -> tuple[str, ...]:
        """Heads other than the base."""
        return tuple(head for head in self.logprobs if head != BASE)

    def steps(self, head: str) -> Int[np.ndarray, " step"]:
        """One step, whatever its number was."""
        return np.zeros(1, dtype=np.int64)

    def base_scores(self) -> Float[np.ndarray, " row"]:
        """Scores without an adapter."""
        return self.logprobs[BASE]

    def scores(self, head: str) -> Float[np.ndarray, "step row"]:
        """Scores of a head."""
        return self.logprobs[head][None]

    def combined(self, mode: str, weight: float) -> Float[np.ndarray, " row"]:
        """Combine the heads of a mode; `base` is the model alone, `adapter` one with it."""
        if mode in (BASE, ADAPTER):
            return np.asarray(self.logprobs[mode], dtype=np.float64)
        values: Float[np.ndarray, " row"] = combine(self, mode, weight).values[0]
        return values


@dataclass(frozen=True, slots=True)
class Line:
    """One measure over all questions."""

    measure: str
    value: float | None
    """None where it is undefined: every question has all its scores equal."""
    error: float | None
    """Standard error of a mean over questions."""
    low: float | None
    high: float | None
    """95 % interval of the question bootstrap; for `ece` centred on the value."""
    tied: int | None = None
    """Questions with a partial tie at the top; each counts its expected value."""
    all_equal: int | None = None
    """Questions whose scores are all equal."""
    perfect: float | None = None
    """For `ece`: what perfect calibration would give with as many questions."""


def score_lines(
    rows: Rows,
    score: Float[np.ndarray, " row"],
    baselines: Mapping[str, Float[np.ndarray, " row"]],
    seed: int,
) -> list[Line]:
    """Compute every measure of one combined score.

    Args:
        rows: The candidates.
        score: Combined scores behind their questions.
        baselines: The same behind other texts: `domain`, `answer_only`, where there are any.
        seed: Of the bootstrap.
    """
    weights = question_weights(len(rows.question_ids), DRAWS, np.random.default_rng(seed))
    values = {name: normalise(rows, score, how) for name, how in LENGTHS.items()}
    if "domain" in baselines:
        values["pmi_dc"] = pmi_dc(score, baselines["domain"])
    if "answer_only" in baselines:
        values["answer_only"] = baselines["answer_only"]
    lines = [_accuracy(name, rows, one, weights) for name, one in values.items()]
    squared = brier(rows, score)
    low, high = interval(weights @ squared)
    lines.append(Line("brier", float(squared.mean()), _error(squared), float(low), float(high)))
    lines.append(_calibration(rows, score, weights))
    return lines


def table(lines: list[Line]) -> list[str]:
    """Write lines for a terminal."""
    texts = [f"{'measure':<12} {'value':>7} {'error':>7}   {'95 % interval':<17} ties"]
    for line in lines:
        if line.value is None:
            texts.append(f"{line.measure:<12} undefined: all scores of every question are equal")
            continue
        error = "" if line.error is None else f"{line.error:.4f}"
        ties = "" if line.tied is None else f"{line.tied} partial, {line.all_equal} whole"
        ties = ties if line.perfect is None else f"({line.perfect:.4f} if perfect)"
        span = f"[{line.low:.4f}, {line.high:.4f}]"
        texts.append(f"{line.measure:<12} {line.value:7.4f} {error:>7}   {span:<17} {ties}")
    return texts


def as_json(lines: list[Line]) -> dict[str, dict[str, float | int | None]]:
    """Write lines for scripts, by measure; what does not apply to a measure is left out."""
    always = {"value", "low", "high"}
    return {
        line.measure: {
            key: value
            for key, value in asdict(line).items()
            if key != "measure" and (value is not None or key in always)
        }
        for line in lines
    }


def rows_csv(
    rows: Rows, score: Float[np.ndarray, " row"], columns: Mapping[str, Float[np.ndarray, " row"]]
) -> str:
    """Write one line per candidate with every log-probability behind the numbers."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    counts = {"tokens": rows.tokens, "characters": rows.characters, "bytes": rows.bytes}
    writer.writerow(("question", "candidate", "correct", *counts, "score", *columns, "text"))
    first = np.searchsorted(rows.question, rows.question)
    for row, question in enumerate(rows.question.tolist()):
        writer.writerow(
            (
                rows.question_ids[question],
                row - int(first[row]),
                int(rows.correct[row]),
                *(int(count[row]) for count in counts.values()),
                *(repr(float(column[row])) for column in (score, *columns.values())),
                rows.texts[row],
            )
        )
    return text.getvalue()


def _accuracy(
    name: str,
    rows: Rows,
    values: Float[np.ndarray, " row"],
    weights: Float[np.ndarray, "draw question"],
) -> Line:
    hits = top_hits(rows, values[None])
    tied, equal = int(hits.tied[0]), int(hits.all_equal[0])
    right = hits.value[0]
    if not np.isfinite(right).all():
        return Line(name, None, None, None, None, tied, equal)
    low, high = interval(weights @ right)
    return Line(name, float(right.mean()), _error(right), float(low), float(high), tied, equal)


def _calibration(
    rows: Rows, score: Float[np.ndarray, " row"], weights: Float[np.ndarray, "draw question"]
) -> Line:
    if not np.isfinite(top_hits(rows, score[None]).value).all():
        return Line("ece", None, None, None, None)
    gap, draws = calibration_error(rows, score), error_draws(confidence(rows, score[None]), weights)
    low, high = centred_interval(np.array([gap.error]), draws)
    return Line("ece", gap.error, None, float(low[0]), float(high[0]), perfect=gap.chance)


def _error(values: Float[np.ndarray, " question"]) -> float | None:
    return float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else None
