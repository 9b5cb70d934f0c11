"""The planted causes one by one: what is true, what the tool said, and whether it was right.

Shared by the tests and by `docs/scripts/planted_causes.py`.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from planted_marks import (
    MarkDirection,
    mark_directions,
    mark_tokens,
    question_tokens,
    told_by_marks,
)
from planted_places import (
    STRENGTHS,
    Planted,
    carve,
    draw_place,
    module_names,
    noise_updates,
    plant,
)
from planted_stage import Answers, Stage, bench_of, found, reproduces
from planted_training import train_negative
from torch import Tensor

from critical_phase.analysis.interventions.intervention_claim import Claim
from critical_phase.analysis.interventions.intervention_effect import Number, effect
from critical_phase.checkpoints.organism import World
from critical_phase.errors import FitError
from critical_phase.probes.interventions import PLANS, Bench, Mixture, Sources, whole

QUESTIONS = 80
VECTOR = {"ranks": "1", "scopes": "from_question_end", "doses": "0,0.5,1"}
SETS = {"sets": "module,head,search"}


@dataclass(frozen=True, eq=False)
class Marked:
    """The mark's direction in one sibling, held against a head trained on near misses."""

    told: float
    """Nats by which the two marks set right answers apart; about 0 where they tell nothing."""
    change: float
    """Of the mean margin, from the base to the head, in nats."""
    itself: Number
    """Share that the mark itself brings: the base, with the mark before every question."""
    mark: Claim
    vector: Claim
    """The head's own mean shift, for comparison."""
    lengths: Tensor
    """Of the mark's direction by layer [layer, 1]."""
    norms: Mapping[str, float]
    """Of the head's update by module."""

    @property
    def said(self) -> bool:
        return reproduces(self.mark)


def mark_case(model: Any, world: World, seed: int, lengths: Tensor | None = None) -> Marked:
    """Train a head, and add the base's own mark direction instead.

    Args:
        model: A sibling.
        world: Its world.
        seed: Of the head.
        lengths: Norms that the directions are brought to [layer, 1]; None leaves their own.
    """
    with tempfile.TemporaryDirectory() as folder:
        sources = Sources(train_negative(model, world, Path(folder) / "negative", seed=seed))
        modules = sources.modules("negative@48")
        bench = bench_of(model, world, sources, modules, QUESTIONS)
        stage = Stage.between(bench, "negative@0", "negative@48")
        directions = mark_directions(bench, world)
        own = directions.norm(dim=1, keepdim=True)
        directions = directions if lengths is None else directions / own * lengths
        mark = stage.ask(MarkDirection(directions), seed=seed).claims["mark_direction"]
        vector = stage.ask(PLANS["constant_vector"](), VECTOR, seed=seed).claims["constant_vector"]
        itself = _behind(stage, mark_tokens(world)[1])
        late = whole("negative@48", modules)
        norms = {name: sources.norm(late[name], name) for name in modules}
        bench.mixture.release()
    change = float(np.diff(stage.frame.ends.mean(axis=1))[0])
    return Marked(told_by_marks(model, world), change, itself, mark, vector, own, norms)


def _behind(stage: Stage, mark: int) -> Number:
    """Share of the head's change that the base shows behind an unreliable author's mark."""
    plan = stage.bench.plan
    prompts = tuple((prompt[0], mark, *prompt[1:]) for prompt in plan.prompts)
    mixture = Mixture(stage.bench.model, Sources({}), ())
    with stage.bench.under({}):
        scores = Bench(mixture, replace(plan, prompts=prompts, asked=())).score({})
    return effect(stage.frame, scores[None], stage.frame.confirmatory).share


@dataclass(frozen=True, eq=False)
class Placed:
    """One planted place, and every place that the tool names."""

    place: Planted
    change: float
    """Of the mean margin at the step, in nats; NaN where the tool refused to ask."""
    named: Mapping[str, list[str]]
    """What each question named."""
    true: Mapping[str, list[str]]
    """What it should have named."""
    graft: Claim | None

    @property
    def right(self) -> bool:
        return self.named == self.true and self.graft is not None and found(self.graft)

    @property
    def wrong(self) -> list[str]:
        """Questions that named something else."""
        odd = [name for name in self.true if self.named.get(name) != self.true[name]]
        return odd if self.graft is None or found(self.graft) else [*odd, "points"]


def place_case(model: Any, world: World, seed: int, *, head: bool) -> Placed:
    """Plant an update at a drawn place with a step in its strength, and look for it."""
    config = model.config
    place = draw_place(seed, config.num_hidden_layers, config.num_attention_heads, head=head)
    sources, tokens = Sources({}), question_tokens(world, 80)
    plant(sources, model, place, carve(model, place, *tokens), seed)
    bench = bench_of(model, world, sources, module_names(config.num_hidden_layers), QUESTIONS)
    true = _true(place)
    try:
        stage = Stage.between(bench, "negative@4", "negative@5")
        donors = tuple(f"negative@{step}" for step in STRENGTHS)
        answers = stage.ask(PLANS["graft"](), SETS, donors, seed)
    except FitError:
        return Placed(place, float("nan"), {}, true, None)
    finally:
        bench.mixture.release()
    change = float(np.diff(stage.frame.ends.mean(axis=1))[0])
    return Placed(place, change, _named(answers), true, answers.claims["graft"])


def _true(place: Planted) -> dict[str, list[str]]:
    head = [] if place.head is None else [f"{place.layer}/{place.head}"]
    made = {f"{kind} {way}": [place.label] for kind in ("module", "search") for way in _WAYS}
    made |= {f"head {way}": head for way in _WAYS}
    late = [step for step, strength in STRENGTHS.items() if strength == 1.0]
    return made | {"map": [f"{step}:{place.label}" for step in late]}


_WAYS = {"brings": "denoise", "needed": "noise"}


def _named(answers: Answers) -> dict[str, list[str]]:
    made = {
        f"{kind} {word}": answers.carriers(kind, way)
        for kind in ("module", "head")
        for word, way in _WAYS.items()
    }
    for word, way in _WAYS.items():
        made[f"search {word}"] = answers.searched(way)
    return made | {"map": answers.mapped()}


@dataclass(frozen=True, eq=False)
class Nothing:
    """A random head: what the tool said of it."""

    change: float
    """Of the mean margin, in nats; NaN where the tool refused to ask."""
    claims: Mapping[str, Claim]

    @property
    def alarms(self) -> list[str]:
        """Plans that found something."""
        return [
            name
            for name, one in self.claims.items()
            if (found(one) if name == "graft" else reproduces(one))
        ]


def null_case(model: Any, world: World, norms: Mapping[str, float], seed: int) -> Nothing:
    """Put random updates of a trained head's norms in its place, and look for causes."""
    sources = Sources({})
    nothing = noise_updates(model, dict.fromkeys(norms, 0.0), (seed, 0))
    sources.add("negative@0", nothing)
    sources.add("negative@48", noise_updates(model, norms, (seed, 1)))
    bench = bench_of(model, world, sources, tuple(norms), QUESTIONS)
    try:
        stage = Stage.between(bench, "negative@0", "negative@48")
        asked = [
            stage.ask(PLANS["graft"](), {"sets": "search"}, seed=seed),
            stage.ask(PLANS["constant_vector"](), VECTOR, seed=seed),
            stage.ask(MarkDirection(mark_directions(bench, world)), seed=seed),
        ]
    except FitError:
        return Nothing(float("nan"), {})
    finally:
        bench.mixture.release()
    change = float(np.diff(stage.frame.ends.mean(axis=1))[0])
    return Nothing(change, {name: one for each in asked for name, one in each.claims.items()})
