"""Measure `instability`: what an unstable training would leave behind (H8).

A spike of the gradient norm or of the loss, a turn of the weight path that is local in time and
seen at every lag, or attention that collapses onto single tokens. None of them proves that
training became unstable: that needs the same run at a quarter of the learning rate.

Reference: 2506.11613 (turn beside a peak of the gradient norm); 2303.06296 (entropy collapse).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from critical_phase.analysis.charts import numbers
from critical_phase.analysis.inference.bootstrap import interval, shared_weights
from critical_phase.analysis.inference.multiplicity import adjust
from critical_phase.analysis.inputs import RunArrays, question_count
from critical_phase.analysis.jumps.series_change import SeriesChange
from critical_phase.analysis.results import Curve, MeasureResult, Table, column
from critical_phase.analysis.scores.effect_lines import MOST_POINTS
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.updates.spikes import FACTOR, Spike, largest_spike
from critical_phase.analysis.updates.turning import Turn

ABOUT = (
    "Signs of an unstable training: a single step far above its neighbours in gradient norm or"
    " loss, a sharp turn of the weight path, attention that collapses onto single tokens; and"
    " whether they fall on the jump of accuracy. They are evidence only: that training became"
    " unstable is tested by training again at a quarter of the learning rate."
)

SIGNALS = {"gradient_norm": "gradient norm", "loss": "training loss"}
"""Columns of the training log that are looked at."""

COLLAPSE = 0.5
"""Mean entropy of a layer's attention heads below this share of its first is a collapse."""


@dataclass(frozen=True, slots=True)
class Instability:
    """Everything found in one head; p-values are adjusted over the signs of all heads (FDR)."""

    spikes: Mapping[str, Spike]
    """Largest spike of each signal that the log has."""
    turn: tuple[int, Turn] | None
    """Step and shape of the sharpest turn."""
    collapse: tuple[str, float, tuple[float, float]] | None
    """Layer whose attention lost most entropy, its last mean over its first, with interval."""

    @property
    def collapsed(self) -> bool:
        """Say whether the attention heads of a layer together lost more than half of it."""
        return self.collapse is not None and self.collapse[2][1] < COLLAPSE

    @property
    def found(self) -> tuple[str, ...]:
        """Name the signs that are there."""
        names = [SIGNALS[name] for name, spike in self.spikes.items() if spike.found]
        names += ["turn of the path"] if self.turn is not None and self.turn[1].found else []
        return (*names, *(["attention entropy"] if self.collapsed else []))


