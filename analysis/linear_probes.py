"""Measure `linear_probes`: can a line in the hidden states tell the right candidate?"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .activations import SKIPPED, base_scale, base_states, has_residuals, states
from .bootstrap import shared_weights
from .charts import curve, layer_label, layer_map
from .inputs import Rows, RunArrays, chance, question_count
from .linear_probe import PENALTIES, Probe, Prober
from .probe_transfer import Transfer, transfer, transfer_table
from .results import Curve, Map, MeasureResult, Table, column
from .series import Series, question_series
from .settings import AnalysisSettings

ABOUT = (
    "Top-1 of a ridge probe that ranks the candidates of questions it never saw, from hidden states"
    " at the end of the answer. It tells what a line can read, not what the model uses. p-values"
    " are max-T over all layers and steps, the right answer permuted within questions; bands"
    " resample the held-out questions without fitting again."
)

WORDS = 32
"""Bins of the bag of words of the surface control."""


@dataclass(frozen=True, slots=True)
class _Cells:
    """Probes of one head over layers and steps."""

    head: str
    series: tuple[Series, ...]
    null: Float[np.ndarray, " permutation"]
    """Largest top-1 over layers and steps, per permutation."""
    probes: dict[tuple[int, int], Probe]


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
    cells = [_head_cells(arrays, head, prober, start) for head in arrays.heads]
    cells = [one for one in cells if one.series]
    notes = [SKIPPED] if "question_end" in arrays.positions else []
    moved = [
        found
        for one in cells
        if (found := _transfer(arrays, one, start, weights, settings)) is not None
    ]
    return MeasureResult(
        *about,
        {"penalties": list(PENALTIES), "permutations": settings.permutations,
         "position": "answer_end", "seed": settings.seed},
        tuple(notes),
        _curves(cells, weights, arrays, _references(surface, start, arrays.rows)),
        _maps(cells, weights, arrays.rows, surface),
        (_probe_table(cells, surface, start), transfer_table(moved)),
        series=tuple(s for one in cells for s in one.series),
        facts={"transfer": moved},
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


def surface_features(rows: Rows) -> Float[np.ndarray, "row feature"]:
    """Return what shows without a model: length, tokens and hashed words of the candidate."""
    words = np.zeros((rows.question.size, WORDS))
    for at, text in enumerate(rows.texts):
        for word in text.lower().split():
            words[at, zlib.crc32(word.encode()) % WORDS] += 1
    plain = np.stack([rows.characters, rows.tokens, rows.characters**2], axis=1)
    table = np.concatenate([plain.astype(np.float64), words], axis=1)
    spread = table.std(axis=0)
    return np.asarray(table / np.where(spread > 0, spread, 1.0))


def _scaled(arrays: RunArrays, layer: int) -> Float[np.ndarray, "row d"]:
    """Return scaled hidden states of the base."""
    base = base_states(arrays, layer)
    return np.asarray(base / base_scale(arrays.rows, base))


def _head_cells(
    arrays: RunArrays, head: str, prober: Prober, start: Mapping[int, Probe | None]
) -> _Cells:
    """Probe every layer and step of one head; step 0 is the base itself."""
    series, probes = [], {}
    null = np.zeros(prober.permuted.shape[1])
    for layer in arrays.layers:
        if start[layer] is None:
            continue
        scale = base_scale(arrays.rows, base_states(arrays, layer))
        steps, path = states(arrays, head, layer)
        for t, step in enumerate(steps):
            x = np.asarray(path[t], dtype=np.float64) / scale
            probe = start[layer] if step == 0 else prober.probe(x)
            if probe is not None:
                probes[layer, t] = probe
                null = np.maximum(null, probe.null)
        hits = np.array(
            [
                probes[layer, t].top1 if (layer, t) in probes else np.full(prober.questions, np.nan)
                for t in range(steps.size)
            ]
        )
        title = f"probe top-1, layer {layer_label(layer)}, {head} head"
        series.append(
            question_series(
                f"probe_top1.{head}", title, "share", "representation", steps, hits,
                head=head, layer=layer,
            )
        )  # fmt: skip
    return _Cells(head, tuple(series), null, probes)


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
    cells: Sequence[_Cells], surface: Probe | None, start: Mapping[int, Probe | None]
) -> Table:
    """List base, best and last step of every layer with max-T p and selectivity."""
    look = float("nan") if surface is None else float(surface.top1.mean())
    rows = []
    for one in cells:
        for s in one.series:
            base = start[s.layer if s.layer is not None else 0]
            first = float("nan") if base is None else float(base.top1.mean())
            best, last = int(np.argmax(s.value)), float(s.value[-1])
            rows.append(
                [one.head, layer_label(s.layer or 0), first, float(s.value[best]),
                 int(s.steps[best]), last, last - look,
                 _adjusted(float(s.value[best]), one.null), _adjusted(last, one.null)]
            )  # fmt: skip
    columns = [
        column("head", "head", kind="text"),
        column("layer", "layer", kind="text"),
        column("base", "base", "share"),
        column("best", "best", "share"),
        column("best_step", "best at", "step"),
        column("last", "last", "share"),
        column("selectivity", "selectivity (last minus surface)", "share"),
        column("p_best", "p of best", kind="p"),
        column("p_last", "p of last", kind="p"),
    ]
    caption = "p is max-T over layers and steps. Selectivity subtracts the surface features."
    return Table("probes", "Probes", caption, columns, rows)


def _transfer(
    arrays: RunArrays,
    one: _Cells,
    start: Mapping[int, Probe | None],
    weights: Float[np.ndarray, "draw question"],
    settings: AnalysisSettings,
) -> Transfer | None:
    """Carry the base's probe over at the layer that reads best at the last step."""
    best = max(one.series, key=lambda s: float(s.value[-1]) if s.value.size else -1.0)
    layer = best.layer if best.layer is not None else 0
    last = max((t for at, t in one.probes if at == layer), default=-1)
    first = start[layer]
    if first is None or last < 0:
        return None
    probes = (first, one.probes[layer, last])
    return transfer(arrays, one.head, layer, probes, weights, settings.weight)
