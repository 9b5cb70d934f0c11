"""Plan `graft`: adapters of one step in the model of another, by layer, module or head."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from critical_phase.errors import ConfigError
from critical_phase.probes.interventions.contract import Cell, Headline, Outcome, Value
from critical_phase.probes.interventions.grafting import (
    DENOISE,
    DIRECTIONS,
    NOISE,
    answer,
    graft_cell,
    in_words,
)
from critical_phase.probes.interventions.lab import Lab
from critical_phase.probes.interventions.places import head_places
from critical_phase.probes.interventions.search import smallest
from critical_phase.probes.interventions.update import Place, grafted

SETS = ("single", "prefix", "suffix", "leave_one_out", "module", "head", "search")


class Graft:
    """Swaps adapter rows; no hook is needed, and a layer prefix is exactly a residual patch."""

    name: ClassVar[str] = "graft"
    about: ClassVar[str] = "adapters of one step in the model of another, both ways, with a search"
    options: ClassVar[Mapping[str, str]] = {
        "sets": "single,prefix,suffix,leave_one_out,module,search",
        "enough": "0.8",
        "prefix": "0.5",
        "doses": "0,0.25,0.5,0.75,1",
        "draws": "5",
    }

    def run(self, lab: Lab) -> Outcome:
        """Measure all sets, both ways; then what speaks for those that were chosen."""
        sets = lab.chosen("sets", SETS)
        if {"search", "prefix"} & set(sets):
            lab.check(lines=("doses",))
        cells = [cell for way in DIRECTIONS for kind in sets for cell in _cells(lab, way, kind)]
        lab.measure(*cells, *_map(lab))
        notes: list[str] = []
        headlines: list[Headline] = []
        if "search" in sets:
            headlines.append(_searched(lab, notes))
        if "prefix" in sets and len(lab.layers) > 1:
            headlines.append(_prefix(lab, notes))
        elif "prefix" in sets:
            notes.append("one layer is adapted, so no prefix is short of all layers: none is asked")
        return Outcome(tuple(headlines), tuple(notes))


def _cells(lab: Lab, way: str, kind: str) -> Iterator[Cell]:
    layers = lab.layers
    if kind == "module":
        for place in lab.places:
            label = f"{place.layer}/{place.short}"
            where: dict[str, Value] = {"layer": place.layer, "module": place.short}
            yield graft_cell(lab, way, kind, label, [place], **where)
    if kind == "head":
        yield from _heads(lab, way)
    for layer in layers:
        chosen = {
            "single": [layer],
            "prefix": [one for one in layers if one <= layer],
            "suffix": [one for one in layers if one >= layer],
            "leave_one_out": [one for one in layers if one != layer],
        }.get(kind, [])
        if chosen:
            yield graft_cell(lab, way, kind, str(layer), _in(lab, chosen), layer=layer)


def _heads(lab: Lab, way: str) -> Iterator[Cell]:
    found = head_places(lab.places, lab.bench.model.config.get_text_config())
    if not found:
        raise ConfigError(
            "no attention module is adapted, so there is no head to graft",
            fix="leave head out of --with sets=..., or use --plan patch on attention",
        )
    for layer, head in sorted({(p.layer, int(p.head or 0)) for p in found}):
        own = [p for p in found if (p.layer, p.head) == (layer, head)]
        yield graft_cell(lab, way, "head", f"{layer}/{head}", own, layer=layer, head=head)


def _map(lab: Lab) -> Iterator[Cell]:
    """Every module of every further step in the early model: the layer x module map."""
    for source in lab.donors:
        donor = lab.state(source)
        for place in lab.places:
            state = grafted(lab.pre, donor, [place])
            name = f"map/{source}/{place.layer}/{place.short}"
            axes: dict[str, Value] = {"set": "map", "direction": DENOISE, "donor": source}
            axes |= {"layer": place.layer, "module": place.short}
            about = f"grafting the adapter of {source} in {in_words([place])} into the early model"
            yield Cell(name, about, state, axes=axes)


def _in(lab: Lab, layers: Sequence[int]) -> list[Place]:
    return [place for place in lab.places if place.layer in layers]


def _searched(lab: Lab, notes: list[str]) -> Headline:
    """Find the smallest sufficient and the smallest necessary set, layers first."""
    limit = lab.numbers("enough")[0]
    found = {way: _smallest(lab, way, limit) for way in DIRECTIONS}
    for way, verb in ((DENOISE, "sufficient"), (NOISE, "necessary")):
        notes.append(
            f"smallest {verb} set ({limit:g} of the margin's change on the questions that choose):"
            f" {in_words(found[way])}, {len(found[way])} of {len(lab.places)} places; no single"
            " one of them can be left out, which does not prove that no other set is smaller"
        )
    cell = graft_cell(lab, NOISE, "necessary", "smallest", found[NOISE])
    lab.measure(cell)
    return answer(lab, "graft", "smallest", found[DENOISE])


def _smallest(lab: Lab, way: str, limit: float) -> tuple[Place, ...]:
    def enough(places: Sequence[Place]) -> bool:
        label = "+".join(f"{p.layer}.{p.short}" for p in places)
        share = lab.share(graft_cell(lab, way, "search", label, places))
        return share >= limit if way == DENOISE else 1.0 - share >= limit

    layers = smallest(lab.layers, lambda some: enough(_in(lab, some)))
    return smallest(_in(lab, layers), enough)


def _prefix(lab: Lab, notes: list[str]) -> Headline:
    """Take the shortest prefix that is enough; of all layers together it would say nothing."""
    limit, layers = lab.numbers("prefix")[0], lab.layers
    prefixes = [_in(lab, layers[: i + 1]) for i in range(len(layers) - 1)]
    shares = [
        lab.share(graft_cell(lab, DENOISE, "prefix", str(layer), places, layer=layer))
        for layer, places in zip(layers, prefixes, strict=False)
    ]
    at = next((i for i, share in enumerate(shares) if share >= limit), len(prefixes) - 1)
    if shares[at] < limit:
        notes.append(
            f"no prefix short of all layers brings {limit:g} on the questions that choose; the"
            " longest is reported"
        )
    return answer(lab, "prefix_graft", "chosen", prefixes[at], for_verdicts=True)
