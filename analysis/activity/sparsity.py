"""Measure `sparsity`: how concentrated MLP activations are, with and without massive dimensions."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.charts import curve, layer_map
from critical_phase.analysis.inference.bootstrap import interval, shared_weights
from critical_phase.analysis.inputs import RunArrays, mean_by_question, question_count
from critical_phase.analysis.results import Curve, Map, MeasureResult, Table, column
from critical_phase.analysis.scores.curves import base_scores
from critical_phase.analysis.scores.margin import by_label, margins
from critical_phase.analysis.series import Series, question_series
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.states.activations import sorted_steps

ABOUT = (
    "Concentration of the absolute MLP activations at the end of the answer: Hoyer, Gini,"
    " participation ratio, kurtosis and others, with and without massive dimensions (_trimmed)."
    " Harder questions are reported to have sparser states (2603.03415): the next section looks"
    " at that. Sparser is not more interpretable."
)

TITLES = {
    "hoyer": ("Hoyer sparsity", "0: all neurons equal; 1: one neuron carries everything."),
    "gini": ("Gini coefficient", "0: all neurons equal; near 1: a few carry everything."),
    "pr": (
        "Participation ratio over width",
        "Share of neurons that carry the energy; low is sparse.",
    ),
    "kurtosis": ("Kurtosis (not excess)", "3 for a normal distribution; higher is sparser."),
    "l0": ("Share above a threshold fixed on the base", "Low is sparse."),
    "top10_energy": (
        "Energy in the largest tenth",
        "1: a tenth of the neurons carries everything.",
    ),
    "l1": ("L1 norm", "Not divided by the length: it follows the scale too. Low is sparse."),
    "effective_rank": ("Effective rank over width", "1: all neurons equal; low is sparse."),
    "l0_own": ("Share above its own mean + 1 sd", "Low is sparse."),
    "top1_energy": ("Energy in the largest 1 %", "1: they carry everything."),
    "top5_energy": ("Energy in the largest 5 %", "1: they carry everything."),
    "top7_energy": ("Energy in the largest 7 %", "1: they carry everything."),
}
"""What each metric is called, and which way is sparse (docs/methods.md)."""

TESTED = ("hoyer",)
"""Metrics whose changes enter the ranked table and are drawn; the others are maps only."""


def sparsity(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Follow every stored sparsity metric of every layer over training."""
    about = (
        "sparsity",
        "Sparsity",
        ABOUT,
        "Hoyer, Gini, PR, kurtosis: docs/methods.md; 2603.03415",
    )
    weights = shared_weights(question_count(arrays.rows), settings)
    curves: list[Curve] = []
    maps: list[Map] = []
    series: list[Series] = []
    rows: list[list[object]] = []
    beside: set[str] = set()
    for head in arrays.heads:
        order, steps = sorted_steps(arrays, head)
        for name, values in arrays.sparsity(head).items():
            if name.removesuffix("_trimmed") not in TITLES:
                beside.add(name)
                continue
            each = np.asarray(values[order], dtype=np.float64)
            group = _series(arrays, head, name, steps, each)
            if not all(s.steps.size for s in group):
                continue
            if name.removesuffix("_trimmed") in TESTED:
                curves += _curves(group, weights, arrays.batch_size)
            maps.append(_map(group, weights, name, head))
            rows += _changes(arrays, head, name, each, weights)
            if name in TESTED:
                series += group
    notes: tuple[str, ...] = () if maps else ("no sparsity was given: not computed",)
    if beside:
        notes += (f"stored and not shown here: {', '.join(sorted(beside))}",)
    return MeasureResult(
        *about,
        {"position": "answer_end", "draws": settings.draws, "seed": settings.seed},
        notes,
        tuple(curves),
        tuple(maps),
        (_table(rows),) if rows else (),
        series=tuple(series),
    )


def _series(
    arrays: RunArrays,
    head: str,
    name: str,
    steps: np.ndarray,
    each: Float[np.ndarray, "step layer row"],
) -> list[Series]:
    """Average the rows of each question, layer by layer."""
    values = mean_by_question(arrays.rows, each)
    return [
        question_series(
            f"sparsity_{name}.{head}",
            f"{titled(name)[0]} of MLP activations, layer {layer}, {head} head",
            name,
            "representation",
            steps,
            values[:, layer],
            head=head,
            layer=layer,
        )
        for layer in range(values.shape[1])
    ]


def titled(name: str) -> tuple[str, str]:
    """Name a metric in words and say which way is sparse."""
    trimmed = name.endswith("_trimmed")
    title, meaning = TITLES.get(name.removesuffix("_trimmed"), (name, ""))
    return (f"{title}, massive dimensions left out" if trimmed else title), meaning


def _curves(
    group: list[Series], weights: Float[np.ndarray, "draw question"], batch_size: int
) -> list[Curve]:
    """Draw one line per layer."""
    return [
        curve(
            s,
            weights,
            batch_size,
            group=s.quantity,
            label=str(s.layer),
            caption="Mean over rows; step 0 is the base model.",
        )
        for s in group
    ]


def _map(
    group: list[Series], weights: Float[np.ndarray, "draw question"], name: str, head: str
) -> Map:
    """Stack the layers."""
    first = [float(s.value[0]) for s in group]
    return layer_map(
        group,
        weights,
        map_id=f"sparsity_{name}.{head}",
        title=f"{titled(name)[0]} of MLP activations, {head} head",
        control=f"At step 0: {min(first):.3g} to {max(first):.3g} over layers.",
        caption=f"{titled(name)[1]} Mean over rows at the end of the answer.",
    )


def _changes(
    arrays: RunArrays,
    head: str,
    name: str,
    each: Float[np.ndarray, "step layer row"],
    weights: Float[np.ndarray, "draw question"],
) -> list[list[object]]:
    """Compare last with first step: overall, right minus wrong, correlated with base margin."""
    hard = margins(arrays.rows, base_scores(arrays)[None])[0]
    result: list[list[object]] = []
    for layer in range(each.shape[1]):
        moved = each[-1, layer] - each[0, layer]
        whole = mean_by_question(arrays.rows, moved)
        right, wrong = by_label(arrays.rows, moved[None])
        gap = (right - wrong)[0]
        low, high = interval(weights @ whole)
        gap_low, gap_high = interval(weights @ gap)
        steady = whole.std() <= 0 or hard.std() <= 0
        slope = float("nan") if steady else float(np.corrcoef(whole, hard)[0, 1])
        result.append(
            [head, name, layer, float(whole.mean()), float(low), float(high),
             float(gap.mean()), float(gap_low), float(gap_high), slope]
        )  # fmt: skip
    return result


def _table(rows: list[list[object]]) -> Table:
    """List the change of every metric."""
    columns = [
        column("head", "head", kind="text"),
        column("metric", "metric", kind="text"),
        column("layer", "layer"),
        column("change", "last minus first"),
        column("low", "low"),
        column("high", "high"),
        column("gap", "right minus wrong"),
        column("gap_low", "low"),
        column("gap_high", "high"),
        column("difficulty", "correlation with base margin"),
    ]
    caption = (
        "95 % question bootstrap. The last column is the correlation of a question's change with"
        " its base margin, over questions."
    )
    return Table("sparsity", "Change of sparsity", caption, columns, rows)
