"""Measure `curvature`: Fisher trace of the answers and sharpness of the loss over training.

Reference: Achille, Rovere & Soatto 2017, 1711.08856; Cohen et al. 2022, 2207.14484;
docs/methods.md.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.charts import curve, layer_map
from critical_phase.analysis.inference.bootstrap import question_weights, shared_weights
from critical_phase.analysis.inputs import RunArrays, question_count
from critical_phase.analysis.jumps.change_point import FEWEST
from critical_phase.analysis.results import Curve, Map, MeasureResult
from critical_phase.analysis.series import Series
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.updates.curvature_series import CurvatureSeries
from critical_phase.analysis.updates.curvature_tables import control_table, peak_table, steps_table
from critical_phase.analysis.updates.llc_series import LlcPoint, point_of, too_wide
from critical_phase.analysis.updates.sharpness_curves import sharpness_curves, unconverged

COMMAND = "probe curvature RUN"

ABOUT = (
    "Fisher trace: the mean squared gradient of log p(answer) with respect to the merged weights"
    " of the adapted modules, over answers that the model itself draws, token by token behind the"
    " true ones; how strongly what the model says depends on those weights. It does not depend on"
    " how B and A are written. A rise and then a fall marked critical periods in 1711.08856."
    " Sharpness: the largest eigenvalue of the Hessian of the head's training loss in the factors"
    " B and A that the optimizer moves; it does depend on how they are written. 2/lr, the limit of"
    " plain gradient descent, is no threshold for Adam; the limit there concerns the Hessian over"
    " Adam's own scaling. No number here shows an instability by itself."
)

FISHER = (
    "Per question's whole answer, nats squared per weight squared, all adapted modules together."
    " The band is over questions and holds the noise of the draws too, which are the same random"
    " numbers at all checkpoints."
)

TRUE = (
    "Squared norm of the gradient of the true answer's log-probability, in the same weights. No"
    " Fisher trace, though often called one: labels are not drawn from the model, so it also falls"
    " wherever the answer becomes likely, and rises where the head turns away from it."
)


def curvature(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Describe Fisher trace and sharpness where they were measured.

    Args:
        arrays: The run.
        settings: Resampling sizes.
        done: Results of earlier measures; not needed.

    Returns:
        Curves and a table of checkpoints per head, a map of modules, peaks, controls; as series
        the Fisher trace, and sharpness where its intervals are narrow enough.
    """
    found = {h: s for h in arrays.heads if (s := arrays.curvature(h)) is not None}
    notes = [
        f"no Fisher trace or sharpness of the {head} head: {COMMAND} --heads {head} measures them"
        for head in arrays.heads
        if head not in found
    ]
    curves: list[Curve] = []
    maps: list[Map] = []
    series: list[Series] = []
    for head, one in found.items():
        weights, paired = _weights(arrays, one, settings)
        fisher = _fisher(head, one)
        curves += [_drawn(fisher, weights, arrays), _drawn(_true(head, one), weights, arrays)]
        curves += sharpness_curves(head, one, arrays)
        maps.append(_modules(head, one, weights))
        ranked, said = _ranked(head, one, fisher, paired=paired)
        series += ranked
        notes += [*said, *unconverged(head, one, arrays)]
    tables = [steps_table(h, one, _weights(arrays, one, settings)[0]) for h, one in found.items()]
    tables += [peak_table(found, settings), control_table(found, settings)] if found else []
    return MeasureResult(
        "curvature",
        "Fisher trace and sharpness",
        ABOUT,
        "1711.08856; 2207.14484; docs/methods.md",
        {head: dict(one.settings) for head, one in found.items()},
        tuple(notes),
        tuple(curves),
        tuple(maps),
        tuple(tables),
        series=tuple(series),
    )


def _weights(
    arrays: RunArrays, one: CurvatureSeries, settings: AnalysisSettings
) -> tuple[Float[np.ndarray, "draw question"], bool]:
    """Return question resamples: those of every other measure where the questions are the same."""
    if one.questions == arrays.rows.question_ids:
        return shared_weights(question_count(arrays.rows), settings), True
    rng = np.random.default_rng([settings.seed, 12])
    return question_weights(len(one.questions), settings.draws, rng), False


def _fisher(head: str, one: CurvatureSeries) -> Series:
    name, title = f"fisher_trace.{head}", f"Fisher trace, {head} head"
    return _series(name, title, head, one, one.fisher)


def _true(head: str, one: CurvatureSeries) -> Series:
    name = f"true_answer_gradient.{head}"
    return _series(name, f"gradient of the true answer, {head} head", head, one, one.true_answer)


def _series(
    name: str,
    title: str,
    head: str,
    one: CurvatureSeries,
    values: Float[np.ndarray, "step question"],
) -> Series:
    unit, mean = "squared gradient norm", values.mean(axis=1)
    return Series(name, title, unit, "weights", one.steps, mean, values, head=head)


def _drawn(line: Series, weights: Float[np.ndarray, "draw question"], arrays: RunArrays) -> Curve:
    """Draw one line with its band over questions."""
    group = line.quantity.split(".")[0]
    caption = FISHER if group == "fisher_trace" else TRUE
    return curve(
        line, weights, arrays.batch_size, group=group, label=str(line.head), caption=caption
    )


def _modules(head: str, one: CurvatureSeries, weights: Float[np.ndarray, "draw question"]) -> Map:
    """Map the parts of the modules."""
    name, title = f"fisher_trace_modules.{head}", f"Fisher trace by module, {head} head"
    rows = [
        _series(name, title, head, one, one.by_module[:, place])
        for place in range(len(one.modules))
    ]
    return layer_map(
        rows,
        weights,
        map_id=name,
        title=title,
        control="The parts of all modules add up to the curve of the head.",
        caption="Part of each adapted module in the Fisher trace, per question's whole answer.",
        row_name="module",
        row_labels=one.modules,
    )


def _ranked(
    head: str, one: CurvatureSeries, fisher: Series, *, paired: bool
) -> tuple[list[Series], list[str]]:
    """Return the series for the ranked table, or say why there is none."""
    if one.steps.size < FEWEST:
        few = f"{head}: {one.steps.size} checkpoints are too few for a change (at least {FEWEST})"
        return [], [f"{few}: {COMMAND} --heads {head} --checkpoints all"]
    said = []
    if not paired:
        said.append(
            f"{head}: the Fisher trace was measured on {len(one.questions)} questions, not on those"
            " of the run, so its change is placed without their bootstrap: leave --questions out"
        )
        fisher = Series(
            fisher.quantity, fisher.title, fisher.unit, fisher.kind, fisher.steps, fisher.value,
            head=head,
        )  # fmt: skip
    points = _points(one.sharpness)
    if not points:
        return [fisher], said
    if wide := too_wide(points):
        said.append(
            f"{head}: intervals of sharpness are {wide}, so no change of it is looked for:"
            " --examples"
        )
        return [fisher], said
    value = np.array([p.value for p in points])
    title = f"sharpness, {head} head"
    line = Series(f"sharpness.{head}", title, "eigenvalue", "weights", one.steps, value, head=head)
    return [fisher, line], said


def _points(table: Float[np.ndarray, "step sample"]) -> list[LlcPoint]:
    """Average samples at every checkpoint; nothing where one has fewer than two numbers."""
    points = [point_of(row) for row in table]
    return points if all(np.isfinite(p.low) for p in points) else []
