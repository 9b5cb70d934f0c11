"""Measure `side_effects`: what training changes beside the questions it is about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from .bootstrap import interval, question_weights, shared_weights
from .charts import curve, numbers
from .contexts import InContext, missing_steps, other_tasks
from .curves import available_modes, base_scores, combine, top_hits
from .inputs import RunArrays, chance, check_rows, question_count
from .lora_geometry import cross_inner
from .noise_scale import noise_scale, noise_scale_draws
from .results import BOOTSTRAP, Curve, MeasureResult, Table, column
from .series import question_series
from .settings import AnalysisSettings

ABOUT = (
    "How far each head drifts from the base model where nothing was to be learned: on neutral"
    " text, on the questions themselves, and on another task. A head that damages the rest of the"
    " model can raise accuracy for the wrong reason."
)

COMMAND = "probe effects RUN --text FILE"
"""How to collect what is missing."""

MOST_POINTS = 200
"""Points of the training log that are drawn."""

OVER_TEXTS = "95 % bootstrap over texts"
OVER_EXAMPLES = "95 % bootstrap over examples"


@dataclass(frozen=True, slots=True)
class _Line:
    """One quantity of one head, with its chart."""

    group: str
    head: str
    unit: str
    steps: Int[np.ndarray, " step"]
    value: Float[np.ndarray, " step"]
    band: tuple[Float[np.ndarray, " step"], Float[np.ndarray, " step"]] | None
    interval: str | None
    n: int = 0
    """Questions behind each value, 0 where it is no mean over questions."""
    note: str = ""
    """What is said after the caption of its chart."""


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
        "Perplexity of held-out text",
        "Exponential of the mean negative log-likelihood per token. Above the base's level the"
        " head has become a worse model of ordinary text.",
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
        " value where the signal is not told from zero. The interval resamples the examples'"
        " norms and keeps that of the mean gradient, so it is too narrow where the value is above"
        " the number of examples.",
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
    lines = [line for head in arrays.heads for line in _effects(arrays, head, settings)]
    collected = bool(lines or tasks)
    for head in arrays.heads:
        lines += _update(arrays, head) if collected else []
        lines += _gradients(arrays, head)
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


def _effects(arrays: RunArrays, head: str, settings: AnalysisSettings) -> list[_Line]:
    """Return every stored side effect of one head."""
    lines = []
    steps, found = _stored(arrays, head, "kl_text", "tokens_text")
    if found:
        value, band = _over_texts(found["kl_text"] * found["tokens_text"], found, settings)
        lines.append(_Line("kl_text", head, "nats per token", steps, value, band, OVER_TEXTS))
    steps, found = _stored(arrays, head, "nll_text", "tokens_text")
    if found:
        value, band = _over_texts(found["nll_text"], found, settings)
        edges = np.exp(band[0]), np.exp(band[1])
        note = f"{found['nll_text'].shape[1]} texts."
        lines.append(
            _Line("perplexity", head, "perplexity", steps, np.exp(value), edges, OVER_TEXTS,
                  note=note)
        )  # fmt: skip
    steps, found = _stored(arrays, head, "kl_question")
    if found:
        lines.append(_kl_question(arrays, head, steps, found["kl_question"], settings))
    steps, found = _stored(arrays, head, "gradient_sq", "gradient_mean_sq")
    if found:
        lines.append(_noise(head, steps, found, settings))
    return lines


def _stored(
    arrays: RunArrays, head: str, *names: str
) -> tuple[Int[np.ndarray, " step"], dict[str, np.ndarray]]:
    """Return the steps, in order, at which all of these were measured, and their values."""
    tables, steps = arrays.effects(head), np.asarray(arrays.effect_steps(head))
    if not set(names) <= set(tables):
        return np.zeros(0, dtype=np.int64), {}
    chosen = {name: np.asarray(tables[name], dtype=np.float64) for name in names}
    whole = [np.isfinite(table.reshape(steps.size, -1)).all(axis=1) for table in chosen.values()]
    kept = np.flatnonzero(np.all(whole, axis=0))
    kept = kept[np.argsort(steps[kept], kind="stable")]
    if not kept.size:
        return np.zeros(0, dtype=np.int64), {}
    return steps[kept], {name: table[kept] for name, table in chosen.items()}


def _over_texts(
    sums: Float[np.ndarray, "step text"],
    found: Mapping[str, Float[np.ndarray, "step ..."]],
    settings: AnalysisSettings,
) -> tuple[Float[np.ndarray, " step"], tuple[np.ndarray, np.ndarray]]:
    """Return sums per token over all texts, with an interval over resampled texts."""
    tokens = found["tokens_text"]
    rng = np.random.default_rng([settings.seed, 7])
    weights = question_weights(tokens.shape[1], settings.draws, rng)
    draws = (weights @ sums.T) / (weights @ tokens.T)
    return sums.sum(axis=1) / tokens.sum(axis=1), interval(draws)


def _kl_question(
    arrays: RunArrays,
    head: str,
    steps: Int[np.ndarray, " step"],
    values: Float[np.ndarray, "step question"],
    settings: AnalysisSettings,
) -> _Line:
    """Return divergence on the questions, on the resamples of every other measure."""
    count = question_count(arrays.rows)
    rng = np.random.default_rng([settings.seed, 8])
    same = values.shape[1] == count
    weights = (
        shared_weights(count, settings)
        if same
        else question_weights(values.shape[1], settings.draws, rng)
    )
    band = interval(weights @ values.T)
    unit, n = "nats per token", values.shape[1]
    return _Line("kl_question", head, unit, steps, values.mean(axis=1), band, BOOTSTRAP, n)


def _noise(
    head: str,
    steps: Int[np.ndarray, " step"],
    found: Mapping[str, Float[np.ndarray, "step ..."]],
    settings: AnalysisSettings,
) -> _Line:
    """Return the gradient noise scale with an interval over examples."""
    single, mean = found["gradient_sq"], found["gradient_mean_sq"].reshape(steps.size)
    rng = np.random.default_rng([settings.seed, 9])
    weights = question_weights(single.shape[1], settings.draws, rng)
    value = noise_scale(single, mean).value
    draws = np.where(np.isnan(value), 0.0, noise_scale_draws(single, mean, weights))
    # A draw without a signal is one whose noise is beyond any bound.
    low, high = interval(np.where(np.isnan(draws), np.finfo(np.float64).max, draws))
    hidden = np.isnan(value)
    high = np.where(high > 1e300, np.nan, high)
    band = np.where(hidden, np.nan, low), np.where(hidden, np.nan, high)
    note = f"From {single.shape[1]} examples."
    return _Line("noise_scale", head, "examples", steps, value, band, OVER_EXAMPLES, note=note)


def _update(arrays: RunArrays, head: str) -> list[_Line]:
    """Return the norm of the low-rank update, where adapters have factors."""
    steps, path = np.asarray(arrays.steps(head)), arrays.adapters(head)
    if not path or len(path) != steps.size:
        return []
    order = np.argsort(steps, kind="stable")
    path = [path[i] for i in order]
    squares = np.sum([cross_inner(path, path, name) for name in sorted(path[0])], axis=0)
    value = np.sqrt(np.maximum(squares, 0.0))
    return [_Line("update_norm", head, "norm", steps[order], value, None, None)]


def _gradients(arrays: RunArrays, head: str) -> list[_Line]:
    """Return the gradient norm of the training log, thinned."""
    log = arrays.training_log(head)
    if "gradient_norm" not in log or not len(log["gradient_norm"]):
        return []
    steps, value = np.asarray(log["step"]), np.asarray(log["gradient_norm"], dtype=np.float64)
    every = -(-steps.size // MOST_POINTS)
    note = f"Every {every}th of {steps.size} steps; the log has all." if every > 1 else ""
    kept = slice(every - 1, None, every)
    return [_Line("gradient_norm", head, "norm", steps[kept], value[kept], None, None, note=note)]


def _drawn(line: _Line, arrays: RunArrays) -> Curve:
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
    _, base = _stored(arrays, "base", "nll_text", "tokens_text")
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
            f"task.{task.name}.{mode}", f"accuracy on the task “{task.name}”, {mode}",
            "share of questions", "accuracy", found.steps, top_hits(task.rows, found.values).value,
            mode=mode,
        )  # fmt: skip
        caption = (
            "Share of right answers to questions of a task that no head was trained on. Only the"
            " distance to the base's level is an effect of training."
        )
        if one.value.size:
            drawn.append(
                curve(one, weights, arrays.batch_size, group=f"task.{task.name}", label=mode,
                      caption=caption, references=levels)
            )  # fmt: skip
    return drawn


def _table(lines: Sequence[_Line]) -> Table:
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
    caption = "Intervals: 95 %, over texts, questions or examples as the charts say."
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
