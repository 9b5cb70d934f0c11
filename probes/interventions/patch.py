"""Plan `patch`: activations of the late model in the early one, by site, layer and position."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from critical_phase.probes.interventions.contract import Cell, Headline, Outcome, Value
from critical_phase.probes.interventions.edits import SITES, Site, has
from critical_phase.probes.interventions.grafting import DENOISE, DIRECTIONS, NOISE
from critical_phase.probes.interventions.lab import Lab
from critical_phase.probes.interventions.slot_kinds import KINDS
from critical_phase.probes.interventions.transplant import RandomTransplant, Transplant


class Patch:
    """Site x position maps, both ways; `resid` at all positions is a prefix graft, and a gate."""

    name: ClassVar[str] = "patch"
    about: ClassVar[str] = "activations of one model in the other, by site, layer and position"
    options: ClassVar[Mapping[str, str]] = {
        "sites": "resid,attn,mlp",
        "positions": "all,question,question_end,answer",
        "enough": "0.5",
        "draws": "5",
    }

    def run(self, lab: Lab) -> Outcome:
        """Measure the maps; the earliest patch of a part of the positions that is enough speaks."""
        lab.check()
        asked = lab.chosen("sites", SITES)
        sites = [site for site in asked if has(lab.bench.sites, site)]
        left = [f"{site} was left out: this model has no such site" for site in asked
                if site not in sites]  # fmt: skip
        positions = lab.chosen("positions", tuple(KINDS))
        layers = range(lab.bench.sites.layers)
        made: dict[tuple[str, str, int, str], Cell] = {}
        for way in DIRECTIONS:
            for site in sites:
                for layer in layers:
                    for position in positions:
                        key = (way, site, layer, position)
                        made[key] = _cell(lab, *key)
        lab.measure(*made.values())
        headlines, notes = _headline(lab, made, layers)
        return Outcome(headlines, (*left, *notes))


def _headline(
    lab: Lab, made: Mapping[tuple[str, str, int, str], Cell], layers: range
) -> tuple[tuple[Headline, ...], tuple[str, ...]]:
    """Choose among single sites at parts of the positions: all of them would be a graft.

    The stream after the last block is left out: it is what the answer is read from.
    """
    last = ("resid", layers[-1])
    keys = [k for k in made if k[0] == DENOISE and k[3] != "all" and k[1:3] != last]
    shares = [lab.share(made[key]) for key in keys]
    if not keys or not np.isfinite(shares).any():
        return (), (
            "only whole patches, which are grafts, or patches of what the answer is read from were"
            " asked for: none speaks alone",
        )
    limit = lab.numbers("enough")[0]
    enough = [i for i, share in enumerate(shares) if share >= limit]
    at = min(enough, key=lambda i: keys[i][2]) if enough else int(np.nanargmax(shares))
    _, site, layer, position = keys[at]
    notes = () if enough else (f"no patch of a part of the positions brings {limit:g}",)
    controls = [_random(lab, site, layer, position, i) for i in range(lab.draws)]
    lab.measure(*controls)
    # The stream after a later block holds what earlier ones brought: no other layer of it is a
    # control.
    others = [one for one in layers if one != layer and site != "resid"]
    head = Headline(
        "patch",
        made[keys[at]].about,
        made[keys[at]].name,
        "moving there as far in a random direction",
        tuple(one.name for one in controls),
        opposite=made[NOISE, site, layer, position].name,
        elsewhere=tuple(made[DENOISE, site, one, position].name for one in others),
        layers=(layer,),
    )
    return (head,), notes


def _random(lab: Lab, site: str, layer: int, position: str, draw: int) -> Cell:
    edit = RandomTransplant(lab.post, [Site(site, layer)], position, lab.seed * 1_000_003 + draw)
    axes: dict[str, Value] = {"set": "control", "layer": layer, "position": position, "draw": draw}
    about = f"moving {site} of layer {layer} at {position} as far at random, draw {draw}"
    return Cell(f"control/{site}/{layer}/{position}/{draw}", about, lab.pre, edit, axes)


def _cell(lab: Lab, way: str, site: str, layer: int, position: str) -> Cell:
    into, of = (lab.pre, lab.post) if way == DENOISE else (lab.post, lab.pre)
    words = ("late", "early") if way == DENOISE else ("early", "late")
    axes: dict[str, Value] = {
        "set": "patch",
        "direction": way,
        "site": site,
        "layer": layer,
        "position": position,
    }
    what = f"{words[0]} {site} of layer {layer} at {position}"
    about = f"patching the {what} into the {words[1]} model"
    edit = Transplant(of, [Site(site, layer)], position)
    return Cell(f"{way}/{site}/{layer}/{position}", about, into, edit, axes)
