"""What of a sweep a figure compares: one thing varies, the rest as first named."""

from collections.abc import Iterable, Sequence

from critical_phase.reports.elements import Json

NORMALISATIONS = {"sum": "sum of log-probabilities", "per_char": "per character (acc_norm)"}
PHASE = (64, 256)
"""Examples between which the paper sees its critical phase, arXiv 2503.14391."""

NEGATIVE = ("negatives", "contamination", "unrelated")
"""Settings that say what the negative head is shown."""

KIND = ("negatives", "unrelated")
"""Those of them that name a kind; `contamination` is a dose."""

LENGTH = ("steps", "schedule")
"""Settings that say how long a run is followed and where, not how it learns."""

MODES = ("likra", "base_likra", "sft", "pos_base")


def levels(value: Json, how: str) -> tuple[tuple[str, float], ...]:
    """Name the accuracy of the base and of a guess, on the questions of the first group."""
    base = curves_of(value, how, "base")
    name = "base" if len(base) < 2 else f"base, {base[0]['group']}"
    chance = base[0].get("chance", value.get("chance")) if base else value.get("chance")
    found = [(name, c["mean"][0]) for c in base[:1]] + [("chance", chance)]
    return tuple((name, height) for name, height in found if height is not None)


def curves_of(value: Json, how: str, mode: str) -> list[Json]:
    """Take the curves of one mode under one normalisation."""
    return [c for c in value["curves"] if c["normalisation"] == how and c["mode"] == mode]


def reference(value: Json, how: str) -> list[Json]:
    """Take of every mode the first group: the first level of every factor."""
    found = (curves_of(value, how, mode)[:1] for mode in MODES)
    return [curve for curves in found for curve in curves]


def first_levels(value: Json, free: Iterable[str] = ()) -> str:
    """Name what a figure of the first group holds fixed, of all that varies in the sweep."""
    first = next(iter(reference(value, "sum")), None)
    if first is None:
        return ""
    fixed = [key for key in varied(value) if key not in {*free, *LENGTH}]
    return ", ".join(f"{key} {first['settings'][key]}" for key in fixed if key in first["settings"])


def beside(value: Json, how: str, mode: str, keys: Iterable[str]) -> list[Json]:
    """Take the first group and those that differ from it in these settings only."""
    curves = curves_of(value, how, mode)
    return [c for c in curves if _differing(c["settings"], curves[0]["settings"]) <= set(keys)]


def cells_beside(value: Json, key: str) -> list[Json]:
    """Take the finished cells that differ from the first one in this setting and the seed."""
    cells = [c for c in value["cells"] if c["role"] != "size" and c["state"] == "finished"]
    return [
        cell
        for cell in cells
        if _differing(cell["settings"], cells[0]["settings"]) <= {key, "seed", *LENGTH}
    ]


def _differing(one: Json, other: Json) -> set[str]:
    return {key for key in {*one, *other} if one.get(key) != other.get(key)}


def varied(value: Json) -> list[str]:
    """List the settings that vary between cells, but for the seed."""
    cells = [c for c in value["cells"] if c["role"] != "size"]
    keys = dict.fromkeys(key for cell in cells for key in cell["settings"])
    return [key for key in keys if key != "seed" and _levels_of(cells, key) > 1]


def _levels_of(cells: Sequence[Json], key: str) -> int:
    return len({str(cell["settings"].get(key)) for cell in cells})


def said_of(curve: Json, first: Json, keys: Iterable[str]) -> str:
    """Name a curve by what tells it from the first; the first by all that varies."""
    differing = _differing(curve["settings"], first["settings"])
    found = {key: curve["settings"].get(key) for key in keys if key in differing}
    if "negatives" in keys:
        found = {"negatives": curve["settings"].get("negatives"), **found}
    said = [
        f"{value}" if key == "negatives" else f"{key} {value}"
        for key, value in found.items()
        if value is not None
    ]
    return ", ".join(said) or str(curve["group"])


def place_of(cell: Json) -> Json | None:
    """Take the jump of the mode that a cell is judged by."""
    jumps = [jump for jump in cell["jumps"] if jump["normalisation"] == "sum"]
    order = ("likra", "base_likra")
    return next((jump for mode in order for jump in jumps if jump["mode"] == mode), None)
