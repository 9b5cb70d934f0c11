"""Measure `step_transfer`: does a probe trained at one checkpoint read another?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.charts import layer_label, layer_map
from critical_phase.analysis.inference.bootstrap import interval, shared_weights
from critical_phase.analysis.inputs import Rows, RunArrays, question_count
from critical_phase.analysis.probing.chosen_path import (
    ChosenPath,
    chance_pairs,
    chosen_path,
    half_weights,
)
from critical_phase.analysis.probing.linear_probe import transfer_predictions
from critical_phase.analysis.probing.linear_probes import linear_probes
from critical_phase.analysis.probing.probe_choice import Choice, confirmatory, log_spaced
from critical_phase.analysis.probing.probe_directions import Turn, cross_cosines, turn
from critical_phase.analysis.probing.probe_rise import FLAT
from critical_phase.analysis.probing.question_blocks import contrasts
from critical_phase.analysis.results import Map, MeasureResult, Table, column
from critical_phase.analysis.scores.margin import right_pairs
from critical_phase.analysis.series import Series, question_series
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.states.activations import has_residuals

ABOUT = (
    "One probe, trained at one checkpoint, reads the questions it never saw at another. If early"
    " probes read late checkpoints as well as late probes do, the feature was there and kept its"
    " direction; if they do not, it moved or is new. Layer and penalty were chosen on the questions"
    " with even numbers; values are of those with odd numbers. Cosines compare probes trained on"
    " different halves of the questions, so the diagonal shows what noise alone leaves of 1."
)


@dataclass(frozen=True, slots=True)
class StepTransfer:
    """Probes of one head carried between checkpoints, on the questions that report."""

    head: str
    layer: int
    steps: Int[np.ndarray, " step"]
    pairs: Float[np.ndarray, "step step"]
    """Right pairs of the probe trained at the row's step, read at the column's step."""
    loss: float
    """Right pairs at the last step: a probe trained there minus the base's probe."""
    loss_interval: tuple[float, float]
    chance: float
    """95 % of permuted labels stay below this share of right pairs at the last step."""
    cosines: Float[np.ndarray, "step step"]
    turn: Turn

    @property
    def carries(self) -> bool | None:
        """Say whether the base's probe reads the last step as well as one trained there.

        True only where it reads the base itself: a probe of noise can point along a strong
        new direction by chance. None where neither is clear.
        """
        if self.pairs[0, 0] > self.chance and self.loss_interval[1] < FLAT:
            return True
        return False if self.loss_interval[0] > 0 else None


