"""Which finished cells are repetitions of one another, and their means over seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from critical_phase.analysis.many_runs.sweep import SeedMean, over_seeds
from critical_phase.cli.sweep_file import Cell
from critical_phase.cli.sweep_names import cell_name, digest
from critical_phase.cli.sweep_numbers import COLUMNS, number
from critical_phase.cli.sweep_reuse import EVALUATION, ONLY_NEGATIVE
from critical_phase.cli.train import with_defaults

Values = dict[str, Any]
Point = tuple[int, int, float | None]
"""Step, examples, accuracy."""

SIZE = ("train_size", "steps")
"""Settings that a cross-sectional curve runs over."""


@dataclass(frozen=True, slots=True)
class Finished:
    """One finished cell with its numbers."""

    cell: Cell
    numbers: Values

    @property
    def settings(self) -> Values:
        """Training settings as plain values; passes over a training set of its own count."""
        return {**self.cell.train.model_dump(mode="json"), "epochs": self.cell.epochs}

    def points(self, mode: str, normalisation: str, weight: float) -> list[Point]:
        """Return the accuracies of one curve by step."""
        at = {name: place for place, name in enumerate(COLUMNS)}
        return [
            (row[at["step"]], row[at["examples"]], row[at["accuracy"]])
            for row in self.numbers["accuracies"]
            if row[at["mode"]] == mode
            and row[at["normalisation"]] == normalisation
            and (row[at["weight"]] == weight or mode in ("base", "sft"))
        ]


@dataclass(frozen=True, slots=True)
class Group:
    """Cells that differ in nothing but their seed."""

    label: str
    cells: tuple[Finished, ...]

    @property
    def settings(self) -> Values:
        """What the cells share."""
        return without(self.cells[0].settings, ("seed",))


def groups(cells: Iterable[Finished], mode: str) -> list[Group]:
    """Group cells for one mode; a head that several cells share counts once per seed."""
    found: dict[str, dict[int, Finished]] = {}
    for one in cells:
        key = digest(_decides(one, mode))
        found.setdefault(key, {}).setdefault(one.cell.train.seed if mode != "base" else 0, one)
    return [
        Group(_label(list(by_seed.values()), mode), tuple(by_seed.values()))
        for by_seed in found.values()
    ]


def mean_curve(
    group: Group, mode: str, normalisation: str, weight: float = 1.0
) -> tuple[list[int], list[int], SeedMean] | None:
    """Average the curves of a group at the steps that all its seeds have.

    Returns:
        Steps, examples, and the mean; None where the mode was not made or no step is shared.
    """
    curves = [one.points(mode, normalisation, weight) for one in group.cells]
    curves = [curve for curve in curves if curve]
    shared = (
        set.intersection(*({point[0] for point in curve} for curve in curves)) if curves else ()
    )
    if not shared:
        return None
    kept = [[point for point in curve if point[0] in shared] for curve in curves]
    table = np.array([[_float(point[2]) for point in curve] for curve in kept])
    steps, examples = [p[0] for p in kept[0]], [p[1] for p in kept[0]]
    return steps, examples, over_seeds(table)


def curve_values(group: Group, mode: str, normalisation: str, weight: float = 1.0) -> Values | None:
    """Return a mean curve as plain values for files."""
    found = mean_curve(group, mode, normalisation, weight)
    if found is None:
        return None
    steps, examples, mean = found
    return {
        "group": group.label, "role": group.cells[0].cell.role, "mode": mode,
        "normalisation": normalisation, "weight": weight, "steps": steps, "examples": examples,
        **mean_values(mean),
        "questions": group.cells[0].numbers.get("questions"),
        "chance": group.cells[0].numbers.get("chance"),
        "settings": shown_settings(group.cells[0].cell, ("seed",)),
    }  # fmt: skip


def mean_values(mean: SeedMean) -> Values:
    """Return a mean over seeds as plain values."""
    return {
        "mean": [number(value) for value in mean.mean],
        "standard_error": [number(value) for value in mean.standard_error],
        "seeds": mean.seeds,
    }


def without(settings: Values, keys: Sequence[str]) -> Values:
    """Leave settings out."""
    return {key: value for key, value in settings.items() if key not in keys}


def shown_settings(cell: Cell, hidden: Sequence[str] = ()) -> Values:
    """Return the value of everything that varies in the sweep, as far as it is set."""
    found = with_defaults(cell.train).model_dump(mode="json")
    return {key: found[key] for key in cell.keys if key not in hidden and found[key] is not None}


def _decides(one: Finished, mode: str) -> Values:
    """Keep what decides the scores of a mode, but for the seed."""
    if mode == "base":
        return {key: one.settings[key] for key in EVALUATION}
    if mode in ("sft", "pos_base"):
        return without(one.settings, ("seed", "heads", *ONLY_NEGATIVE))
    return without(one.settings, ("seed",))


def _label(cells: Sequence[Finished], mode: str) -> str:
    unseen = {"sft": ONLY_NEGATIVE, "pos_base": ONLY_NEGATIVE}.get(mode, ())
    varied = dict(cells[0].cell.varied)
    if mode == "base":
        return cell_name({key: value for key, value in varied.items() if key in EVALUATION})
    return cell_name(without(varied, ("seed", *unseen)))


def _float(value: float | None) -> float:
    return float("nan") if value is None else value
