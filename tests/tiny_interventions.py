"""A bench on a tiny model of any family, with an early and a late adapter."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tiny_families import build_model
from tiny_plan import build_plan, save_adapters

from critical_phase.checkpoints import Checkpoint
from critical_phase.probes import Plan
from critical_phase.probes.interventions import (
    Bench,
    CellsFile,
    Lab,
    Mixture,
    Place,
    Sources,
    State,
    find_places,
    whole,
)

TOLERANCE = 2e-5
"""Largest difference of a score over the largest score: float32 sums in another order."""


@dataclass(frozen=True, eq=False)
class Tiny:
    bench: Bench
    places: tuple[Place, ...]
    pre: State
    post: State
    checkpoints: tuple[Checkpoint, ...]
    plan: Plan
    family: str

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(sorted({place.layer for place in self.places}))

    def upto(self, layer: int) -> list[Place]:
        return [place for place in self.places if place.layer <= layer]


def tiny_bench(folder: Path, family: str = "llama") -> Tiny:
    saved = save_adapters(folder, family, (1, 2))
    sources = Sources({f"negative@{one.step}": one for one in saved})
    modules = sources.modules("negative@2")
    plan = build_plan()
    bench = Bench(Mixture(build_model(family), sources, modules), plan)
    pre, post = (whole(f"negative@{step}", modules) for step in (1, 2))
    return Tiny(bench, find_places(modules, bench.sites), pre, post, saved, plan, family)


def gap(one: np.ndarray, other: np.ndarray) -> float:
    """Largest difference over the largest value."""
    return float(np.abs(one - other).max() / np.abs(other).max())


def tiny_lab(
    tiny: Tiny, options: dict[str, str] | None = None, cells: CellsFile | None = None, **given: Any
) -> Lab:
    """A lab whose judge reads the share of the mean score, of all rows: 0 early, 1 late."""
    ends = [float(tiny.bench.score(state).sum()) for state in (tiny.pre, tiny.post)]
    kept = cells or CellsFile(Path(tempfile.mkdtemp()) / "cells.npz", "key")
    return Lab(
        tiny.bench,
        tiny.places,
        ("negative@1", "negative@2"),
        kept,
        lambda scores: (float(scores.sum()) - ends[0]) / (ends[1] - ends[0]),
        options=options or {},
        exploratory=np.arange(4) % 2 == 0,
        **given,
    )
