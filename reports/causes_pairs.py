"""Models that were changed alike, layer by layer: where the change shows, or what is left of it."""

from collections.abc import Iterable

from critical_phase.reports.causes_columns import columns
from critical_phase.reports.causes_shapes import Alike, Causes, Pairs, Share
from critical_phase.reports.elements import Table
from critical_phase.reports.text import visible

LENS = "lens"
"""The plan that changes nothing: its layer -1 is the embedding, and every layer in other plans."""
EVERY = -1

Points = tuple[tuple[float, Share], ...]


def by_layer(one: Pairs) -> list[tuple[str, Points]]:
    """Return the lines of one file: label and, ascending, layer with share."""
    lines: dict[str, list[tuple[float, Share]]] = {}
    for pair in one.pairs:
        if pair.layer is not None and (one.intervention == LENS or pair.layer != EVERY):
            lines.setdefault(pair.line, []).append((float(pair.layer), pair.share))
    return [
        (label(one, line), tuple(sorted(points, key=lambda point: point[0])))
        for line, points in lines.items()
    ]


def everywhere(one: Pairs) -> Share | None:
    """Return the share with every layer changed at once; None where that was not measured."""
    found = [pair.share for pair in one.pairs if pair.layer == EVERY and one.intervention != LENS]
    return found[0] if found else None


def label(one: Pairs, line: str) -> str:
    """Name a line; its words come from the file."""
    return f"{visible(line)} lens" if one.intervention == LENS else "left of the change"


def title(one: Pairs) -> str:
    """Name the figure of one file."""
    if one.intervention == LENS:
        return "Where the change can be read off, layer by layer"
    return f"Left of the change with both models changed alike: {one.intervention}"


def caption(one: Pairs) -> str:
    """Say what the figure of one file shows, and what it does not."""
    ends = f"between {one.setting.early} and {one.setting.late}"
    if one.intervention == LENS:
        return (
            f"Share of the margin's change {ends} that is visible after each layer (-1: after the"
            " embedding), both models read through one fixed lens. It shows where the change can"
            " be read, not what causes it."
        )
    return (
        f"Share of the margin's change {ends} that is left where both are changed alike after one"
        " layer: 1 is all of it. Shaded: after every layer at once."
    )


def pair_tables(found: Causes) -> list[Table]:
    """List every pair, those without a layer too; one table for each file."""
    heads = columns(
        ("pair", "Pair", "text"),
        ("about", "Share of what", "text"),
        ("layer", "Layer", "number"),
        ("share", "Share", "number"),
        ("interval", "95 % interval", "number"),
    )
    about = (
        "Both ends were changed alike; the share is what the margin then differs by between them,"
        " of what it differs by in the models as they are."
    )
    return [
        Table(
            f"pairs {one.name}", visible(f"Both models changed alike: {one.intervention}"), about,
            heads, tuple(_rows(one.pairs)),
        )
        for one in found.pairs
    ]  # fmt: skip


def _rows(pairs: Iterable[Alike]) -> Iterable[tuple[object, ...]]:
    for one in pairs:
        share = one.share
        ends = None if share.low is None else [share.low, share.high]
        yield one.name, one.about, one.layer, share.value, ends
