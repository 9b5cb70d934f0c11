"""Plan `frozen_attention`: early attention patterns in the late model, and late in the early.

The paper's recipe adapts MLPs alone, so attention changes only downstream of them; this plan asks
whether that change matters, whatever was adapted.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float

from critical_phase.probes.interventions.contract import Cell, Headline, Outcome, Value
from critical_phase.probes.interventions.grafting import DENOISE, DIRECTIONS, NOISE
from critical_phase.probes.interventions.lab import Lab
from critical_phase.probes.interventions.patterns import Heads, Patterns, read_patterns
from critical_phase.probes.interventions.random_patterns import RandomPatterns
from critical_phase.probes.interventions.slot_kinds import chosen_slots

Place = tuple[int, int]
"""Block and attention head."""
QUARTER = 0.25


class FrozenAttention:
    """Replaces patterns and leaves values: what attends where, not what is moved."""

    name: ClassVar[str] = "frozen_attention"
    about: ClassVar[str] = "early attention patterns in the late model, and late ones in the early"
    options: ClassVar[Mapping[str, str]] = {"sets": "layer,head", "draws": "5"}

    def run(self, lab: Lab) -> Outcome:
        """Measure all heads together, the most and the least moved, each layer and each head."""
        lab.check()
        moved = _movement(lab)
        heads = moved.shape[1]
        order = [divmod(int(i), heads) for i in np.argsort(-moved, axis=None, kind="stable")]
        every = sorted(order)
        quarter = max(1, round(QUARTER * len(order)))
        groups = {
            "all": ("all attention heads", every),
            "most": (f"the {quarter} attention heads that moved most", order[:quarter]),
            "least": (
                f"the {len(order) - len(order) // 2} attention heads that moved least",
                order[len(order) // 2 :],
            ),
        }
        sets = lab.chosen("sets", ("layer", "head"))
        if "layer" in sets:
            for layer in range(len(moved)):
                groups[f"layer/{layer}"] = (f"layer {layer}", [p for p in every if p[0] == layer])
        if "head" in sets:
            for place in every:
                groups[f"head/{place[0]}.{place[1]}"] = (f"head {place[0]}.{place[1]}", [place])
        made = {
            (way, name): _cell(lab, way, name, words, places, moved)
            for way in DIRECTIONS
            for name, (words, places) in groups.items()
        }
        controls = {
            way: [_random(lab, way, every, i) for i in range(lab.draws)] for way in DIRECTIONS
        }
        lab.measure(*made.values(), *controls[DENOISE], *controls[NOISE])
        note = (
            f"heads moved by {moved.max():.3g} (most, {_named(order[0])}) to {moved.min():.3g}"
            " (least) in total variation of the pattern from question_end on, mean over the"
            " questions that choose"
        )
        return Outcome((_frozen(made, controls[NOISE]), _grafted(made, controls[DENOISE])), (note,))


def _frozen(made: Mapping[tuple[str, str], Cell], controls: Sequence[Cell]) -> Headline:
    return Headline(
        "frozen_attention",
        "freezing attention at its early patterns",
        made[NOISE, "all"].name,
        "moving every row of attention as far at random",
        tuple(one.name for one in controls),
        lost=True,
        for_verdicts=True,
        opposite=made[DENOISE, "all"].name,
    )


def _grafted(made: Mapping[tuple[str, str], Cell], controls: Sequence[Cell]) -> Headline:
    return Headline(
        "pattern_graft",
        "late attention patterns in the early model",
        made[DENOISE, "all"].name,
        "moving every row of attention as far at random",
        tuple(one.name for one in controls),
        for_verdicts=True,
        opposite=made[NOISE, "all"].name,
    )


def _cell(
    lab: Lab,
    way: str,
    name: str,
    words: str,
    places: list[Place],
    moved: Float[np.ndarray, "block head"],
) -> Cell:
    into, of = (lab.pre, lab.post) if way == DENOISE else (lab.post, lab.pre)
    when = ("late", "early") if way == DENOISE else ("early", "late")
    axes: dict[str, Value] = {"set": name.split("/")[0], "direction": way}
    if "/" in name:
        axes["layer"] = places[0][0]
        axes["moved"] = float(np.mean([moved[place] for place in places]))
    if name.startswith("head/"):
        axes["head"] = places[0][1]
    about = f"putting the {when[0]} patterns of {words} into the {when[1]} model"
    return Cell(f"{way}/{name}", about, into, Patterns(of, _by_block(places)), axes)


def _random(lab: Lab, way: str, places: list[Place], draw: int) -> Cell:
    into, of = (lab.pre, lab.post) if way == DENOISE else (lab.post, lab.pre)
    when = "early" if way == DENOISE else "late"
    edit = RandomPatterns(of, into, _by_block(places), lab.seed * 1_000_003 + draw)
    about = f"moving every row of attention of the {when} model as far at random, draw {draw}"
    axes: dict[str, Value] = {"set": "control", "control": way, "draw": draw}
    return Cell(f"control/{way}/{draw}", about, into, edit, axes)


def _by_block(places: list[Place]) -> Heads:
    return {
        block: tuple(sorted(head for one, head in places if one == block))
        for block in sorted({block for block, _ in places})
    }


@torch.no_grad()
def _movement(lab: Lab) -> Float[np.ndarray, "block head"]:
    """Return how far the pattern of every head moves from early to late, 0 to 1.

    Total variation between the two rows of a query, averaged over queries from question_end on
    of the questions that choose.
    """
    bench, blocks = lab.bench, tuple(range(lab.bench.sites.layers))
    parts: list[np.ndarray] = []
    count = 0
    for batch in bench.open_packer:
        wanted = np.zeros(len(batch.inputs["input_ids"]), dtype=np.bool_)
        wanted[batch.owner.cpu().numpy()] = lab.exploratory[bench.plan.question[batch.rows]]
        where = chosen_slots(bench.kinds(batch), "from_question_end")
        where &= torch.from_numpy(wanted).to(where.device)[:, None]
        found = []
        for state in (lab.pre, lab.post):
            bench.mixture.hold(state)
            found.append(read_patterns(bench, batch, blocks))
        apart = [(found[0][b] - found[1][b]).abs().sum(-1).transpose(1, 2)[where] for b in blocks]
        parts.append(torch.stack([one.double().sum(0) / 2 for one in apart]).cpu().numpy())
        count += int(where.sum())
    return np.asarray(np.sum(parts, axis=0) / max(count, 1))


def _named(place: tuple[int, ...]) -> str:
    return ".".join(map(str, place))