def step_transfer(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Carry probes between checkpoints at the chosen layer of every head."""
    about = ("step_transfer", "Probes carried between steps", ABOUT, "docs/methods.md, probes")
    if not has_residuals(arrays):
        return MeasureResult(*about, {}, ("no hidden states were given: not computed",))
    before = done["linear_probes"] if done and "linear_probes" in done else None
    facts = (before or linear_probes(arrays, settings)).facts
    chosen: Mapping[str, Choice] = facts.get("choice", {})
    weights = shared_weights(question_count(arrays.rows), settings)
    found: list[StepTransfer] = []
    maps: list[Map] = []
    for head, choice in chosen.items():
        path = chosen_path(arrays, head, choice)
        one, per_question = _carry(arrays.rows, path, weights, settings)
        found.append(one)
        maps += _maps(one, per_question)
    notes = () if found else ("no layer tells candidates apart: not computed",)
    return MeasureResult(
        *about,
        {"penalty": {h: c.penalty for h, c in chosen.items()}, "seed": settings.seed},
        notes,
        maps=tuple(maps),
        tables=(_table(found),) if found else (),
        facts={"step_transfer": {one.head: one for one in found}},
    )


def _carry(
    rows: Rows,
    path: ChosenPath,
    weights: Float[np.ndarray, "draw question"],
    settings: AnalysisSettings,
) -> tuple[StepTransfer, Float[np.ndarray, "train test some"]]:
    """Train at every chosen step and read at every other."""
    at = log_spaced(path.steps)
    features = [path.features(i) for i in at]
    report = confirmatory(len(rows.question_ids))
    table = np.stack(
        [
            right_pairs(
                rows,
                transfer_predictions(
                    contrasts(path.groups, x), features, path.groups, path.right,
                    path.choice.penalty,
                ),
            )[:, report]
            for x in features
        ]
    )  # fmt: skip
    rng = np.random.default_rng([settings.seed, 20])
    cosines = cross_cosines(rows, features, path.choice.penalty, rng)
    lost = table[-1, -1] - table[0, -1]
    low, high = interval(half_weights(weights, report) @ lost)
    one = StepTransfer(
        path.head, path.choice.layer, path.steps[at], table.mean(axis=2), float(lost.mean()),
        (float(low), float(high)),
        chance_pairs(path, at[-1], report, settings.permutations, rng),
        cosines, turn(rows, path, rng, cosines),
    )  # fmt: skip
    return one, table


def _maps(one: StepTransfer, table: Float[np.ndarray, "train test some"]) -> tuple[Map, Map]:
    """Draw right pairs and cosines, training step by reading step."""
    layer, head = layer_label(one.layer), one.head
    labels = [str(int(step)) for step in one.steps]
    lines = [
        question_series("probe_carried", "right pairs", "share", "representation", one.steps,
                        values, head=head)
        for values in table
    ]  # fmt: skip
    carried = layer_map(
        lines,
        None,
        map_id=f"probe_carried.{head}",
        title=f"Right pairs of carried probes, layer {layer}, {head} head",
        control=f"Chance .5; 95 % of permuted labels stay below {one.chance:.3f} at the last step.",
        caption="Row: step the probe was trained at. Column: step it reads, on questions it never"
        " saw.",
        row_name="step",
        row_labels=labels,
    )
    agree = [
        Series("probe_cosine", "cosine", "cosine", "representation", one.steps, values, head=head)
        for values in one.cosines
    ]  # fmt: skip
    cosine = layer_map(
        agree,
        None,
        map_id=f"probe_cosine.{head}",
        title=f"Cosine of probe directions, layer {layer}, {head} head",
        control=f"The same step against itself, on other questions, reaches"
        f" {one.cosines.diagonal().min():.2f} to {one.cosines.diagonal().max():.2f}.",
        caption="Probes of two steps, always trained on different halves of the questions.",
        row_name="step",
        row_labels=labels,
    )
    return carried, cosine


def _table(found: Sequence[StepTransfer]) -> Table:
    """List what the base's and the last probe read, and how far they turned."""
    rows = [
        [one.head, layer_label(one.layer), float(one.pairs[0, 0]), float(one.pairs[0, -1]),
         float(one.pairs[-1, -1]), float(one.pairs[-1, 0]), one.loss, *one.loss_interval,
         one.chance, one.turn.cosine, one.turn.ceiling, one.turn.corrected, *one.turn.interval]
        for one in found
    ]  # fmt: skip
    columns = [
        column("head", "head", kind="text"),
        column("layer", "layer", kind="text"),
        column("base_base", "base probe at the base", "right pairs"),
        column("base_last", "base probe at the last step", "right pairs"),
        column("last_last", "last probe at the last step", "right pairs"),
        column("last_base", "last probe at the base", "right pairs"),
        column("loss", "what the base probe loses", "right pairs"),
        column("loss_low", "loss, low", "right pairs"),
        column("loss_high", "loss, high", "right pairs"),
        column("chance", "95 % of permuted labels below", "right pairs"),
        column("cosine", "cosine, base and last"),
        column("ceiling", "split-half ceiling"),
        column("corrected", "cosine over ceiling"),
        column("corrected_low", "low"),
        column("corrected_high", "high"),
    ]
    caption = (
        "Layer and penalty chosen on the questions with even numbers, values of those with odd"
        " numbers. Loss: 95 % question bootstrap. Cosine over ceiling: 1 where noise alone sets the"
        " probes apart; jackknife over ten groups of questions."
    )
    return Table("step_transfer", "Base probe and last probe", caption, columns, rows)
