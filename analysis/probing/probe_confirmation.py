"""Measure `probe_confirmation`: do other kinds of probe agree with the ridge?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from critical_phase.analysis.charts import layer_label
from critical_phase.analysis.inference.bootstrap import interval, question_weights, shared_weights
from critical_phase.analysis.inputs import Rows, RunArrays, question_count
from critical_phase.analysis.probing.chosen_path import ChosenPath, chosen_path, half_weights
from critical_phase.analysis.probing.held_out import (
    MASS_MEAN,
    STRENGTHS,
    logit_features,
    logit_scores,
    row_logistic_scores,
    whole_folds,
)
from critical_phase.analysis.probing.linear_probe import (
    Rotated,
    expected_hits,
    expected_pairs,
    loqo_predictions,
    rotate,
)
from critical_phase.analysis.probing.linear_probes import linear_probes
from critical_phase.analysis.probing.online_code import online_code
from critical_phase.analysis.probing.probe_choice import confirmatory
from critical_phase.analysis.probing.prober import permuted_choices
from critical_phase.analysis.probing.question_blocks import contrasts
from critical_phase.analysis.results import MeasureResult, Table, column
from critical_phase.analysis.scores.margin import right_pairs
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.states.activations import has_residuals

ABOUT = (
    "The same layer read in four ways: ridge (the probe of all other figures), conditional logit (a"
    " softmax over the candidates of a question), scikit-learn's logistic regression of single rows"
    " and the mass-mean direction. Layer and penalties are chosen on the questions with even"
    " numbers, values are of those with odd numbers, each scored by a probe that never saw its"
    " question. Compression says how much shorter the right answers can be told with the states at"
    " hand: 1 is nothing, below 1 is worse than nothing."
)

METHODS = ("ridge", "conditional logit", "logistic regression", "mass-mean")


@dataclass(frozen=True, slots=True)
class Confirmed:
    """One kind of probe at one checkpoint, on the questions that report."""

    head: str
    layer: int
    step: int
    method: str
    top1: float
    top1_interval: tuple[float, float]
    pairs: float
    pairs_interval: tuple[float, float]
    whole: float
    """Share of questions with every pair right (K*)."""
    p: float | None
    """Of the right pairs under permuted labels; None where permuting costs too much."""
    compression: float | None
    compression_interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class _Cell:
    """Everything that the kinds of probe share at one checkpoint."""

    rows: Rows
    path: ChosenPath
    at: int
    keep: Bool[np.ndarray, " question"]
    half: Float[np.ndarray, "draw some"]
    permuted: list[Int[np.ndarray, "_q label"]]


def probe_confirmation(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Fit four kinds of probe at the base, around the jump and at the last step."""
    about = (
        "probe_confirmation",
        "Other kinds of probe",
        ABOUT,
        "2310.06824 (mass-mean), 2003.12298 (online code); docs/methods.md, probes",
    )
    if not has_residuals(arrays):
        return MeasureResult(*about, {}, ("no hidden states were given: not computed",))
    before = done["linear_probes"] if done and "linear_probes" in done else None
    chosen = (before or linear_probes(arrays, settings)).facts.get("choice", {})
    weights = shared_weights(question_count(arrays.rows), settings)
    keep = confirmatory(question_count(arrays.rows))
    rng = np.random.default_rng([settings.seed, 23])
    main = "negative" if "negative" in chosen else next(iter(chosen), "")
    found: list[Confirmed] = []
    for head, choice in chosen.items():
        path = chosen_path(arrays, head, choice)
        permuted = permuted_choices(path.groups, settings.permutations, rng)
        places = _places(path.steps, _jump(done)) if head == main else [path.steps.size - 1]
        for at in places:
            cell = _Cell(arrays.rows, path, at, keep, half_weights(weights, keep), permuted)
            found += _confirm(cell, rng)
    return MeasureResult(
        *about,
        {"permutations": settings.permutations, "strengths": list(STRENGTHS)},
        () if found else ("no layer tells candidates apart: not computed",),
        tables=(_table(found),) if found else (),
        facts={"confirmed": found},
    )


def _jump(done: Mapping[str, MeasureResult] | None) -> float | None:
    """Return the place of the accuracy jump, None where there is none."""
    if not done or "change_points" not in done:
        return None
    facts = done["change_points"].facts
    change = facts["changes"].get(f"accuracy.{facts['primary']}")
    return float(change.tau) if change is not None and change.test.found else None


def _places(steps: Int[np.ndarray, " step"], jump: float | None) -> list[int]:
    """Return the places of the first, the last and the checkpoints around the jump."""
    around = [] if jump is None else [int(np.searchsorted(steps, jump)) + i for i in (-1, 0)]
    wanted = {0, *around, steps.size - 1}
    return sorted(at for at in wanted if 0 <= at < steps.size)


