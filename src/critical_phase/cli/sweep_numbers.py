"""The numbers of one cell: accuracies by mode, weight and normalisation, and where they jump."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inference.bootstrap import question_weights
from critical_phase.analysis.inputs import chance
from critical_phase.analysis.many_runs.sweep import (
    MILESTONES,
    WEIGHTS,
    AccuracyCurve,
    accuracy_curve,
    half_rise,
    on_clock,
)
from critical_phase.analysis.scores.curves import NEEDS, ModeScores, available_modes, combine
from critical_phase.analysis.settings import MODES
from critical_phase.cli.loading import StoredRun
from critical_phase.cli.run_folder import RunFolder

Values = dict[str, Any]

NORMALISATIONS = ("sum", "per_char")
COLUMNS = (
    "mode", "weight", "normalisation", "step", "examples", "accuracy", "standard_error",
    "undefined", "tied",
)  # fmt: skip
"""Columns of the accuracies; `standard_error` is over questions."""

DRAWS = 1000
"""Question-bootstrap draws of the half-rise."""


class HeldRun(StoredRun):
    """A stored run whose scores are read once."""

    def __init__(self, run: RunFolder) -> None:
        """Open the run."""
        super().__init__(run)
        self._held: dict[str, np.ndarray] = {}

    def scores(self, head: str) -> Float[np.ndarray, "step row"]:
        """Summed log-probability of every row at every step."""
        if head not in self._held:
            self._held[head] = super().scores(head)
        return self._held[head]


def cell_numbers(run: RunFolder, findings: Values | None) -> Values:
    """Compute everything that a sweep says about one cell.

    Args:
        run: A run whose scores are collected.
        findings: Its `analysis/findings.json`, or None.

    Raises:
        StoreError: Scores are missing or damaged.
    """
    arrays = HeldRun(run)
    modes = available_modes(arrays.heads, MODES)
    clocks = _Clocks(arrays)
    base = ModeScores("base", np.zeros(1, dtype=np.int64), arrays.base_scores()[None])
    weights = question_weights(len(arrays.rows.question_ids), DRAWS, np.random.default_rng(0))
    rows, jumps = _rows(arrays, base, 0.0, clocks), []
    for mode in modes:
        scores = combine(arrays, mode, 1.0)
        for how in NORMALISATIONS:
            curve = accuracy_curve(arrays.rows, scores, how)
            rows += _table(mode, 0.0 if mode == "sft" else 1.0, how, curve, clocks)
            jumps.append(_jump(mode, how, curve, weights, clocks))
        if mode != "sft":
            for weight in WEIGHTS:
                if weight != 1.0:
                    rows += _rows(
                        arrays, _shown(combine(arrays, mode, weight), clocks), weight, clocks
                    )
    return {
        "questions": len(arrays.rows.question_ids),
        "chance": chance(arrays.rows),
        "heads": list(arrays.heads),
        "columns": list(COLUMNS),
        "accuracies": rows,
        "jumps": jumps,
        "found": _found(findings),
        "notes": list(arrays.notes),
    }


class _Clocks:
    """Examples seen and learning rates summed up, by step."""

    def __init__(self, arrays: StoredRun) -> None:
        heads = [head for head in ("negative", "positive") if head in arrays.heads]
        log = arrays.training_log(heads[0]) if heads else {}
        self._batch = arrays.batch_size
        self.steps = [0, *(int(step) for step in log.get("step", ()))]
        self.examples = [0, *(int(count) for count in log.get("examples", ()))]
        self.rates = [0.0, *np.cumsum(log.get("lr", np.zeros(0))).tolist()]
        self._seen = dict(zip(self.steps, self.examples, strict=True))

    def at(self, step: int) -> int:
        """Return the examples seen by a step."""
        return self._seen.get(step, step * self._batch)


def _rows(arrays: StoredRun, scores: ModeScores, weight: float, clocks: _Clocks) -> list[list[Any]]:
    found: list[list[Any]] = []
    for how in NORMALISATIONS:
        curve = accuracy_curve(arrays.rows, scores, how)
        found += _table(scores.mode, weight, how, curve, clocks)
    return found


def _shown(scores: ModeScores, clocks: _Clocks) -> ModeScores:
    """Keep the steps at which a table shows every weight: milestones and the last."""
    shown = [clocks.at(int(step)) in MILESTONES for step in scores.steps]
    shown[-1] = True
    return ModeScores(scores.mode, scores.steps[shown], scores.values[shown])


def _table(
    mode: str, weight: float, how: str, curve: AccuracyCurve, clocks: _Clocks
) -> list[list[Any]]:
    return [
        [
            mode, weight, how, int(step), clocks.at(int(step)),
            number(curve.accuracy[at]), number(curve.standard_error[at]),
            int(curve.undefined[at]), int(curve.tied[at]),
        ]
        for at, step in enumerate(curve.steps)
    ]  # fmt: skip


def _jump(
    mode: str,
    how: str,
    curve: AccuracyCurve,
    weights: Float[np.ndarray, "draw question"],
    clocks: _Clocks,
) -> Values:
    """Place the half-rise on all three clocks."""
    found = half_rise(curve.steps, curve.hits, weights)
    places = {"step": found.step, "low": found.low, "high": found.high}
    known = clocks if len(clocks.steps) > 1 else None
    steps: Int[np.ndarray, " step"] = curve.steps
    seen: Sequence[int] = [clocks.at(int(step)) for step in steps]
    examples = {key: on_clock(place, steps.tolist(), seen) for key, place in places.items()}
    rates = {
        key: on_clock(place, known.steps, known.rates) if known else math.nan
        for key, place in places.items()
    }
    return {
        "mode": mode,
        "normalisation": how,
        "rise": number(found.rise),
        "rise_interval": [number(found.rise_low), number(found.rise_high)],
        **{f"{key}_steps": number(value) for key, value in _renamed(places)},
        **{f"{key}_examples": number(value) for key, value in _renamed(examples)},
        **{f"{key}_summed_lr": number(value) for key, value in _renamed(rates)},
    }


def _renamed(places: dict[str, float]) -> list[tuple[str, float]]:
    return [("half_rise" if key == "step" else key, value) for key, value in places.items()]


def _found(findings: Values | None) -> Values | None:
    """Keep of an analysis the jump and its sentence."""
    if findings is None:
        return None
    return {"jump": findings.get("jump"), "sentence": findings.get("sentence", "")}


def number(value: float) -> float | None:
    """Write undefined as nothing."""
    return float(value) if math.isfinite(value) else None


__all__ = ["COLUMNS", "NEEDS", "NORMALISATIONS", "cell_numbers", "number"]
