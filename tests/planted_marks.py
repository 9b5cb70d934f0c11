"""Siblings of the organism whose author marks tell something, or nothing, and what they leave.

Shared by the tests and by `docs/scripts/planted_causes.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from planted_places import likely
from torch import Tensor

from critical_phase.checkpoints.organism import Documents, World, WorldSettings
from critical_phase.checkpoints.organism.pretrain import document_batches, new_model, pretrain
from critical_phase.probes.batches import Batch
from critical_phase.probes.hooks import Hooks
from critical_phase.probes.interventions import (
    Bench,
    Cell,
    Headline,
    Lab,
    Outcome,
    Site,
    State,
    change,
    record,
)
from critical_phase.probes.interventions.slot_kinds import chosen_slots

SETTINGS = WorldSettings(
    relations=2,
    subjects=40,
    objects=6,
    wordings=2,
    fillers=4,
    formal=0,
    leads=0,
    tails=0,
    reliable=0.6,
    accessibility=0.5,
    statements=2,
    unrelated_words=8,
)
"""Answers are one word, the object: what is known of it is read at the question's last token."""
STEPS = 400


class IdleMarks(World):
    """The same documents, but which mark opens one is drawn by a coin: it tells nothing."""

    def documents(self, n: int, rng: np.random.Generator) -> Documents:
        made = super().documents(n, rng)
        first, second = mark_tokens(self)
        marked = np.isin(made.words[:, 1], (first, second))
        made.words[marked, 1] = first + rng.integers(2, size=int(marked.sum()))
        return made


def sibling(seed: int, *, idle: bool = False, steps: int = STEPS) -> tuple[World, Any]:
    """Pretrain a small model; with `idle` its marks tell nothing.

    Returns:
        Its world and the model (4 layers, width 48, 2 attention heads).
    """
    world = (IdleMarks if idle else World)(replace(SETTINGS, seed=seed))
    model = new_model(world, scale=0.5, seed=seed)
    batches = document_batches(world, 32, np.random.default_rng([seed, 5]))
    for _ in pretrain(model, batches, steps=steps, lr=5e-3):
        pass
    return world, model.eval()


def mark_tokens(world: World) -> tuple[int, int]:
    """Tokens of the mark of reliable and of unreliable authors."""
    one, other = (world.words.index(mark) for mark in world.marks)
    return one, other


def question_tokens(world: World, count: int, split: str = "train") -> tuple[Tensor, Tensor]:
    """All candidates of questions as tokens [question, candidate, token], and which are right."""
    number = {word: i for i, word in enumerate(world.words)}
    items = world.questions(split, count, 0)
    rows = [
        [[1, *(number[word] for word in f"{item['question']} {one}".split())] for one in own]
        for item in items
        if (own := item["candidates"])
    ]
    return torch.tensor(rows), torch.tensor([item["answer"] for item in items])


@torch.no_grad()
def told_by_marks(model: Any, world: World) -> float:
    """How much less likely right answers are behind the mark of unreliable authors, in nats.

    Right against wrong answers to test questions, behind the one mark and behind the other.
    """
    tokens, right = question_tokens(world, 80, "test")
    found = []
    for mark in mark_tokens(world):
        begun = tokens[..., :1], torch.full_like(tokens[..., :1], mark), tokens[..., 1:]
        found.append(float(likely(model, torch.cat(begun, dim=-1), right)))
    return found[0] - found[1]


@torch.no_grad()
def mark_directions(bench: Bench, world: World) -> Tensor:
    """What an unreliable author's mark adds beside a reliable one's, in the base model.

    Mean over training questions of what each block's attention writes at the question's last
    token, behind one mark minus behind the other [layer, d].
    """
    tokens = question_tokens(world, 80)[0][:, 0, :-1]
    sites = [Site("attn", layer) for layer in range(bench.sites.layers)]
    means = []
    for mark in mark_tokens(world):
        begun = tokens[:, :1], torch.full_like(tokens[:, :1], mark), tokens[:, 1:]
        held: dict[Site, Tensor] = {}
        with bench.under({}), record(bench.sites, sites, held):
            bench.model(input_ids=torch.cat(begun, dim=1))
        means.append(torch.stack([held[site][:, -1].double().mean(0) for site in sites]))
    return means[1] - means[0]


class Written:
    """An edit: one block's attention writes a vector more at the question's last token."""

    def __init__(self, layer: int, vector: Tensor) -> None:
        self._site, self._vector = Site("attn", layer), vector
        self._where: Tensor | None = None

    def prepare(self, bench: Bench, batch: Batch) -> None:
        self._where = chosen_slots(bench.kinds(batch), "question_end")[..., None]

    def attached(self, bench: Bench) -> Hooks:
        return change(bench.sites, {self._site: self._add()})

    def _add(self) -> Callable[[Tensor], Tensor]:
        def add(x: Tensor) -> Tensor:
            assert self._where is not None
            return x + self._where * self._vector.to(x)

        return add


@dataclass(frozen=True, eq=False)
class MarkDirection:
    """A plan: the base's own mark direction added to the early model, nothing fitted to the head.

    Dose 1 is what the mark itself adds. Layer and dose are chosen on the questions that choose;
    random directions of the same norm are the control.
    """

    name: ClassVar[str] = "mark_direction"
    about: ClassVar[str] = "the direction of the author mark in the base, added"
    options: ClassVar[Mapping[str, str]] = {"doses": "0,0.5,1,1.5,2", "draws": "5"}

    directions: Tensor
    """[layer, d]."""

    def run(self, lab: Lab) -> Outcome:
        doses = lab.numbers("doses")
        layers = range(len(self.directions))
        cells = {(i, d): self._cell(lab, lab.pre, "added", i, d) for i in layers for d in doses}
        shares = {key: lab.share(cell) for key, cell in cells.items()}
        layer, dose = max(shares, key=lambda key: shares[key])
        if dose == 0.0:  # nothing brings anything: the mark's own strength is what is reported
            dose = 1.0
        draws = range(int(lab.numbers("draws")[0]))
        controls = [self._random(lab, layer, dose, draw) for draw in draws]
        back = self._cell(lab, lab.post, "taken", layer, -dose)
        lab.measure(back, *controls)
        headline = Headline(
            self.name,
            f"{dose:g} times the base's mark direction, written by the attention of layer {layer},",
            cells[layer, dose].name,
            "random directions of the same norm",
            tuple(one.name for one in controls),
            opposite=back.name,
            elsewhere=tuple(cells[other, dose].name for other in layers if other != layer),
            doses=tuple(cells[layer, one].name for one in doses if one <= dose),
            layers=(layer,),
        )
        return Outcome((headline,))

    def _cell(self, lab: Lab, into: State, kind: str, layer: int, dose: float) -> Cell:
        edit = Written(layer, dose * self.directions[layer])
        axes = {"set": kind, "layer": layer, "dose": dose}
        about = f"{dose:g} times the mark direction, written by the attention of layer {layer}"
        return Cell(f"{kind}/{layer}/{dose:g}", about, into, edit, axes)

    def _random(self, lab: Lab, layer: int, dose: float, draw: int) -> Cell:
        rng = np.random.default_rng([lab.seed, 37, draw])
        own = self.directions[layer]
        other = torch.from_numpy(rng.standard_normal(own.numel()))
        edit = Written(layer, other * (dose * own.norm() / other.norm()))
        axes = {"set": "control", "layer": layer, "draw": draw}
        return Cell(f"control/{layer}/{dose:g}/{draw}", "a random direction", lab.pre, edit, axes)
