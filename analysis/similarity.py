"""Measure `similarity`: displacement, constant shift and CKA of every layer over training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .activations import SKIPPED, base_states, has_residuals, sorted_steps, states
from .bootstrap import shared_weights
from .charts import curve, layer_label, layer_map, numbers
from .cka import block_cka, block_features, cka_matrix, debiased_cka, plain_block_cka
from .curves import primary_mode
from .displacement import constant_shift, relative_displacement
from .inputs import RunArrays, mean_by_question, question_count
from .results import Curve, Map, MeasureResult
from .series import Series, question_series
from .settings import AnalysisSettings

ABOUT = (
    "How far hidden states moved from the base (relative displacement), how much of the movement is"
    " one vector common to all questions (phi, block form), and how similar the arrangement of"
    " candidates stays (CKA within questions, free of sibling bias). CKA cannot see a constant"
    " vector: 10 sd of common shift leave it at 1, so read displacement first."
)

PARTS = {
    "displacement": ("relative displacement", "share of base norm"),
    "constant_shift": ("constant-shift fraction", "share of squared change"),
    "cka_base": ("CKA within questions to the base", "CKA"),
}
"""Quantities with an interval: name and unit."""

PLAIN = {
    "cka_step": "CKA within questions to the checkpoint before",
    "cka_between": "CKA between questions to the base",
}
"""Quantities without one."""

CAPTIONS = {
    "displacement": "Mean over rows of the norm of the change over the norm of the base state.",
    "constant_shift": "1: every state moved by the same vector; 0: no common part.",
    "cka_base": "1: candidates are arranged as in the base, whatever vector was added to all.",
    "cka_step": "Dips mark checkpoints at which the arrangement of candidates changed.",
    "cka_between": "The same for question means (debiased); independent states give 0.",
}
"""What each quantity means."""

MOST_STEPS = 17
"""Checkpoints of a step by step map."""


def similarity(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Compare hidden states with the base and with the checkpoint before, layer by layer."""
    about = (
        "similarity",
        "Similarity",
        ABOUT,
        "1905.00414; 2405.01012; block form docs/methods.md",
    )
    if not has_residuals(arrays):
        return MeasureResult(*about, {}, ("no hidden states were given: not computed",))
    weights = shared_weights(question_count(arrays.rows), settings)
    tables = {
        head: [_layer(arrays, head, layer) for layer in arrays.layers] for head in arrays.heads
    }
    found_curves, found_maps, series = [], [], []
    for head, layers in tables.items():
        series += [s for layer in layers for s in layer.series]
        found_curves += _curves(layers, weights, arrays.batch_size)
        found_maps += _maps(head, tables, weights)
    found_maps += _step_maps(arrays, settings)
    notes = [SKIPPED] if "question_end" in arrays.positions else []
    fixed = {"position": "answer_end", "draws": settings.draws, "seed": settings.seed}
    return MeasureResult(
        *about, fixed, tuple(notes), tuple(found_curves), tuple(found_maps), series=tuple(series)
    )


@dataclass(frozen=True, slots=True)
class _Layer:
    """All similarities of one layer of one head."""

    series: tuple[Series, ...]
    plain: tuple[Series, ...]
    """CKA to the checkpoint before and CKA of question means; no interval."""


def _layer(arrays: RunArrays, head: str, layer: int) -> _Layer:
    """Walk once through the checkpoints of one layer."""
    rows = arrays.rows
    base = base_states(arrays, layer)
    origin = block_features(rows, base)
    means = mean_by_question(rows, base.T).T
    steps, path = states(arrays, head, layer)
    count = question_count(rows)
    found = {name: np.full((steps.size, count), np.nan) for name in PARTS}
    plain = {name: np.full(steps.size, np.nan) for name in PLAIN}
    before = origin
    for t in range(steps.size):
        now = np.asarray(path[t], dtype=np.float64)
        here = block_features(rows, now)
        found["displacement"][t] = relative_displacement(rows, base, now)
        if steps[t] > 0:
            found["constant_shift"][t] = constant_shift(rows, now - base)[1]
        found["cka_base"][t] = block_cka(origin, here)[1]
        if t:
            plain["cka_step"][t] = plain_block_cka(before, here)
        if count > 3:
            plain["cka_between"][t] = debiased_cka(means, mean_by_question(rows, now.T).T)
        before = here
    series = tuple(
        question_series(
            f"{name}.{head}",
            f"{title}, layer {layer_label(layer)}, {head} head",
            unit,
            "representation",
            steps,
            found[name],
            head=head,
            layer=layer,
        )
        for name, (title, unit) in PARTS.items()
    )
    return _Layer(series, tuple(_plain(n, steps, v, head, layer) for n, v in plain.items()))


