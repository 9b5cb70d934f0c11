"""Measure `linear_probes`: can a line in the hidden states tell the right candidate?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.charts import curve, layer_label, layer_map
from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.inputs import Rows, RunArrays, chance, question_count
from critical_phase.analysis.probing.linear_probe import PENALTIES
from critical_phase.analysis.probing.probe_choice import Choice, Chooser, choose, log_spaced
from critical_phase.analysis.probing.probe_transfer import transfer, transfer_table
from critical_phase.analysis.probing.prober import Probe, Prober
from critical_phase.analysis.results import Curve, Map, MeasureResult, Table, column
from critical_phase.analysis.scores.answer_text import repeated_share, surface_features
from critical_phase.analysis.series import Series, question_series
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.states.activations import (
    SKIPPED,
    base_scale,
    base_states,
    has_residuals,
    sorted_steps,
    state_at,
)

ABOUT = (
    "Top-1 of a ridge probe that ranks the candidates of questions it never saw, from hidden states"
    " at the end of the answer. It tells what a line can read, not what the model uses. p-values"
    " are max-T over all layers and steps, the right answer permuted within questions; bands"
    " resample the held-out questions without fitting again."
)


@dataclass(frozen=True, slots=True)
class _Cells:
    """Probes of one head over layers and steps."""

    head: str
    series: tuple[Series, ...]
    null: Float[np.ndarray, " permutation"]
    """Largest top-1 over layers and steps, per permutation."""
    probes: dict[tuple[int, int], Probe]
    choice: Choice | None
    """Layer and penalty chosen on the questions with even numbers."""


def linear_probes(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Fit leave-one-question-out probes at every layer and step of every head."""
    about = ("linear_probes", "Linear probes", ABOUT, "LOQO ridge, docs/methods.md; 1909.03368")
    if not has_residuals(arrays):
        return MeasureResult(*about, {}, ("no hidden states were given: not computed",))
    weights = shared_weights(question_count(arrays.rows), settings)
    prober = Prober(arrays.rows, settings.permutations, np.random.default_rng([settings.seed, 2]))
    surface = prober.probe(surface_features(arrays.rows))
    start = {layer: prober.probe(_scaled(arrays, layer)) for layer in arrays.layers}
    chooser = Chooser(arrays.rows)
    cells = [_head_cells(arrays, head, prober, chooser, start) for head in arrays.heads]
    cells = [one for one in cells if one.series]
    notes = [SKIPPED] if "question_end" in arrays.positions else []
    moved = [
        transfer(arrays, one.head, one.choice, weights, settings.weight)
        for one in cells
        if one.choice is not None
    ]
    return MeasureResult(
        *about,
        {"penalties": list(PENALTIES), "permutations": settings.permutations,
         "position": "answer_end", "seed": settings.seed},
        tuple(notes),
        _curves(cells, weights, arrays, _references(surface, start, arrays.rows)),
        _maps(cells, weights, arrays.rows, surface),
        (_probe_table(cells, surface, start, arrays.rows), transfer_table(moved)),
        series=tuple(s for one in cells for s in one.series),
        facts={
            "transfer": moved,
            "choice": {one.head: one.choice for one in cells if one.choice is not None},
            "surface": surface,
            "null": {one.head: one.null for one in cells},
        },
    )  # fmt: skip


def _curves(
    cells: Sequence[_Cells],
    weights: Float[np.ndarray, "draw question"],
    arrays: RunArrays,
    lines: Sequence[dict[str, object]],
) -> tuple[Curve, ...]:
    """Draw one line per layer, one chart per head."""
    return tuple(
        curve(
            s,
            weights,
            arrays.batch_size,
            group=f"probe_top1.{one.head}",
            label=layer_label(s.layer or 0),
            caption="Probe top-1 over training.",
            references=lines,
        )
        for one in cells
        for s in one.series
    )


def _maps(
    cells: Sequence[_Cells],
    weights: Float[np.ndarray, "draw question"],
    rows: Rows,
    surface: Probe | None,
) -> tuple[Map, ...]:
    """Stack the layers of each head."""
    return tuple(
        layer_map(
            one.series,
            weights,
            map_id=f"probe_top1.{one.head}.answer_end",
            title=f"Probe top-1, {one.head} head",
            control=_control(one, surface, rows),
            caption="Right candidate ranked first by a probe that never saw the question.",
            bounds=(chance(rows), 1.0),
        )
        for one in cells
    )


def _scaled(arrays: RunArrays, layer: int) -> Float[np.ndarray, "row d"]:
    """Return scaled hidden states of the base."""
    base = base_states(arrays, layer)
    return np.asarray(base / base_scale(arrays.rows, base))


