"""Measure `intruders`: do updates bring leading directions that the base weights lack?"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import RunArrays
from critical_phase.analysis.results import MeasureResult, Table, column
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.updates.intruder_dimensions import (
    THRESHOLDS,
    TOP,
    base_vectors,
    best_cosines,
    random_update,
)
from critical_phase.analysis.updates.intruder_dimensions import intruders as count
from critical_phase.analysis.updates.lora_geometry import Factors
from critical_phase.analysis.updates.weights import sorted_path
from critical_phase.errors import ShapeError

ABOUT = (
    "Of the ten largest directions of every adapted weight, those that no direction of the base"
    " weight comes near (cosine below .5). None is what a small update gives; the control is an"
    " update of random direction and the same size and rank. A count over the modules, not a"
    " sample: it has no interval."
)

WORK = 3e10
"""Sum of cubed smaller sides of the base weights that are decomposed, at least one weight."""


@dataclass(frozen=True, slots=True)
class Intruders:
    """Intruder dimensions of one checkpoint, summed over modules."""

    head: str
    step: int
    counts: tuple[int, ...]
    """Directions below each threshold of `THRESHOLDS`."""
    control: tuple[int, ...]
    """The same for random updates of the same size and rank."""
    directions: int
    """Directions looked at: ten of each module."""
    least: float
    """Smallest best cosine of all directions."""
    relative: float
    """Largest norm of an update over the norm of its base weight."""


def intruders(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Count intruder dimensions at the first trained, a middle and the last checkpoint.

    Args:
        arrays: The run; base weights are asked for one at a time.
        settings: Seed.
        done: Results of earlier measures; not needed here.

    Returns:
        A table; facts hold `Intruders` by head, in order of steps.

    Raises:
        ShapeError: A base weight has another shape than its update.
    """
    about = ("intruders", "Intruder dimensions", ABOUT, "2410.21228")
    stored = {head: sorted_path(arrays, head) for head in arrays.heads}
    paths = {head: one for head, one in stored.items() if one is not None}
    chosen = {head: _chosen(path[0]) for head, path in paths.items()}
    modules = sorted({name for _, adapters in paths.values() for name in adapters[0]})
    if not modules or not any(places for places in chosen.values()):
        return MeasureResult(*about, {}, ("no adapters were given: not computed",))
    any_head = {name: one for _, path in paths.values() for name, one in path[0].items()}
    kept = _affordable(modules, any_head)
    cosines: dict[tuple[str, int], list[tuple[np.ndarray, np.ndarray, float]]] = {}
    rng = np.random.default_rng([settings.seed, 47])
    for name in kept:
        base = arrays.base_weight(name)
        if base is None:
            note = (
                f"the base model's weight {name} is not on this disk: intruder dimensions were not"
                " computed; load the model once with probe score or probe collect"
            )
            return MeasureResult(*about, {}, (note,))
        wide = np.asarray(base, dtype=np.float64)
        vectors = base_vectors(wide)
        for head, (_, adapters) in paths.items():
            for at in chosen[head] if name in adapters[0] else ():
                part = _compare(wide, vectors, adapters[at][name], rng)
                cosines.setdefault((head, at), []).append(part)
    found = [_sum(head, int(paths[head][0][at]), parts) for (head, at), parts in cosines.items()]
    left = len(modules) - len(kept)
    notes = (f"{left} of {len(modules)} weights are too large to decompose here",) if left else ()
    return MeasureResult(
        *about,
        {"top": TOP, "thresholds": list(THRESHOLDS), "modules": len(kept), "seed": settings.seed},
        notes,
        tables=(_table(sorted(found, key=lambda one: (one.head, one.step))),),
        facts={
            "intruders": {
                head: tuple(sorted((o for o in found if o.head == head), key=lambda o: o.step))
                for head in paths
            }
        },
    )


def _chosen(steps: Int[np.ndarray, " step"]) -> list[int]:
    """Return places of the first trained, a middle and the last checkpoint."""
    trained = np.flatnonzero(steps > 0)
    if not trained.size:
        return []
    return sorted({int(trained[0]), int(trained[trained.size // 2]), int(trained[-1])})


def _affordable(modules: list[str], factors: Mapping[str, Factors]) -> list[str]:
    """Keep modules, evenly over the model, whose decomposition takes bounded work."""
    work = {
        name: float(min(factors[name][1].shape[0], factors[name][0].shape[1])) ** 3
        for name in modules
    }
    for count_kept in range(len(modules), 1, -1):
        places = np.linspace(0, len(modules) - 1, count_kept).round().astype(int)
        kept = [modules[i] for i in places]
        if sum(work[name] for name in kept) <= WORK:
            return kept
    return [modules[len(modules) // 2]]


def _compare(
    base: Float[np.ndarray, "out in"],
    vectors: Float[np.ndarray, "out rank"],
    factors: Factors,
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, " top"], Float[np.ndarray, " top"], float]:
    """Return best cosines with the update and with a random one, and the update's size."""
    a, b, scaling = factors
    update = scaling * np.asarray(b, np.float64) @ np.asarray(a, np.float64)
    if update.shape != base.shape:
        raise ShapeError(
            f"an update is {update.shape[0]} x {update.shape[1]}, the base model's weight"
            f" {base.shape[0]} x {base.shape[1]}",
            fix="the run was made with another base model than the one on this disk",
        )
    size = float(np.linalg.norm(update))
    random = random_update(size, base.shape, a.shape[0], rng)
    both = [best_cosines(vectors, base + one, top=_top(base)) for one in (update, random)]
    return both[0], both[1], size / max(float(np.linalg.norm(base)), 1e-300)


def _top(base: Float[np.ndarray, "out in"]) -> int:
    return min(TOP, int(min(base.shape)))


def _sum(head: str, step: int, parts: list[tuple[np.ndarray, np.ndarray, float]]) -> Intruders:
    """Add up the modules of one checkpoint."""
    own, control = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    return Intruders(
        head,
        step,
        tuple(int(n) for n in count(own)),
        tuple(int(n) for n in count(control)),
        int(own.size),
        float(own.min()),
        float(max(part[2] for part in parts)),
    )


def _table(found: list[Intruders]) -> Table:
    """List every checkpoint looked at."""
    rows: list[list[object]] = [
        [one.head, one.step, one.directions, *one.counts, *one.control, one.least, one.relative]
        for one in found
    ]
    columns = [
        column("head", "head", kind="text"),
        column("step", "step"),
        column("directions", "directions"),
        *(column(f"below_{t:g}", f"below {t:g}") for t in THRESHOLDS),
        *(column(f"random_{t:g}", f"random update, below {t:g}") for t in THRESHOLDS),
        column("least", "least cosine"),
        column("relative", "largest update over its weight"),
    ]
    caption = (
        "How many of the ten largest left singular vectors of each base weight plus its update"
        " have a largest cosine below each threshold with the base's own; .5 is that of the paper."
        " Beside it the same for updates of random direction. Near-equal singular values of the"
        " base mix under any update, which lowers cosines without an intruder: read the counts"
        " against the control."
    )
    return Table("intruders", "Intruder dimensions", caption, columns, rows)