def _confirm(cell: _Cell, rng: np.random.Generator) -> list[Confirmed]:
    """Fit every kind of probe at one checkpoint."""
    x = np.asarray(cell.path.features(cell.at), dtype=np.float64)
    rotated = rotate(contrasts(cell.path.groups, x), len(x))
    if rotated.scale <= 1e-12 * max(float((x**2).mean()), 1e-300):
        return []
    linear = {"ridge": cell.path.choice.penalty, "mass-mean": MASS_MEAN}
    nulls = {name: _null(cell, rotated, penalty) for name, penalty in linear.items()}
    scores = {
        name: loqo_predictions(rotated, cell.path.groups, cell.path.right, [penalty])[0, :, 0]
        for name, penalty in linear.items()
    }
    fold, features = whole_folds(cell.rows, rng), logit_features(cell.rows, x)
    scores["conditional logit"] = _best(cell, logit_scores(cell.rows, features, fold))
    scores["logistic regression"] = _best(cell, row_logistic_scores(cell.rows, features, fold))
    order = rng.permutation(len(cell.rows.question_ids))
    code = online_code(cell.rows, features, STRENGTHS, order)
    low, high = interval(code.draws(question_weights(order.size, len(cell.half), rng)))
    made = []
    for method in METHODS:
        null = nulls.get(method, nulls["ridge"])
        own = method == "conditional logit"
        made.append(
            _describe(
                cell, method, scores[method], null, exact=method in linear,
                code=(code.compression, (float(low), float(high))) if own else None,
            )
        )  # fmt: skip
    return made


def _best(cell: _Cell, scores: Float[np.ndarray, "strength row"]) -> Float[np.ndarray, " row"]:
    """Take the strength with most right pairs on the questions that choose."""
    level = right_pairs(cell.rows, scores)[:, ~cell.keep].mean(axis=1)
    return np.asarray(scores[int(np.argmax(level))])


@dataclass(frozen=True, slots=True)
class _Null:
    """Permuted labels at one checkpoint."""

    pairs: Float[np.ndarray, " permutation"]
    widen: tuple[float, float]
    """How much wider top-1 and pairs spread than independent questions would."""


def _null(cell: _Cell, rotated: Rotated, penalty: float) -> _Null:
    """Fit permuted labels, and compare their spread with that of independent questions."""
    groups = cell.path.groups
    guess = loqo_predictions(rotated, groups, cell.permuted, [penalty])
    tables = [
        found(guess, groups, cell.permuted)[0, cell.keep]
        for found in (expected_hits, expected_pairs)
    ]
    widen = [_widen(one) for one in tables]
    return _Null(tables[1].mean(axis=0), (widen[0], widen[1]))


def _widen(table: Float[np.ndarray, "question label"]) -> float:
    """Return the spread of the mean over permutations by that of independent questions."""
    single = table.std(axis=0).mean() / np.sqrt(len(table))
    return float(max(1.0, table.mean(axis=0).std() / single)) if single > 0 else 1.0


def _describe(
    cell: _Cell,
    method: str,
    scores: Float[np.ndarray, " row"],
    null: _Null,
    *,
    exact: bool,
    code: tuple[float, tuple[float, float]] | None,
) -> Confirmed:
    """Give values with intervals that are as wide as permuted labels say."""
    line = scores.astype(np.float64)[None]
    groups, right = cell.path.groups, cell.path.right
    hits = expected_hits(line[:, :, None], groups, right)[0, cell.keep, 0]
    pairs = right_pairs(cell.rows, line)[0, cell.keep]
    p = float((1 + np.sum(null.pairs >= pairs.mean() - 1e-12)) / (1 + null.pairs.size))
    return Confirmed(
        cell.path.head, cell.path.choice.layer, int(cell.path.steps[cell.at]), method,
        float(hits.mean()), _wide(hits, cell.half, null.widen[0]),
        float(pairs.mean()), _wide(pairs, cell.half, null.widen[1]), float((pairs == 1).mean()),
        p if exact else None, None if code is None else code[0], None if code is None else code[1],
    )  # fmt: skip


def _wide(
    values: Float[np.ndarray, " question"], half: Float[np.ndarray, "draw some"], factor: float
) -> tuple[float, float]:
    """Widen the question bootstrap around the value, within 0 and 1."""
    low, high = interval(half @ values)
    mean = float(values.mean())
    return (
        max(0.0, mean - factor * (mean - float(low))),
        min(1.0, mean + factor * (float(high) - mean)),
    )


def _table(found: Sequence[Confirmed]) -> Table:
    """List every kind of probe at every checkpoint."""
    rows = [
        [one.head, layer_label(one.layer), one.step, one.method, one.top1, *one.top1_interval,
         one.pairs, *one.pairs_interval, one.whole, one.p, one.compression,
         *(one.compression_interval or (None, None))]
        for one in found
    ]  # fmt: skip
    columns = [
        column("head", "head", kind="text"),
        column("layer", "layer", kind="text"),
        column("step", "step", "step"),
        column("method", "probe", kind="text"),
        column("top1", "top-1", "share"),
        column("top1_low", "top-1, low", "share"),
        column("top1_high", "top-1, high", "share"),
        column("pairs", "right pairs (K)", "share"),
        column("pairs_low", "K, low", "share"),
        column("pairs_high", "K, high", "share"),
        column("whole", "all pairs right (K*)", "share"),
        column("p", "p of K", kind="p"),
        column("compression", "compression"),
        column("compression_low", "compression, low"),
        column("compression_high", "compression, high"),
    ]
    caption = (
        "Questions with odd numbers, never used to choose. Intervals: question bootstrap, widened"
        " by as much as top-1 and K of permuted labels spread more than independent questions would"
        " (probes share their training rows, so binomial intervals are too narrow). p: permuted"
        " labels at this cell, not adjusted. K* is top-1 where nothing ties. Compression: all"
        " questions in one random order, intervals without sending again."
    )
    return Table("probe_confirmation", "Other kinds of probe", caption, columns, rows)
