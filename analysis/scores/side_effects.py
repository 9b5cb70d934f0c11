"""Measure `side_effects`: what training changes beside the questions it is about."""

from collections.abc import Mapping, Sequence

import numpy as np

from critical_phase.analysis.charts import curve, numbers
from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.inputs import RunArrays, chance, check_rows, question_count
from critical_phase.analysis.results import Curve, MeasureResult, Table, column
from critical_phase.analysis.scores.contexts import InContext, missing_steps, other_tasks
from critical_phase.analysis.scores.curves import available_modes, base_scores, combine, top_hits
from critical_phase.analysis.scores.effect_lines import (
    EffectLine,
    effect_lines,
    gradient_norm,
    stored,
    update_norm,
)
from critical_phase.analysis.series import question_series
from critical_phase.analysis.settings import AnalysisSettings

ABOUT = (
    "How far each head drifts from the base model where nothing was to be learned: on neutral"
    " text, on the questions themselves, and on another task. A head that damages the rest of the"
    " model can raise accuracy for the wrong reason."
)

COMMAND = "probe effects RUN --text FILE"
"""How to collect what is missing."""


CHARTS = {
    "kl_text": (
        "Distance to the base on neutral text",
        "KL divergence of the head from the base per token of text that has nothing to do with"
        " the questions, weighted by tokens. Zero means that nothing changed there.",
    ),
    "kl_question": (
        "Distance to the base on the questions",
        "The same divergence on the right answers of the questions, mean over questions.",
    ),
    "perplexity": (
        "Perplexity of neutral text",
        "Exponential of the mean negative log-likelihood per token of the texts given, long ones in"
        " windows. Above the base's level the head has become a worse model of them. The band is"
        " that of the level, not of the distance to the base.",
    ),
    "update_norm": (
        "Size of the update",
        "Frobenius norm of the low-rank update dW over all modules, beside its effects.",
    ),
    "gradient_norm": (
        "Gradient norm in training",
        "Norm of the gradient at each optimizer step, before clipping, as the training log has it.",
    ),
    "noise_scale": (
        "Gradient noise scale",
        "Examples that a step would have to average for its gradient to be as much signal as"
        " noise (simple noise scale); far above the batch size, single steps are mostly noise. No"
        " value where the estimate of the signal is zero or less. Only squared norms are stored,"
        " which give no interval: a value near or above the number of examples may be off by"
        " several times, and one checkpoint is no evidence of a change.",
    ),
}
"""Title and caption of every chart."""


