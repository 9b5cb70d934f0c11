"""What the figures of a sweep show: panels of lines, drawn from `sweep.json` alone."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from critical_phase.reports.elements import Json, Numbers
from critical_phase.reports.sweep_select import (
    KIND,
    LENGTH,
    MODES,
    NEGATIVE,
    NORMALISATIONS,
    PHASE,
    beside,
    cells_beside,
    first_levels,
    levels,
    place_of,
    reference,
    said_of,
    varied,
)

CLOCKS = {"steps": "steps", "examples": "examples", "summed_lr": "summed learning rate"}


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
    hollow: bool = False
    """Whether the points are rings: their places would move if the runs went on."""


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
        _learning(value), _kinds(value), _doses(value), _roles(value), _settings(value),
        _weights(value), _places(value), _sizes(value),
    )  # fmt: skip
    return [figure for figure in made if any(panel.lines for panel in figure.panels)]


def _learning(value: Json) -> SweepFigure:
    def pick(how: str) -> list[Line]:
        chosen = [c for c in reference(value, how) if c["mode"] in ("likra", "sft")]
        return [_line(curve, curve["mode"]) for curve in chosen]

    return SweepFigure(
        "learning",
        _title(value, "Learning curves"),
        _caption(value, "Accuracy of both heads (likra) and of the positive head alone (sft)"),
        _both(value, pick),
    )


def _kinds(value: Json) -> SweepFigure:
    def pick(how: str) -> list[Line]:
        near = beside(value, how, "likra", KIND)
        return [_line(c, said_of(c, near[0], KIND)) for c in near] if len(near) > 1 else []

    return SweepFigure(
        "kinds",
        "Kinds of negatives",
        _caption(value, "Accuracy of likra by what the negative head was shown", KIND),
        _both(value, pick),
    )


def _doses(value: Json) -> SweepFigure:
    def pick(how: str) -> list[Line]:
        near = beside(value, how, "likra", ("contamination",))
        near.sort(key=lambda curve: curve["settings"].get("contamination", 0.0))
        named = [(c, f"contamination {c['settings'].get('contamination')}") for c in near]
        return [_line(curve, name) for curve, name in named] if len(near) > 1 else []

    return SweepFigure(
        "dose",
        _title(value, "Right answers among the negatives"),
        _caption(
            value,
            "Accuracy of likra by the share of negatives replaced by the right answer "
            "(contamination)",
            ("contamination",),
        ),
        _both(value, pick),
    )


def _roles(value: Json) -> SweepFigure:
    def pick(how: str) -> list[Line]:
        shown = [
            c for c in reference(value, how) if c["mode"] in ("likra", "base_likra", "pos_base")
        ]
        return [_line(curve, curve["mode"]) for curve in shown]

    return SweepFigure(
        "roles",
        _title(value, "The role of the positive head"),
        _caption(
            value,
            "Both heads (likra), the base in place of the positive head (base_likra), and the "
            "positive head against the base (pos_base)",
        ),
        _both(value, pick),
    )


def _settings(value: Json) -> SweepFigure:
    keys = [key for key in varied(value) if key not in NEGATIVE]
    allowed = {*keys, *LENGTH}

    def pick(how: str) -> list[Line]:
        near = beside(value, how, "likra", allowed)
        return (
            [_line(curve, said_of(curve, near[0], keys)) for curve in near] if len(near) > 1 else []
        )

    return SweepFigure(
        "settings",
        _title(value, "Other settings"),
        _caption(value, "Accuracy of likra by the other settings that vary", keys),
        _both(value, pick),
    )


def _weights(value: Json) -> SweepFigure:
    def panel(how: str, title: str) -> Panel:
        group = next((c["group"] for c in reference(value, how) if c["mode"] == "likra"), None)
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
        return Panel(title, "weight of the negative head", "accuracy", lines, levels(value, how))

    return SweepFigure(
        "weights",
        _title(value, "Weight of the negative head"),
        _caption(
            value,
            "Accuracy of L+ - w L- (likra) and L_base - w L- (base_likra) by w",
            shaded=False,
        ),
        tuple(panel(how, title) for how, title in NORMALISATIONS.items()),
    )


def _places(value: Json) -> SweepFigure:
    panels = [
        _place_panel(value, key, clock, name)
        for key in varied(value)
        for clock, name in CLOCKS.items()
    ]
    return SweepFigure(
        "jumps",
        "Where accuracy jumps",
        "Step at which accuracy of likra (base_likra without a positive head) has risen half-way "
        "to its end, on three clocks. One point per run, seeds side by side; bars: 95 % question "
        "bootstrap, given that accuracy rises. Rings: accuracy still rises at the last step, and "
        "more steps would move the point. A run whose rise has an interval that reaches zero has "
        "no point. Only cells that share the first level of every other factor are shown.",
        tuple(panel for panel in panels if panel.lines),
    )


def _place_panel(value: Json, key: str, clock: str, name: str) -> Panel:
    cells = cells_beside(value, key)
    names = _in_order([cell["settings"].get(key) for cell in cells])
    seeds = sorted({cell["seed"] for cell in cells})
    points = [
        (
            names.index(str(cell["settings"].get(key))) + _aside(seeds.index(cell["seed"]), seeds),
            place_of(cell),
        )
        for cell in cells
    ]
    kept = [(at, jump) for at, jump in points if jump and jump[f"half_rise_{clock}"] is not None]
    if len(names) < 2 or not kept:
        return Panel(key, key, name, ())
    ended = [(at, jump) for at, jump in kept if not jump.get("still_rising")]
    rising = [(at, jump) for at, jump in kept if jump.get("still_rising")]
    lines = (
        _points("runs", ended, clock, hollow=False),
        _points("runs, still rising at the last step", rising, clock, hollow=True),
    )
    shown = tuple(line for line in lines if line.x)
    return Panel(f"{key}, in {name}", key, name, shown, ticks=tuple(names))


def _in_order(levels: Sequence[Any]) -> list[str]:
    """Name the levels of a factor: numbers by size, others as they come."""
    numbers = [isinstance(level, int | float) for level in levels]
    return list(dict.fromkeys(map(str, sorted(levels) if all(numbers) else levels)))


def _aside(rank: int, seeds: Sequence[int]) -> float:
    """Move the seeds of one level apart, within a third of a place to either side."""
    return (rank - (len(seeds) - 1) / 2) * min(0.12, 0.66 / len(seeds))


def _points(label: str, kept: Sequence[tuple[float, Json]], clock: str, *, hollow: bool) -> Line:
    return Line(
        label=label,
        x=tuple(at for at, _ in kept),
        y=tuple(jump[f"half_rise_{clock}"] for _, jump in kept),
        low=tuple(jump[f"low_{clock}"] for _, jump in kept),
        high=tuple(jump[f"high_{clock}"] for _, jump in kept),
        joined=False,
        style="likra",
        hollow=hollow,
    )


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
            varied(value),
        ),
        _both(value, pick),
    )


def _both(value: Json, pick: Callable[[str], list[Line]]) -> tuple[Panel, ...]:
    """Draw the same lines under both normalisations."""
    return tuple(
        Panel(title, "examples", "accuracy", tuple(pick(how)), levels(value, how), log=True)
        for how, title in NORMALISATIONS.items()
    )


def _title(value: Json, what: str) -> str:
    """Name the kind of negatives where a figure shows one of several."""
    free = [key for key in varied(value) if key != "negatives"]
    kind = first_levels(value, free)
    return f"{what} ({kind})" if kind else what


def _caption(value: Json, what: str, free: Iterable[str] = (), *, shaded: bool = True) -> str:
    """Say what is drawn, on how many questions, and what is held at its first level."""
    fixed = first_levels(value, free)
    parts = [
        f"{what}; share of {_count(value)} questions.",
        f"Shown: {fixed}; other levels are in the other figures and tables." if fixed else "",
        "Bands: standard error over seeds, where there are several.",
        f"Shaded: {PHASE[0]} to {PHASE[1]} examples." if shaded else "",
    ]
    return " ".join(part for part in parts if part)


def _count(value: Json) -> str:
    """Write the number of questions, or its range where cells differ in it."""
    ends = value.get("questions_range")
    if value.get("questions") or not ends:
        return str(value.get("questions") or "an unknown number of")
    return f"{ends[0]} to {ends[1]}"


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