def _head_cells(
    arrays: RunArrays,
    head: str,
    prober: Prober,
    chooser: Chooser,
    start: Mapping[int, Probe | None],
) -> _Cells:
    """Probe every layer and step of one head; states equal to the base's are the base."""
    series, probes, levels = [], {}, {}
    null = np.zeros(prober.permutations)
    for layer in arrays.layers:
        if start[layer] is None:
            continue
        base = base_states(arrays, layer)
        scale = base_scale(arrays.rows, base)
        _, steps = sorted_steps(arrays, head)
        looked = set(log_spaced(steps))
        hits = np.full((steps.size, prober.questions), np.nan)
        seen: list[np.ndarray] = []
        for t, step in enumerate(steps):
            now = state_at(arrays, head, layer, int(step))
            same = step == 0 or np.array_equal(now, base)
            x = now / scale
            probe = start[layer] if same else prober.probe(x)
            if t in looked:
                seen.append(chooser.levels(x) if not same or not seen else seen[0])
            if probe is not None:
                probes[layer, t] = probe
                hits[t] = probe.top1
                null = np.maximum(null, probe.null)
        if seen:
            levels[layer] = np.stack(seen)
        title = f"probe top-1, layer {layer_label(layer)}, {head} head"
        series.append(
            question_series(
                f"probe_top1.{head}", title, "share", "representation", steps, hits,
                head=head, layer=layer,
            )
        )  # fmt: skip
    inside = {layer: table for layer, table in levels.items() if layer >= 0}
    return _Cells(head, tuple(series), null, probes, choose(inside or levels))


def _adjusted(value: float, null: Float[np.ndarray, " permutation"]) -> float:
    """Return the max-T p-value of one cell."""
    return float((1 + np.sum(null >= value)) / (1 + null.size))


def _control(one: _Cells, surface: Probe | None, rows: Rows) -> str:
    """Put chance, permutations and surface into one sentence."""
    look = "not defined" if surface is None else f"{surface.top1.mean():.3f}"
    bound = float(np.quantile(one.null, 0.95))
    return (
        f"Chance {chance(rows):.3f}; 95 % of permuted labels stay below {bound:.3f} at every layer"
        f" and step; length and words alone reach {look}."
    )


def _references(
    surface: Probe | None, start: Mapping[int, Probe | None], rows: Rows
) -> list[dict[str, object]]:
    """Return the lines that a probe must beat."""
    lines: list[dict[str, object]] = [{"label": "chance", "value": chance(rows)}]
    if surface is not None:
        lines.append({"label": "surface features", "value": float(surface.top1.mean())})
    best = [float(p.top1.mean()) for p in start.values() if p is not None]
    if best:
        lines.append({"label": "base, best layer", "value": max(best)})
    return lines


def _probe_table(
    cells: Sequence[_Cells],
    surface: Probe | None,
    start: Mapping[int, Probe | None],
    rows: Rows,
) -> Table:
    """List base, best and last step of every layer with max-T p and selectivity."""
    look = float("nan") if surface is None else float(surface.top1.mean())
    lines = []
    for one in cells:
        for s in one.series:
            layer = s.layer if s.layer is not None else 0
            base = start[layer]
            first = float("nan") if base is None else float(base.top1.mean())
            best, last = int(np.argmax(s.value)), float(s.value[-1])
            end = one.probes[max(at for at in one.probes if at[0] == layer)]
            lines.append(
                [one.head, layer_label(layer), first, float(s.value[best]),
                 int(s.steps[best]), last, last - look, end.control, last - end.control,
                 _adjusted(float(s.value[best]), one.null), _adjusted(last, one.null)]
            )  # fmt: skip
    columns = [
        column("head", "head", kind="text"),
        column("layer", "layer", kind="text"),
        column("base", "base", "share"),
        column("best", "best", "share"),
        column("best_step", "best at", "step"),
        column("last", "last", "share"),
        column("selectivity", "last minus surface features", "share"),
        column("control", "control labels, last", "share"),
        column("selectivity_control", "selectivity (last minus control)", "share"),
        column("p_best", "p of best", kind="p"),
        column("p_last", "p of last", kind="p"),
    ]
    again = repeated_share(rows)
    caption = (
        "p is max-T over layers and steps. Control labels are fixed by the candidate's text; "
        f"{100 * again:.0f} % of the candidates come back in another question"
        + (", too few to remember: here the control is a permutation test." if again < 0.5 else ".")
    )
    return Table("probes", "Probes", caption, columns, lines)
