"""What the figures of a sweep show: panels of lines, drawn from `sweep.json` alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from critical_phase.reports.elements import Numbers

Json = dict[str, Any]

NORMALISATIONS = {"sum": "sum of log-probabilities", "per_char": "per character (acc_norm)"}
PHASE = (64, 256)
"""Examples between which the paper sees its critical phase, arXiv 2503.14391."""

NEGATIVE = ("negatives", "contamination", "unrelated")
"""Settings that say what the negative head is shown."""

LENGTH = ("steps", "schedule")
"""Settings that say how long a run is followed and where, not how it learns."""

CLOCKS = {"steps": "steps", "examples": "examples", "summed_lr": "summed learning rate"}
MODES = ("likra", "base_likra", "sft", "pos_base")


@dataclass(frozen=True, slots=True)
class Line:
    """One series of a panel."""

    label: str
    x: tuple[float | int, ...]
    y: Numbers
    low: Numbers
    high: Numbers
    """Ends of the band or of the error bars; None where there is none."""
    joined: bool = True
    """Whether neighbours are joined: points of one run are, different runs are not."""
    style: str = ""
    """Label whose fixed colour the line takes; its own by default."""


@dataclass(frozen=True, slots=True)
class Panel:
    """Lines that share axes."""

    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    levels: tuple[tuple[str, float], ...] = ()
    """Level lines: name and height."""
    log: bool = False
    """Whether x counts examples on a logarithmic axis, with the critical phase shaded."""
    ticks: tuple[str, ...] = ()
    """Names of the places 0, 1, ... of an axis of names."""


@dataclass(frozen=True, slots=True)
class SweepFigure:
    """One figure with its caption."""

    id: str
    title: str
    caption: str
    panels: tuple[Panel, ...]


def figures(value: Json) -> list[SweepFigure]:
    """Arrange every figure that the summary of a sweep can fill."""
    made = (
        _learning(value), _kinds(value), _roles(value), _settings(value), _weights(value),
        _places(value), _sizes(value),
    )  # fmt: skip
    return [figure for figure in made if any(panel.lines for panel in figure.panels)]


def _learning(value: Json) -> SweepFigure:
    def pick(how: str) -> list[Line]:
        chosen = [c for c in _reference(value, how) if c["mode"] in ("likra", "sft")]
        return [_line(curve, curve["mode"]) for curve in chosen]

    return SweepFigure(
        "learning",
        "Learning curves",
        _caption(value, "Accuracy of both heads (likra) and of the positive head alone (sft)"),
        _both(value, pick),
    )


def _kinds(value: Json) -> SweepFigure:
    def pick(how: str) -> list[Line]:
        near = _beside(value, how, "likra", NEGATIVE)
        return (
            [_line(curve, _said(curve, near[0], NEGATIVE)) for curve in near]
            if len(near) > 1
            else []
        )

    return SweepFigure(
        "kinds",
        "Kinds of negatives",
        _caption(value, "Accuracy of likra by what the negative head was shown"),
        _both(value, pick),
    )


def _roles(value: Json) -> SweepFigure:
    def pick(how: str) -> list[Line]:
        shown = [
            c for c in _reference(value, how) if c["mode"] in ("likra", "base_likra", "pos_base")
        ]
        return [_line(curve, curve["mode"]) for curve in shown]

    return SweepFigure(
        "roles",
        "The role of the positive head",
        _caption(
            value,
            "Both heads (likra), the base in place of the positive head (base_likra), and the "
            "positive head against the base (pos_base)",
        ),
        _both(value, pick),
    )


def _settings(value: Json) -> SweepFigure:
    keys = [key for key in _varied(value) if key not in NEGATIVE]
    allowed = {*keys, *LENGTH}

    def pick(how: str) -> list[Line]:
        near = _beside(value, how, "likra", allowed)
        return (
            [_line(curve, _said(curve, near[0], keys)) for curve in near] if len(near) > 1 else []
        )

    return SweepFigure(
        "settings",
        "Other settings",
        _caption(value, "Accuracy of likra by the other settings that vary"),
        _both(value, pick),
    )


def _weights(value: Json) -> SweepFigure:
    def panel(how: str, title: str) -> Panel:
        group = next((c["group"] for c in _reference(value, how) if c["mode"] == "likra"), None)
        shown = [
            w
            for w in value["weights"]
            if w["normalisation"] == how
            and w["group"] == group
            and w["mode"] in ("likra", "base_likra")
            and (w["last"] or w["examples"] in PHASE)
        ]
        lines = tuple(
            _band(f"{w['mode']}, {w['examples']} examples", w["weights"], w) for w in shown
        )
        return Panel(title, "weight of the negative head", "accuracy", lines, _levels(value, how))

    return SweepFigure(
        "weights",
        "Weight of the negative head",
        _caption(value, "Accuracy of L+ - w L- (likra) and L_base - w L- (base_likra) by w"),
        tuple(panel(how, title) for how, title in NORMALISATIONS.items()),
    )


def _places(value: Json) -> SweepFigure:
    panels = [
        _place_panel(value, key, clock, name)
        for key in _varied(value)
        for clock, name in CLOCKS.items()
    ]
    return SweepFigure(
        "jumps",
        "Where accuracy jumps",
        "Step at which accuracy of likra (base_likra without a positive head) has risen half-way "
        "to its end, on three clocks. One point per run; bars: 95 % question bootstrap. A run "
        "whose rise has an interval that reaches zero has no point. Only cells that share the "
        "first level of every other factor are shown.",
        tuple(panel for panel in panels if panel.lines),
    )


def _place_panel(value: Json, key: str, clock: str, name: str) -> Panel:
    cells = _cells_beside(value, key)
    levels = list(dict.fromkeys(str(cell["settings"].get(key)) for cell in cells))
    points = [(levels.index(str(cell["settings"].get(key))), _place(cell)) for cell in cells]
    kept = [(at, jump) for at, jump in points if jump and jump[f"half_rise_{clock}"] is not None]
    if len(levels) < 2 or not kept:
        return Panel(key, key, name, ())
    line = Line(
        label="runs",
        x=tuple(at for at, _ in kept),
        y=tuple(jump[f"half_rise_{clock}"] for _, jump in kept),
        low=tuple(jump[f"low_{clock}"] for _, jump in kept),
        high=tuple(jump[f"high_{clock}"] for _, jump in kept),
        joined=False,
        style="likra",
    )
    return Panel(f"{key}, in {name}", key, name, (line,), ticks=tuple(levels))


def _sizes(value: Json) -> SweepFigure:
    def pick(how: str) -> list[Line]:
        shown = [
            s for s in value["sizes"] if s["normalisation"] == how and s["mode"] in ("likra", "sft")
        ]
        return [
            _band(
                f"{s['mode']}, {s['label']}", s["examples"], s, joined=s["kind"] == "longitudinal"
            )
            for s in shown
        ]

    return SweepFigure(
        "sizes",
        "Checkpoints of one run against one run per size",
        _caption(
            value,
            "Longitudinal (lines): the checkpoints of one run. Cross-sectional (points, never "
            "joined): one finished run per number of training questions, at its own last step. "
            "They agree only with a constant learning rate and one pass",
        ),
        _both(value, pick),
    )


def _both(value: Json, pick: Any) -> tuple[Panel, ...]:
    """Draw the same lines under both normalisations."""
    return tuple(
        Panel(title, "examples", "accuracy", tuple(pick(how)), _levels(value, how), log=True)
        for how, title in NORMALISATIONS.items()
    )


def _caption(value: Json, what: str) -> str:
    count = value.get("questions") or "unknown"
    return (
        f"{what}; share of {count} questions. Bands: standard error over seeds, where there are "
        f"several. Shaded: {PHASE[0]} to {PHASE[1]} examples."
    )


def _line(curve: Json, label: str) -> Line:
    return _band(label, curve["examples"], curve)


def _band(label: str, x: Sequence[int | float], series: Json, *, joined: bool = True) -> Line:
    pairs = list(zip(series["mean"], series["standard_error"], strict=True))
    return Line(
        label=label,
        x=tuple(x),
        y=tuple(series["mean"]),
        low=tuple(None if m is None or e is None else m - e for m, e in pairs),
        high=tuple(None if m is None or e is None else m + e for m, e in pairs),
        joined=joined,
        style=label if label in MODES else "",
    )


def _levels(value: Json, how: str) -> tuple[tuple[str, float], ...]:
    base = [c for c in value["curves"] if c["mode"] == "base" and c["normalisation"] == how]
    found = [("base", c["mean"][0]) for c in base[:1]] + [("chance", value.get("chance"))]
    return tuple((name, height) for name, height in found if height is not None)


def _curves(value: Json, how: str, mode: str) -> list[Json]:
    return [c for c in value["curves"] if c["normalisation"] == how and c["mode"] == mode]


def _reference(value: Json, how: str) -> list[Json]:
    """Take of every mode the first group: the first level of every factor."""
    found = (_curves(value, how, mode)[:1] for mode in MODES)
    return [curve for curves in found for curve in curves]


def _beside(value: Json, how: str, mode: str, keys: Iterable[str]) -> list[Json]:
    """Take the first group and those that differ from it in these settings only."""
    curves = _curves(value, how, mode)
    return [c for c in curves if _differing(c["settings"], curves[0]["settings"]) <= set(keys)]


def _cells_beside(value: Json, key: str) -> list[Json]:
    """Take the finished cells that differ from the first one in this setting and the seed."""
    cells = [c for c in value["cells"] if c["role"] != "size" and c["state"] == "finished"]
    return [
        cell
        for cell in cells
        if _differing(cell["settings"], cells[0]["settings"]) <= {key, "seed", *LENGTH}
    ]


def _differing(one: Json, other: Json) -> set[str]:
    return {key for key in {*one, *other} if one.get(key) != other.get(key)}


def _varied(value: Json) -> list[str]:
    """List the settings that vary between cells, but for the seed."""
    cells = [c for c in value["cells"] if c["role"] != "size"]
    keys = dict.fromkeys(key for cell in cells for key in cell["settings"])
    return [key for key in keys if key != "seed" and _levels_of(cells, key) > 1]


def _levels_of(cells: Sequence[Json], key: str) -> int:
    return len({str(cell["settings"].get(key)) for cell in cells})


def _said(curve: Json, first: Json, keys: Iterable[str]) -> str:
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


def _place(cell: Json) -> Json | None:
    jumps = [jump for jump in cell["jumps"] if jump["normalisation"] == "sum"]
    order = ("likra", "base_likra")
    return next((jump for mode in order for jump in jumps if jump["mode"] == mode), None)
