"""The updates of the two heads side by side: cosine and shared space of every module."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from critical_phase.analysis.charts import numbers
from critical_phase.analysis.results import Curve, Map, Table, column
from critical_phase.analysis.updates.lora_geometry import inner
from critical_phase.analysis.updates.module_spaces import ModuleSpaces, mean_over_modules
from critical_phase.analysis.updates.update_spaces import random_overlaps
from critical_phase.analysis.updates.weight_lines import Path, line

RANDOM = 100
"""Random pairs of spaces drawn for each shape."""


def shared_steps(
    paths: Mapping[str, Path],
) -> tuple[Int[np.ndarray, " shared"], list[tuple[int, int]]]:
    """Return the steps that two heads have, and their places in each; none for one head."""
    if len(paths) != 2:
        return np.empty(0, dtype=np.int64), []
    (s1, _), (s2, _) = paths.values()
    steps, at1, at2 = np.intersect1d(s1, s2, return_indices=True)
    return steps, [(int(i), int(j)) for i, j in zip(at1, at2, strict=True)]


def shared_curve(
    heads: tuple[str, ...],
    steps: Int[np.ndarray, " step"],
    found: Sequence[ModuleSpaces],
    batch_size: int,
) -> Curve:
    """Draw how much the two heads write to the same directions."""
    one, two = heads
    chance = [m.sides[0].chance for m in found if m.sides]
    levels = [{"label": "random spaces", "value": float(np.mean(chance))}] if chance else []
    return line(
        "lora_head_overlap", f"Overlap of the spaces of the {one} and {two} updates",
        "lora_head_overlap", f"{one} and {two}", None, steps,
        mean_over_modules([m.between for m in found]), batch_size,
        "Share of directions written to that both heads write to, mean over modules.",
        "share", levels,
    )  # fmt: skip


def cosine_map(paths: Mapping[str, Path]) -> Map:
    """Show the cosine of the two heads' updates per module."""
    (one, (_, p1)), (two, (_, p2)) = paths.items()
    steps, shared = shared_steps(paths)
    modules = sorted(set(p1[0]) & set(p2[0]))
    rows = []
    for name in modules:
        dot = np.array([inner(p1[i][name], p2[j][name]) for i, j in shared])
        own = [inner(p1[i][name], p1[i][name]) * inner(p2[j][name], p2[j][name]) for i, j in shared]
        size = np.sqrt(np.maximum(own, 0.0))
        rows.append(np.divide(dot, size, out=np.full(dot.size, np.nan), where=size > 0))
    return Map(
        "lora_head_cosine_by_module",
        f"Cosine between the {one} and {two} updates per module",
        "cosine",
        None,
        "module",
        modules,
        [int(s) for s in steps],
        [numbers(row) for row in rows],
        True,
        [-1.0, 1.0],
        "Unrelated updates give about 0.",
        "Direction of the two heads' dW; 1 the same, -1 opposite.",
    )


def spaces_table(found: Sequence[ModuleSpaces], last_step: int, rng: np.random.Generator) -> Table:
    """Compare the two heads' spaces at their last shared step, module by module."""
    drawn: dict[tuple[int, int, int], tuple[np.ndarray, np.ndarray]] = {}
    rows: list[list[object]] = []
    for module in found:
        for one in module.sides:
            if one.shape not in drawn:
                d, high, low = one.shape
                drawn[one.shape] = random_overlaps(d, (high, low), rng, RANDOM)
            chance, angle = drawn[one.shape]
            rows.append([
                module.name, one.side, one.overlap, one.chance,
                [float(v) for v in np.quantile(chance, [0.025, 0.975])],
                one.angle, float(angle.mean()),
            ])  # fmt: skip
    columns = [
        column("module", "module", kind="text"),
        column("side", "space", kind="text"),
        column("overlap", "overlap", "share"),
        column("chance", "random spaces", "share"),
        column("chance_interval", "range of random spaces"),
        column("angle", "smallest angle", "degrees"),
        column("angle_chance", "of random spaces", "degrees"),
    ]
    caption = (
        f"Spaces of the two heads' updates at step {last_step}. Random"
        f" spaces: mean and 95 % range of {RANDOM} drawn pairs of the same shape. Heads whose A"
        " began with the same random numbers read from the same space without having learned it."
    )
    return Table("head_spaces", "Spaces of the two heads", caption, columns, rows)
