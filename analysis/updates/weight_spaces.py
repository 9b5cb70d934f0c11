"""Measure `weight_spaces`: which directions the updates span, and where their path turns."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.charts import numbers
from critical_phase.analysis.inputs import RunArrays
from critical_phase.analysis.results import Curve, Map, MeasureResult, Table, column
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.updates.head_spaces import (
    RANDOM,
    cosine_map,
    shared_curve,
    shared_steps,
    spaces_table,
)
from critical_phase.analysis.updates.lora_geometry import module_gram
from critical_phase.analysis.updates.module_spaces import (
    ModuleSpaces,
    mean_over_modules,
    module_spaces,
)
from critical_phase.analysis.updates.turning import Turn, cosines, sharpest_turn
from critical_phase.analysis.updates.weight_lines import Path, line
from critical_phase.analysis.updates.weights import sorted_path

ABOUT = (
    "Spaces that the updates dW write to and read from (singular vectors, so rewriting B and A"
    " changes nothing), against the last checkpoint and against the other head, with the overlap"
    " of random spaces as control; and how sharply the path turns, at several lags: a turn counts"
    " only where it is local in time and seen at every lag. Weights do not vary over questions:"
    " there is no question interval. Heads that start from the same A share what they read."
)

LEVELS = (
    {"label": "straight line", "value": -1.0},
    {"label": "random walk, at every lag", "value": 0.0},
    {"label": "jitter about a point", "value": 0.5},
)
"""What the local cosine is for known paths."""


def weight_spaces(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Decompose the updates of every module and compare their spaces.

    Args:
        arrays: The run.
        settings: Seed.
        done: Results of earlier measures; not needed here.

    Returns:
        Local cosine at several lags, overlap with the last update and between heads, spectral
        entropy per module; facts hold the sharpest turn of every head.
    """
    notes, curves, maps = [], [], []
    turns: dict[str, Turn | None] = {}
    paths: dict[str, Path] = {}
    for head in arrays.heads:
        path = sorted_path(arrays, head)
        if path is None:
            notes.append(f"no adapters of head {head} were given: its updates are not compared")
            continue
        paths[head] = path
        gram = np.sum([module_gram(path[1], name) for name in sorted(path[1][0])], axis=0)
        curves += _turning(head, path[0], gram, arrays.batch_size)
        turns[head] = sharpest_turn(gram, np.random.default_rng([settings.seed, 42]))
    steps, shared = shared_steps(paths)
    found = _modules(paths, shared)
    for head, (own, _) in paths.items():
        curves.append(_to_last(head, own, found, arrays.batch_size))
        maps.append(_entropy_map(head, own, found))
    tables = [_turn_table(turns, paths)] if turns else []
    both = [module for module in found if module.between.size]
    if both:
        maps.append(cosine_map(paths))
        curves.append(shared_curve(tuple(paths), steps, both, arrays.batch_size))
        rng = np.random.default_rng([settings.seed, 43])
        tables.append(spaces_table(both, int(steps[-1]), rng))
    return MeasureResult(
        "weight_spaces",
        "Spaces and turns of the updates",
        ABOUT,
        "local cosine 2506.11613; principal angles by SVD, docs/methods.md",
        {"random_spaces": RANDOM, "seed": settings.seed},
        tuple(notes),
        tuple(curves),
        tuple(maps),
        tuple(tables),
        facts={
            "turns": {
                head: (None if one is None else (int(paths[head][0][one.place]), one))
                for head, one in turns.items()
            }
        },
    )


def _modules(paths: Mapping[str, Path], shared: Sequence[tuple[int, int]]) -> list[ModuleSpaces]:
    """Decompose one module after the other; no head need have all of them."""
    names = sorted({name for _, path in paths.values() for name in path[0]})
    found = []
    for name in names:
        own = {head: path for head, (_, path) in paths.items() if name in path[0]}
        found.append(module_spaces(name, own, shared if len(own) == 2 else ()))
    return found


def _turning(
    head: str,
    steps: Int[np.ndarray, " step"],
    gram: Float[np.ndarray, "step step"],
    batch_size: int,
) -> list[Curve]:
    """Draw the local cosine of the whole update, one line per lag."""
    caption = (
        "Cosine of the way back and the way ahead, that many checkpoints away. A turn is a rise"
        " at one place that all lags see."
    )
    return [
        line(
            f"lora_turning.{head}.{lag}", f"Local cosine of the path, {head} head",
            f"lora_turning.{head}", f"lag {lag}", head, steps, value, batch_size, caption,
            "cosine", LEVELS,
        )
        for lag, value in cosines(gram).items()
    ]  # fmt: skip


def _to_last(
    head: str,
    steps: Int[np.ndarray, " step"],
    found: Sequence[ModuleSpaces],
    batch_size: int,
) -> Curve:
    """Draw how much of the last update's space each update spans already."""
    own = [module for module in found if head in module.to_last]
    chance = mean_over_modules([np.array([module.last_chance[head]]) for module in own])[0]
    levels = [{"label": "random spaces", "value": float(chance)}] if np.isfinite(chance) else []
    share = mean_over_modules([module.to_last[head] for module in own])
    return line(
        f"lora_overlap_last.{head}", f"Overlap with the space of the last update, {head} head",
        "lora_overlap_last", head, head, steps, share, batch_size,
        "Share of directions written to that the last update writes to as well, mean over"
        " modules; it is 1 at the last step by construction.",
        "share", levels,
    )  # fmt: skip


def _entropy_map(head: str, steps: Int[np.ndarray, " step"], found: Sequence[ModuleSpaces]) -> Map:
    """Show over how many directions each module's update is spread."""
    own = [module for module in found if head in module.spread]
    rank = max(module.rank for module in own)
    return Map(
        f"lora_spread_by_module.{head}",
        f"Directions of the update per module, {head} head",
        "directions",
        head,
        "module",
        [module.name for module in own],
        [int(s) for s in steps],
        [numbers(module.spread[head]) for module in own],
        False,
        [1.0, float(max(rank, 2))],
        f"Equal singular values would give {rank}, one direction 1.",
        "Exponential of the entropy of squared singular values of dW.",
    )


def _turn_table(turns: Mapping[str, Turn | None], paths: Mapping[str, Path]) -> Table:
    """List the sharpest turn of every head."""
    rows: list[list[object]] = []
    for head, one in turns.items():
        if one is None:
            rows.append([head, None, None, "", "", None, "too few checkpoints"])
            continue
        verdict = "turn" if one.found else "no turn"
        lags = ", ".join(str(lag) for lag in one.lags)
        local = "yes" if one.local else "no"
        rows.append([head, int(paths[head][0][one.place]), one.height, lags, local, one.p, verdict])
    columns = [
        column("head", "head", kind="text"),
        column("step", "sharpest at", "step"),
        column("height", "rise at every lag", "cosine"),
        column("lags", "lags", kind="text"),
        column("local", "local in time", kind="text"),
        column("p", "p", kind="p"),
        column("verdict", "verdict", kind="text"),
    ]
    caption = (
        "A turn: the local cosine rises by at least .2 over its median at every lag, at one place"
        " only, and lags shifted against each other in time agree so well at most once in 20"
        " times. The place is as fine as the checkpoints; the weights of one run give no interval."
    )
    return Table("turns", "Sharpest turn of the path", caption, columns, rows)
