"""Measure `weights`: how the LoRA updates of each head grow, turn and diverge."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.charts import numbers
from critical_phase.analysis.inputs import RunArrays
from critical_phase.analysis.results import Curve, Map, MeasureResult
from critical_phase.analysis.series import Series
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.updates.lora_geometry import (
    Factors,
    cosine_to_last,
    cross_inner,
    lengths,
    local_cosine,
    module_gram,
    norms,
    stable_rank,
)
from critical_phase.analysis.updates.update_path import path_map

ABOUT = (
    "Size, movement and direction of the weight updates dW = scaling * B A, from inner products"
    " that do not depend on how B and A are written. Weights do not vary over questions, so there"
    " is no question interval; repeated seeds would be needed for one."
)

PARTS = {
    "lora_norm": ("Norm of the update", "Frobenius norm of dW."),
    "lora_step": ("Movement since the checkpoint before", "Norm of the change of dW."),
    "lora_local_cosine": (
        "Turning of the path",
        "Cosine of the way back and the way ahead: -1 straight, 0 a right turn or a random walk.",
    ),
    "lora_cosine_last": ("Cosine to the last update", "Direction of dW against the last one."),
}
"""Quantities with title and caption."""

CONTROLS = {
    "lora_local_cosine": "A straight path has local cosine -1, a random walk 0 at every step.",
    "lora_cosine_last": "It is 1 at the last step by construction.",
}
"""What each quantity is where nothing happens."""


def weights(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Compute the geometry of the adapters of every head, in total and per module."""
    notes, found_curves, found_maps, series = [], [], [], []
    paths: dict[str, tuple[np.ndarray, Sequence[Mapping[str, Factors]]]] = {}
    for head in arrays.heads:
        path = sorted_path(arrays, head)
        if path is None:
            notes.append(f"no adapters of head {head} were given: its weights are not described")
            continue
        paths[head] = path
        grams = {name: module_gram(path[1], name) for name in sorted(path[1][0])}
        total = np.sum(list(grams.values()), axis=0)
        parts = _parts(total)
        series += [_series(name, head, path[0], parts[name]) for name in ("lora_norm", "lora_step")]
        found_curves += [_curve(n, head, path[0], v, arrays) for n, v in parts.items()]
        plane = path_map(head, path[0], total)
        if plane is None:
            notes.append(f"the path of the {head} head is too short to have a plane")
        found_maps += [] if plane is None else [plane]
        found_maps += _maps(head, path[0], grams, path[1])
    if len(paths) == 2:
        found_curves.append(_between_heads(paths, arrays))
    return MeasureResult(
        "weights",
        "Weights",
        ABOUT,
        "gauge-free LoRA geometry, docs/methods.md; local cosine 2506.11613; walks 1806.08805",
        {"lag": 1},
        tuple(notes),
        tuple(found_curves),
        tuple(found_maps),
        series=tuple(series),
    )


def sorted_path(
    arrays: RunArrays, head: str
) -> tuple[Int[np.ndarray, " step"], Sequence[Mapping[str, Factors]]] | None:
    """Return a head's steps and adapters in order, None where they were not stored."""
    steps, adapters = np.asarray(arrays.steps(head)), arrays.adapters(head)
    if not adapters or len(adapters) != steps.size:
        return None
    order = np.argsort(steps, kind="stable")
    return steps[order], [adapters[i] for i in order]


def _parts(gram: Float[np.ndarray, "step step"]) -> dict[str, Float[np.ndarray, " step"]]:
    """Compute the four curves of one Gram matrix."""
    return {
        "lora_norm": norms(gram),
        "lora_step": np.concatenate(([np.nan], lengths(gram))),
        "lora_local_cosine": local_cosine(gram),
        "lora_cosine_last": cosine_to_last(gram),
    }


def _series(
    name: str, head: str, steps: Int[np.ndarray, " step"], value: Float[np.ndarray, " step"]
) -> Series:
    """Make a series without questions."""
    keep = np.isfinite(value)
    title = f"{PARTS[name][0].lower()}, {head} head"
    unit = "norm"
    return Series(f"{name}.{head}", title, unit, "weights", steps[keep], value[keep], head=head)


def _curve(
    name: str,
    head: str,
    steps: Int[np.ndarray, " step"],
    value: Float[np.ndarray, " step"],
    arrays: RunArrays,
) -> Curve:
    """Draw one quantity of one head."""
    title, caption = PARTS[name]
    return Curve(
        f"{name}.{head}",
        f"{title}, {head} head",
        "cosine" if "cosine" in name else "norm",
        name,
        head,
        [int(s) for s in steps],
        [int(s) * arrays.batch_size for s in steps],
        numbers(value),
        caption,
        0,
        head,
    )


def _maps(
    head: str,
    steps: Int[np.ndarray, " step"],
    grams: Mapping[str, Float[np.ndarray, "step step"]],
    path: Sequence[Mapping[str, Factors]],
) -> list[Map]:
    """Show norm, movement, turning and stable rank of every module."""
    modules = list(grams)
    tables = {name: [_parts(grams[m])[name] for m in modules] for name in PARTS}
    tables["lora_stable_rank"] = [
        np.array([stable_rank(step[m]) for step in path]) for m in modules
    ]
    titles = {**PARTS, "lora_stable_rank": ("Stable rank", "Squared Frobenius over spectral norm.")}
    return [
        Map(
            f"{name}_by_module.{head}",
            f"{titles[name][0]} per module, {head} head",
            "cosine" if "cosine" in name else "rank" if "rank" in name else "norm",
            head,
            "module",
            modules,
            [int(s) for s in steps],
            [numbers(row) for row in rows],
            "cosine" in name,
            [-1.0, 1.0] if "cosine" in name else None,
            CONTROLS.get(name, ""),
            titles[name][1],
        )
        for name, rows in tables.items()
    ]


def _between_heads(
    paths: Mapping[str, tuple[np.ndarray, Sequence[Mapping[str, Factors]]]], arrays: RunArrays
) -> Curve:
    """Draw the cosine between the two heads' updates at shared steps."""
    (one, (s1, p1)), (two, (s2, p2)) = paths.items()
    steps, at1, at2 = np.intersect1d(s1, s2, return_indices=True)
    first, second = [p1[i] for i in at1], [p2[i] for i in at2]
    modules = sorted(set(first[0]) & set(second[0]))
    dot = np.sum([cross_inner(first, second, m) for m in modules], axis=0)
    size = [
        np.sqrt(np.sum([cross_inner(p, p, m) for m in modules], axis=0)) for p in (first, second)
    ]
    scale = size[0] * size[1]
    value = np.divide(dot, scale, out=np.full(steps.size, np.nan), where=scale > 0)
    return Curve(
        "lora_head_cosine",
        f"Cosine between the {one} and {two} updates",
        "cosine",
        "lora_head_cosine",
        f"{one} and {two}",
        [int(s) for s in steps],
        [int(s) * arrays.batch_size for s in steps],
        numbers(value),
        "Direction of the two heads' dW over all shared modules; 0 is orthogonal.",
        0,
    )