def _plain(
    name: str, steps: np.ndarray, value: Float[np.ndarray, " step"], head: str, layer: int
) -> Series:
    """Make a series without questions."""
    title = f"{PLAIN[name]}, {head} head"
    return Series(
        f"{name}.{head}", title, "CKA", "representation", steps, value, head=head, layer=layer
    )


def _curves(
    layers: Sequence[_Layer], weights: Float[np.ndarray, "draw question"], batch_size: int
) -> list[Curve]:
    """Draw every quantity, one chart per quantity and head."""
    return [
        curve(
            series,
            weights,
            batch_size,
            group=series.quantity,
            label=layer_label(series.layer or 0),
            caption=CAPTIONS[series.quantity.split(".")[0]],
        )
        for layer in layers
        for series in (*layer.series, *layer.plain)
        if series.steps.size
    ]


def _maps(
    head: str,
    tables: Mapping[str, Sequence[_Layer]],
    weights: Float[np.ndarray, "draw question"],
) -> list[Map]:
    """Stack the layers of one head."""
    layers, maps = tables[head], []
    for at, (name, (title, _)) in enumerate(PARTS.items()):
        group = [layer.series[at] for layer in layers]
        if not any(s.steps.size for s in group):
            continue
        maps.append(
            layer_map(
                group,
                weights,
                map_id=f"{name}.{head}",
                title=f"{title[0].upper()}{title[1:]}, {head} head",
                control=_control(name, at, head, tables),
                caption=CAPTIONS[name],
                bounds=None if name == "displacement" else (0.0, 1.0),
            )
        )
    for at, (name, title) in enumerate(PLAIN.items()):
        maps.append(
            layer_map(
                [layer.plain[at] for layer in layers],
                None,
                map_id=f"{name}.{head}",
                title=f"{title}, {head} head",
                control="Independent states give 0 on average.",
                caption=f"{CAPTIONS[name]} No interval was computed.",
                bounds=(0.0, 1.0),
            )
        )
    return maps


def _control(name: str, at: int, head: str, tables: Mapping[str, Sequence[_Layer]]) -> str:
    """Say what the other head shows, which is the null of this one."""
    others = [other for other in tables if other != head]
    if not others:
        return "No second head to compare with."
    values = [
        s.value[-1] for s in (layer.series[at] for layer in tables[others[0]]) if s.value.size
    ]
    if not values:
        return f"The {others[0]} head did not move."
    low, high = min(values), max(values)
    return f"At the last step the {others[0]} head has {low:.3g} to {high:.3g} over layers."


def _step_maps(arrays: RunArrays, settings: AnalysisSettings) -> list[Map]:
    """Compare checkpoints with each other at the middle and last layer of the main head."""
    mode = primary_mode(arrays.heads, settings.modes)
    head = "negative" if "negative" in arrays.heads else arrays.heads[0]
    chosen = sorted({arrays.layers[len(arrays.layers) // 2], arrays.layers[-1]})
    if mode is None:
        return []
    _, steps = sorted_steps(arrays, head)
    at = np.unique(np.round(np.linspace(0, steps.size - 1, MOST_STEPS)).astype(int))
    maps = []
    for layer in chosen:
        _, path = states(arrays, head, layer)
        matrix = cka_matrix([block_features(arrays.rows, path[t]) for t in at])
        maps.append(
            Map(
                f"cka_steps.{head}.{layer_label(layer)}",
                f"CKA between checkpoints, layer {layer_label(layer)}, {head} head",
                "CKA",
                head,
                "step",
                [str(int(s)) for s in steps[at]],
                [int(s) for s in steps[at]],
                [numbers(row) for row in matrix],
                False,
                [float(np.nanmin(matrix)), 1.0],
                "Equal arrangements give 1; a common vector added to all states is not seen.",
                "Within-question block CKA of every pair of checkpoints; no interval.",
                question_count(arrays.rows),
            )
        )
    return maps
