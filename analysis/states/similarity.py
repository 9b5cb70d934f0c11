"""Measure `similarity`: displacement, constant shift and CKA of every layer over training."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.charts import curve, layer_label, layer_map, numbers
from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.inputs import RunArrays, question_count
from critical_phase.analysis.results import Curve, Map, MeasureResult
from critical_phase.analysis.series import Series, question_series
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.states.activations import SKIPPED, has_residuals
from critical_phase.analysis.states.cka_layers import layers_map
from critical_phase.analysis.states.similarity_layer import LayerPath, walk_layer
from critical_phase.analysis.states.similarity_tables import constant_vector, longest_steps

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
"""Quantities that are tested for abruptness: name and unit."""

STEPWISE = {
    "cka_step": ("CKA within questions to the checkpoint before", "CKA"),
    "step_share": ("share of the path of CKA distances", "share"),
}
"""Quantities between neighbouring checkpoints, shown as maps only."""

BETWEEN = "CKA between questions to the base"

CAPTIONS = {
    "displacement": "Mean over rows of the norm of the change over the norm of the base state.",
    "constant_shift": "1: every state moved by the same vector; 0: no common part.",
    "cka_base": "1: candidates are arranged as in the base, whatever vector was added to all.",
    "cka_step": "Dips mark checkpoints at which the arrangement of candidates changed.",
    "step_share": "d = sqrt(2 - 2 CKA) to the checkpoint before, over the sum of all steps.",
    "cka_between": "The same for question means (debiased); independent states give 0.",
}
"""What each quantity means."""


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
    main = "negative" if "negative" in arrays.heads else next(iter(arrays.heads), None)
    paths = {
        head: [
            walk_layer(arrays, head, layer, settings.seed, pairs_of_steps=head == main)
            for layer in arrays.layers
        ]
        for head in arrays.heads
    }
    series = {
        head: [{n: _series(path, n) for n in (*PARTS, *STEPWISE)} for path in group]
        for head, group in paths.items()
    }
    whole = [path for group in paths.values() for path in group]
    notes = [SKIPPED] if "question_end" in arrays.positions else []
    fixed = {"position": "answer_end", "draws": settings.draws, "seed": settings.seed}
    layered = {head: layers_map(arrays, head, settings.seed) for head in arrays.heads}
    constant = [found for path in whole if (found := constant_vector(path, weights)) is not None]
    return MeasureResult(
        *about,
        fixed,
        tuple(notes),
        tuple(_curves(series, weights, arrays.batch_size)),
        tuple(_maps(series, paths, layered, weights)),
        (longest_steps(whole, weights),),
        series=tuple(s[n] for group in series.values() for s in group for n in PARTS),
        facts={"constant_vector": constant},
    )


def _series(path: LayerPath, name: str) -> Series:
    """Make a series of one quantity of one layer."""
    title, unit = (PARTS | STEPWISE)[name]
    return question_series(
        f"{name}.{path.head}",
        f"{title}, layer {layer_label(path.layer)}, {path.head} head",
        unit,
        "representation",
        path.steps,
        path.found[name],
        head=path.head,
        layer=path.layer,
    )


Layers = Mapping[str, Sequence[Mapping[str, Series]]]
"""Head to layers to quantities by name."""


def _curves(
    series: Layers, weights: Float[np.ndarray, "draw question"], batch_size: int
) -> list[Curve]:
    """Draw the tested quantities, one chart per quantity and head."""
    return [
        curve(
            one[name],
            weights,
            batch_size,
            group=one[name].quantity,
            label=layer_label(one[name].layer or 0),
            caption=CAPTIONS[name],
        )
        for group in series.values()
        for one in group
        for name in PARTS
        if one[name].steps.size
    ]


def _maps(
    series: Layers,
    paths: Mapping[str, Sequence[LayerPath]],
    layered: Mapping[str, Map | None],
    weights: Float[np.ndarray, "draw question"],
) -> list[Map]:
    """Stack the layers of each head; then one map of checkpoints by checkpoints per layer.

    The map of layers by layers comes before those of single steps: it is read beside PARTS.
    """
    found: list[Map] = []
    for head, group in series.items():
        for name, (title, _) in (PARTS | STEPWISE).items():
            pairs = layered[head]
            if name == "cka_step" and pairs is not None:
                found.append(pairs)
            stack = [one[name] for one in group]
            if any(s.steps.size for s in stack):
                found.append(
                    layer_map(
                        stack,
                        weights,
                        map_id=f"{name}.{head}",
                        title=f"{title[0].upper()}{title[1:]}, {head} head",
                        control=_control(name, head, series),
                        caption=CAPTIONS[name],
                        bounds=(0.0, 1.0) if name in ("constant_shift", "cka_base") else None,
                    )
                )
        found.append(_between(head, paths[head]))
    whole = [path for group in paths.values() for path in group]
    return found + [_step_map(path) for path in whole if path.chosen.size]


def _control(name: str, head: str, series: Layers) -> str:
    """Say what no change gives, or what the other head shows, which is the null of this one."""
    if name == "cka_step":
        return "Independent states give 0 on average."
    if name == "step_share":
        sizes = [one[name].steps.size for one in series[head]]
        return f"An even pace gives {1 / max(1, *sizes):.3g} at every step."
    others = [other for other in series if other != head]
    if not others:
        return "No second head to compare with."
    values = [one[name].value[-1] for one in series[others[0]] if one[name].value.size]
    if not values:
        return f"The {others[0]} head did not move."
    low, high = min(values), max(values)
    return f"At the last step the {others[0]} head has {low:.3g} to {high:.3g} over layers."


def _between(head: str, group: Sequence[LayerPath]) -> Map:
    """Stack CKA of question means, which has no interval."""
    title = f"{BETWEEN}, {head} head"
    stack = [
        Series(f"cka_between.{head}", title, "CKA", "representation", path.steps, path.between,
               head=head, layer=path.layer)
        for path in group
    ]  # fmt: skip
    return layer_map(
        stack,
        None,
        map_id=f"cka_between.{head}",
        title=title,
        control="Independent states give 0 on average.",
        caption=f"{CAPTIONS['cka_between']} No interval was computed.",
        bounds=(0.0, 1.0),
    )


def _step_map(path: LayerPath) -> Map:
    """Compare checkpoints of one layer with each other."""
    low = np.nanmin(path.matrix) if np.isfinite(path.matrix).any() else 0.0
    label = layer_label(path.layer)
    return Map(
        f"cka_steps.{path.head}.{label}",
        f"CKA between checkpoints, layer {label}, {path.head} head",
        "CKA",
        path.head,
        "step",
        [str(int(s)) for s in path.chosen],
        [int(s) for s in path.chosen],
        [numbers(row) for row in path.matrix],
        False,
        [float(min(low, 1.0)), 1.0],
        "Equal arrangements give 1; a common vector added to all states is not seen.",
        "Within-question block CKA of every pair of checkpoints; no interval. Steps that stand"
        " out are to be read from the table of longest steps, not from the colours.",
        path.found["cka_base"].shape[1],
    )
