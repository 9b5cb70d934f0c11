"""A stage for planted causes: two ends on a bench, and what the tool's own points say of them.

Shared by the tests and by `docs/scripts/planted_causes.py`.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from critical_phase.analysis.interventions.intervention_claim import Beside, Claim, claim
from critical_phase.analysis.interventions.intervention_effect import Number, effect, moved
from critical_phase.analysis.interventions.intervention_frame import Frame
from critical_phase.analysis.judging.thresholds import CARRIES
from critical_phase.checkpoints import PROMPTS, Question
from critical_phase.checkpoints.organism import World
from critical_phase.checkpoints.organism.tokenizer import build_tokenizer
from critical_phase.cli.intervene_results import asked_of
from critical_phase.cli.plan_rows import rows_of_plan
from critical_phase.probes import Plan, make_plan
from critical_phase.probes.interventions import (
    Bench,
    CellsFile,
    Headline,
    InterventionPlan,
    Lab,
    Mixture,
    Outcome,
    Sources,
    find_places,
    whole,
)

ASKED = (1, 3, 7)
"""Points of the minimum that one plan in one run can meet: both directions, dose, size."""


def questions_of(world: World, split: str, count: int) -> tuple[Question, ...]:
    return tuple(
        Question(r["id"], r["question"], tuple(r["candidates"]), r["answer"], r["group"])
        for r in world.questions(split, count, 0)
    )


def bench_of(model: Any, world: World, sources: Sources, modules: Sequence[str], n: int) -> Bench:
    """Put a model on a bench over n test questions of its world."""
    tokenizer = build_tokenizer(world.words, max_length=128)
    plan: Plan = make_plan(questions_of(world, "test", n), tokenizer, PROMPTS["plain"])
    return Bench(Mixture(model, sources, modules), plan)


@dataclass(frozen=True, eq=False)
class Stage:
    """Early and late ends of the negative head on a bench, scored as base_likra."""

    bench: Bench
    ends: tuple[str, str]
    frame: Frame

    @classmethod
    def between(cls, bench: Bench, early: str, late: str, draws: int = 400) -> "Stage":
        """Score both ends.

        Raises:
            FitError: The margin does not move between them, so there is nothing to ask about.
        """
        sources = bench.mixture.sources
        ends = [bench.score(whole(name, sources.modules(name))) for name in (early, late)]
        rows, base = rows_of_plan(bench.plan), bench.score({})
        frame = Frame(rows, "base_likra", "negative", 1.0, "sum", base, *ends, draws)
        for part in (frame.confirmatory, ~frame.confirmatory):
            moved(frame, part)
        return cls(bench, (early, late), frame)

    def lab(self, options: Mapping[str, str], donors: tuple[str, ...] = (), seed: int = 0) -> Lab:
        """A workplace as `probe intervene` makes it, with nothing kept."""
        frame, bench = self.frame, self.bench
        modules = bench.mixture.sources.modules(self.ends[1])

        def judge(scores: np.ndarray) -> float:
            return effect(frame, scores[None], ~frame.confirmatory).share.value

        return Lab(
            bench,
            find_places(modules, bench.sites),
            self.ends,
            CellsFile(Path(tempfile.mkdtemp()) / "cells.npz", "key"),
            judge,
            options=options,
            exploratory=~frame.confirmatory,
            donors=donors,
            seed=seed,
        )

    def ask(
        self,
        plan: InterventionPlan,
        options: Mapping[str, str] | None = None,
        donors: tuple[str, ...] = (),
        seed: int = 0,
    ) -> "Answers":
        """Run a plan and read its answers as `probe intervene` does."""
        lab = self.lab({**plan.options, **(options or {})}, donors, seed)
        outcome = plan.run(lab)
        scores = {name: lab.scores(name) for name in lab.cells}
        claims = {head.plan: self._claim(lab, head, scores) for head in outcome.headlines}
        return Answers(self.frame, lab, outcome, claims)

    def _claim(self, lab: Lab, head: Headline, scores: Mapping[str, np.ndarray]) -> Claim:
        return claim(self.frame, scores, asked_of(lab, head), Beside())


@dataclass(frozen=True, eq=False)
class Answers:
    """What one plan measured, and its answers by name."""

    frame: Frame
    lab: Lab
    outcome: Outcome
    claims: Mapping[str, Claim]

    def share(self, name: str) -> Number:
        """Share of a cell on the questions that chose nothing."""
        return effect(self.frame, self.lab.scores(name)[None], self.frame.confirmatory).share

    def shares(self, **axes: object) -> dict[str, Number]:
        """Shares of all cells with these axes, by the cell's label."""
        chosen = [
            (str(cell.axes["label"]), name)
            for name, cell in self.lab.cells.items()
            if all(cell.axes.get(axis) == value for axis, value in axes.items())
        ]
        return {label: self.share(name) for label, name in chosen}

    def carriers(self, kind: str, direction: str) -> list[str]:
        """Single places that bring, or take away, more than the tool's threshold.

        Args:
            kind: `module` or `head`.
            direction: `denoise`: late rows bring the change; `noise`: without them it goes.
        """
        found = self.shares(set=kind, direction=direction)
        if direction == "denoise":
            return [label for label, share in found.items() if share.interval[0] > CARRIES]
        return [label for label, share in found.items() if 1 - share.interval[1] > CARRIES]

    def searched(self, direction: str) -> list[str]:
        """The smallest set that the search found: sufficient (`denoise`) or necessary (`noise`)."""
        name = "denoise/graft/smallest" if direction == "denoise" else "noise/necessary/smallest"
        state, lab = self.lab.cells[name].state, self.lab
        # What a set holds is told from its cell alone: which modules are not the recipient's.
        into = lab.pre if direction == "denoise" else lab.post
        changed = [p for p in lab.places if state[p.module] != into[p.module]]
        return [f"{place.layer}/{place.short}" for place in changed]

    def mapped(self) -> list[str]:
        """Modules of the map, as `step:layer/module`, that bring more than the threshold."""
        return [
            f"{str(cell.axes['donor']).rpartition('@')[2]}:{cell.axes['layer']}/{cell.axes['module']}"
            for name, cell in self.lab.cells.items()
            if cell.axes["set"] == "map" and self.share(name).interval[0] > CARRIES
        ]


def reproduces(one: Claim) -> bool:
    """Say whether more than the tool's threshold comes, more than by chance, and by dose.

    By chance is, as for the tool, what one more random draw may bring, and not their mean alone.
    """
    control = one.control_effect
    another = control.share.interval if control.another is None else control.another
    least = max(CARRIES, control.share.interval[1], another[1])
    return one.effect.share.interval[0] > least and one.doses is not None and one.doses.monotone


def found(one: Claim) -> bool:
    """Say whether nothing that a single run can show is missing or speaks against the answer."""
    points = {point.number: point.met for point in one.points}
    return all(points[number] is True for number in ASKED) and points[2] is not False
