"""What the figures of a sweep show: panels of lines, drawn from `sweep.json` alone."""

from collections.abc import Callable, Iterable, Sequence

from critical_phase.reports.elements import Json
from critical_phase.reports.sweep_jumps import places
from critical_phase.reports.sweep_select import (
    KIND,
    LENGTH,
    MODES,
    NEGATIVE,
    NORMALISATIONS,
    PHASE,
    beside,
    first_levels,
    levels,
    reference,
    said_of,
    varied,
)
from critical_phase.reports.sweep_shapes import Line, Panel, SweepFigure


def figures(value: Json) -> list[SweepFigure]:
    """Arrange every figure that the summary of a sweep can fill."""
    made = (
        _learning(value), _kinds(value), _doses(value), _roles(value), _settings(value),
        _weights(value), places(value), _sizes(value),
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