def side_effects(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Describe drift from the base, perplexity, other tasks, update and gradients.

    Args:
        arrays: The run.
        settings: Modes, weight and resampling sizes.
        done: Results of earlier measures; not needed here.

    Returns:
        Curves and a table of first and last values; warnings name what was not collected.
    """
    check_rows(arrays.rows)
    tasks = other_tasks(arrays)
    lines = [line for head in arrays.heads for line in effect_lines(arrays, head, settings)]
    collected = bool(lines or tasks)
    for head in arrays.heads:
        lines += update_norm(arrays, head) if collected else []
        lines += gradient_norm(arrays, head)
    order = list(CHARTS)
    lines.sort(key=lambda line: order.index(line.group))
    drawn = [_drawn(line, arrays) for line in lines]
    return MeasureResult(
        "side_effects",
        "Side effects",
        ABOUT,
        "gradient noise scale 1812.06162, appendix A",
        {"weight": settings.weight, "draws": settings.draws},
        _notes(arrays, tasks),
        (*drawn, *(c for task in tasks for c in _task(task, arrays, settings))),
        tables=(_table(lines),) if lines else (),
    )


def _drawn(line: EffectLine, arrays: RunArrays) -> Curve:
    """Draw one line."""
    title, caption = CHARTS[line.group]
    return Curve(
        f"{line.group}.{line.head}",
        f"{title}, {line.head} head",
        line.unit,
        line.group,
        line.head,
        [int(s) for s in line.steps],
        [int(s) * arrays.batch_size for s in line.steps],
        numbers(line.value),
        f"{caption} {line.note}".strip(),
        line.n,
        line.head,
        low=None if line.band is None else numbers(line.band[0]),
        high=None if line.band is None else numbers(line.band[1]),
        interval=line.interval,
        references=_levels(line.group, arrays),
    )


def _levels(group: str, arrays: RunArrays) -> list[dict[str, object]]:
    """Return the level lines of a chart."""
    if group == "noise_scale":
        return [{"label": "batch size", "value": float(arrays.batch_size)}]
    _, base = stored(arrays, "base", "nll_text", "tokens_text")
    if group != "perplexity" or not base:
        return []
    return [
        {
            "label": "base",
            "value": float(np.exp(base["nll_text"].sum() / base["tokens_text"].sum())),
        }
    ]


def _task(task: InContext, arrays: RunArrays, settings: AnalysisSettings) -> list[Curve]:
    """Draw accuracy on another task, on resamples of its own questions."""
    weights = shared_weights(question_count(task.rows), settings)
    base = top_hits(task.rows, base_scores(task)[None]).value
    levels = [{"label": "chance", "value": chance(task.rows)}]
    levels += [{"label": "base", "value": float(base.mean())}] if np.isfinite(base).all() else []
    drawn = []
    for mode in available_modes(task.heads, settings.modes):
        found = combine(task, mode, settings.weight)
        one = question_series(
            f"task.{task.name}.{mode}", f"accuracy on {_task_name(task.name)}, {mode}",
            "share of questions", "accuracy", found.steps, top_hits(task.rows, found.values).value,
            mode=mode,
        )  # fmt: skip
        caption = (
            "Share of right answers to questions of a task other than the run's own. Only the"
            " distance to the base's level is an effect of training."
        )
        if one.value.size:
            drawn.append(
                curve(one, weights, arrays.batch_size, group=f"task.{task.name}", label=mode,
                      caption=caption, references=levels)
            )  # fmt: skip
    return drawn


def _task_name(name: str) -> str:
    """Name another task; the one that `probe effects` stores has no name of its own."""
    return "the second task" if name == "second" else f"the task “{name}”"


def _table(lines: Sequence[EffectLine]) -> Table:
    """List first and last value of everything that is drawn."""
    rows: list[list[object]] = []
    for line in lines:
        seen = np.flatnonzero(np.isfinite(line.value))
        if not seen.size:
            rows.append([CHARTS[line.group][0], line.head, None, None, None, None, line.unit])
            continue
        first, last = int(seen[0]), int(seen[-1])
        band = None if line.band is None else [float(edge[last]) for edge in line.band]
        rows.append([
            CHARTS[line.group][0], line.head, float(line.value[first]), float(line.value[last]),
            band, int(line.steps[last]), line.unit,
        ])  # fmt: skip
    columns = [
        column("quantity", "quantity", kind="text"),
        column("head", "head", kind="text"),
        column("first", "first"),
        column("last", "last"),
        column("last_interval", "interval of the last"),
        column("step", "last at", "step"),
        column("unit", "unit", kind="text"),
    ]
    caption = "Intervals: 95 %, over texts or questions as the charts say."
    return Table("side_effects", "First and last", caption, columns, rows)


def _notes(arrays: RunArrays, tasks: Sequence[InContext]) -> tuple[str, ...]:
    """Say what was not collected, and with which command it would be."""
    without = [head for head in arrays.heads if not arrays.effects(head)]
    notes = []
    if without == list(arrays.heads):
        notes.append(
            "drift from the base, perplexity and gradient noise were not collected;"
            f" {COMMAND} collects them, with --second FILE another task too"
        )
    elif without:
        notes.append(f"no side effects of head {', '.join(without)}; {COMMAND} collects them")
    elif not tasks:
        notes.append(f"no other task was scored; {COMMAND} --second FILE scores one")
    for head in arrays.heads:
        have, wanted = arrays.effect_steps(head), arrays.steps(head)
        if head not in without and not np.isin(wanted, have).all():
            notes.append(
                f"{head}: side effects were measured at {have.size} of {wanted.size} steps"
            )
    return (*notes, *missing_steps(tasks))