def instability(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Look for signs of instability in the log, the weight path and the attention.

    Args:
        arrays: The run.
        settings: Seed.
        done: Results of earlier measures: turns come from `weight_spaces`, entropies from
            `attention`, the jump from `changes`. What is not there is not looked at.

    Returns:
        The loss as a curve and a table of signs; facts hold `Instability` by head.
    """
    results = done or {}
    jump: SeriesChange | None = results["changes"].facts["jump"] if "changes" in results else None
    found: dict[str, Instability] = {}
    curves, notes = [], []
    for head in arrays.heads:
        log = arrays.training_log(head)
        if not all(name in log and len(log[name]) for name in SIGNALS):
            notes.append(f"the {head} head has no training log of ours: no spikes looked for")
        curves += _loss(head, log, arrays.batch_size)
        turn = results["weight_spaces"].facts["turns"].get(head) if _has(results) else None
        found[head] = Instability(
            _spikes(log, settings.seed), turn, _collapse(results, arrays, settings, head)
        )
    found = _adjusted(found)
    return MeasureResult(
        "instability",
        "Signs of instability",
        ABOUT,
        "2506.11613; 2303.06296; docs/methods.md",
        {"spike_factor": FACTOR, "collapse": COLLAPSE, "seed": settings.seed},
        tuple(notes),
        tuple(curves),
        tables=(_table(found, jump),),
        facts={"instability": found},
    )


def _has(results: Mapping[str, MeasureResult]) -> bool:
    return "weight_spaces" in results and "turns" in results["weight_spaces"].facts


def _spikes(log: Mapping[str, np.ndarray], seed: int) -> dict[str, Spike]:
    """Look for the largest spike of every signal."""
    found = {}
    for name in SIGNALS:
        if name not in log:
            continue
        rng = np.random.default_rng([seed, 46])
        spike = largest_spike(np.asarray(log["step"]), np.asarray(log[name], dtype=np.float64), rng)
        if spike is not None:
            found[name] = spike
    return found


def _adjusted(found: Mapping[str, Instability]) -> dict[str, Instability]:
    """Adjust the p-values of spikes and turns over all heads."""
    keys: list[tuple[str, str]] = []
    p: list[float] = []
    for head, one in found.items():
        for name, spike in one.spikes.items():
            keys.append((head, name))
            p.append(spike.p)
        if one.turn is not None:
            keys.append((head, "turn"))
            p.append(one.turn[1].p)
    new = dict(zip(keys, map(float, adjust(p)), strict=True))
    return {
        head: replace(
            one,
            spikes={n: replace(spike, p=new[head, n]) for n, spike in one.spikes.items()},
            turn=None
            if one.turn is None
            else (one.turn[0], replace(one.turn[1], p=new[head, "turn"])),
        )
        for head, one in found.items()
    }


def _collapse(
    results: Mapping[str, MeasureResult],
    arrays: RunArrays,
    settings: AnalysisSettings,
    head: str,
) -> tuple[str, float, tuple[float, float]] | None:
    """Return the layer whose attention lost most entropy, with a question bootstrap."""
    entropies = results["attention"].facts.get("entropy", {}) if "attention" in results else {}
    ends: dict[int, list[np.ndarray]] = {}
    for one in entropies.get(head, []):
        if one.per_question is not None and one.value.size and one.layer is not None:
            ends.setdefault(one.layer, []).append(one.per_question[[0, -1]])
    means = {layer: np.mean(parts, axis=0) for layer, parts in ends.items()}
    ratios = {layer: _ratio(both.mean(axis=1)) for layer, both in means.items()}
    if not ratios:
        return None
    layer = min(ratios, key=lambda one: ratios[one])
    weights = shared_weights(question_count(arrays.rows), settings)
    low, high = interval(_ratio((weights @ means[layer].T).T))
    return f"layer {layer}", float(ratios[layer]), (float(low), float(high))


def _ratio(ends: np.ndarray) -> np.ndarray:
    """Divide the last by the first; 1 where there was nothing to lose."""
    first, last = ends
    return np.asarray(np.divide(last, first, out=np.ones_like(last), where=first > 0))


def _loss(head: str, log: Mapping[str, np.ndarray], batch_size: int) -> list[Curve]:
    """Draw the training loss, thinned where the log is long."""
    if "loss" not in log or not len(log["loss"]):
        return []
    every = -(-len(log["loss"]) // MOST_POINTS)
    steps = [int(s) for s in np.asarray(log["step"])[::every]]
    value = np.asarray(log["loss"], dtype=np.float64)[::every]
    caption = "Loss of each training batch: mean negative log-likelihood per answer token."
    return [
        Curve(
            f"training_loss.{head}", f"Training loss, {head} head", "nats per token",
            "training_loss", head, steps, [s * batch_size for s in steps], numbers(value),
            caption, 0, head,
        )
    ]  # fmt: skip


def _table(found: Mapping[str, Instability], jump: SeriesChange | None) -> Table:
    """List every sign with its place and its control."""
    rows: list[list[Any]] = []
    for head, one in found.items():
        for name, spike in one.spikes.items():
            rows.append([
                head, SIGNALS[name], spike.step, "times its neighbours", spike.ratio,
                list(spike.interval), spike.p, "yes" if spike.found else "no",
                _on_jump(spike.step, jump),
            ])  # fmt: skip
        if one.turn is not None:
            step, turn = one.turn
            rows.append([
                head, "turn of the path", step, "rise of the local cosine at every lag",
                turn.height, None, turn.p, "yes" if turn.found else "no", _on_jump(step, jump),
            ])  # fmt: skip
        if one.collapse is not None:
            name, ratio, band = one.collapse
            rows.append([
                head, f"attention entropy, {name}", None, "last over first", ratio,
                list(band), None, "yes" if one.collapsed else "no", "",
            ])  # fmt: skip
    columns = [
        column("head", "head", kind="text"),
        column("sign", "sign", kind="text"),
        column("step", "at", "step"),
        column("measure", "measured as", kind="text"),
        column("value", "value"),
        column("interval", "interval"),
        column("p", "adjusted p (FDR)", kind="p"),
        column("found", "sign of instability", kind="text"),
        column("on_jump", "on the accuracy jump", kind="text"),
    ]
    caption = (
        f"A spike: at least {FACTOR} times the median of its eight neighbours, and rare among"
        " heavy-tailed steps of the same spread; its interval takes off the ordinary ups and downs"
        " of the other steps. A turn: see the spaces of the updates. p over all rows that have"
        " one, at most .05. A collapse: the layer whose attention heads lost most entropy keeps"
        f" less than {COLLAPSE:g} of it on average (95 % question bootstrap of the layer that lost"
        " most). On the jump: within the interval of its place, a step either way."
    )
    return Table("instability", "Signs of instability", caption, columns, rows)


def _on_jump(step: int, jump: SeriesChange | None) -> str:
    """Say whether a step lies within the interval of the accuracy jump, a step either way."""
    if jump is None:
        return "no jump"
    low, high = jump.interval
    return "yes" if low - 1 <= step <= high + 1 else "no"
