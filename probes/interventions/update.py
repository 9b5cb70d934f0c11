"""What the adapted modules of a model hold: sums of multiples of saved low-rank updates.

Everything is said of whole updates scaling * B @ A, never of factors: (B R, R^-1 A) is the same
update, and half of A with half of B is a quarter of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows (`out`) or columns (`in`) of a module's weight: what one attention head owns."""

    side: Literal["out", "in"]
    spans: Spans
    """Pairs of first number and the one after the last, ascending."""


@dataclass(frozen=True, slots=True)
class Term:
    """A multiple of the update that one source has in the module."""

    source: str
    """Such as `negative@26`, or a random update by name; see `Sources`."""
    factor: float = 1.0
    part: Part | None = None
    """Rows or columns that are taken; None for all."""


Terms = tuple[Term, ...]
State = Mapping[str, Terms]
"""Terms by module; a module that is left out, or has none, is the base's own."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is grafted: one adapted module of one block, or one head's part of it."""

    layer: int
    """Number of the block."""
    module: str
    """Name in the base model, such as `model.layers.2.mlp.down_proj`."""
    short: str
    """Name within the block, such as `mlp.down_proj`."""
    head: int | None = None
    """Key head with the query heads that read it; None for the whole module."""
    part: Part | None = None
    """Rows or columns of that head."""
    rest: Part | None = None
    """Those of all other heads."""


def whole(source: str, modules: Iterable[str]) -> State:
    """Return the state in which every module holds the update of one source."""
    return {module: (Term(source),) for module in modules}


def grafted(recipient: State, donor: State, places: Iterable[Place]) -> State:
    """Put what the donor holds at some places into the recipient.

    Args:
        recipient: What all other places keep.
        donor: What these places get.
        places: Modules, or parts of them that one head owns.
    """
    made = dict(recipient)
    for place in places:
        new = donor.get(place.module, ())
        if place.part is None or place.rest is None:
            made[place.module] = new
            continue
        kept = cut(made.get(place.module, ()), place.rest)
        made[place.module] = kept + cut(new, place.part)
    return made


def scaled(state: State, factor: float) -> State:
    """Multiply every update; at 0 nothing is left."""
    return {module: times(terms, factor) for module, terms in state.items()}


def mixed(one: State, other: State, alpha: float) -> State:
    """Return (1 - alpha) * one + alpha * other, as concatenated terms: exact, with no cross terms.

    Args:
        one: What alpha = 0 gives, bit for bit.
        other: What alpha = 1 gives, bit for bit.
        alpha: Any number; below 0 and above 1 the line goes on.
    """
    return added(scaled(one, 1.0 - alpha), scaled(other, alpha))


def added(one: State, other: State) -> State:
    """Add two states, module by module."""
    modules = dict.fromkeys([*one, *other])
    return {name: (*one.get(name, ()), *other.get(name, ())) for name in modules}


def times(terms: Terms, factor: float) -> Terms:
    """Multiply terms; at 0 none is left."""
    if factor == 0.0:
        return ()
    return tuple(replace(term, factor=factor * term.factor) for term in terms)


def cut(terms: Terms, part: Part) -> Terms:
    """Keep some rows or columns of terms; those that hold none of them are left out."""
    kept = []
    for term in terms:
        both = part if term.part is None else _both(term.part, part)
        if both.spans:
            kept.append(replace(term, part=both))
    return tuple(kept)


def _both(one: Part, other: Part) -> Part:
    """Return what two parts of the same side share."""
    assert one.side == other.side, "parts of one module lie on one side"
    pairs = ((max(a, c), min(b, d)) for a, b in one.spans for c, d in other.spans)
    return Part(one.side, tuple((a, b) for a, b in pairs if a < b))
