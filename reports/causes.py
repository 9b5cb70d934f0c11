"""The causal section of a page: what it says, what it draws, and the files beside it."""

from dataclasses import dataclass
from typing import Any

from critical_phase.reports.causes_drawing import Drawn, drawn
from critical_phase.reports.causes_forest import NAME, Forest, forest, forest_rows
from critical_phase.reports.causes_grids import Grid, colour, grid_rows, grids, layer_word
from critical_phase.reports.causes_plots import Plot, plot_rows, plots
from critical_phase.reports.causes_shapes import Answer, Causes, Setting, plain
from critical_phase.reports.causes_svg import forest_svg, grid_svg, plot_svg
from critical_phase.reports.style import NONE, number
from critical_phase.reports.tables import csv_text
from critical_phase.reports.text import scrub

COMMAND = "probe intervene RUN"
"""What makes interventions, for a run without any."""

Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CausesView:
    """All that the template shows, in reading order."""

    sentence: str
    best: Answer | None
    settings: tuple[tuple[Setting, Facts], ...]
    answers: tuple[Answer, ...]
    forest: Forest | None
    grids: tuple[Grid, ...]
    plots: tuple[tuple[Plot, Drawn], ...]
    notes: tuple[str, ...]

    @property
    def extent(self) -> str:
        """Say how much there is to unfold."""
        figures = len(self.grids) + len(self.plots) + (self.forest is not None)
        if not self.answers:
            return f"{figures} figures" if figures else ""
        return f"{len(self.answers)} answers, {figures} figures"

    def cell(self, grid: Grid, panel: int, layer: int, column: str) -> dict[str, Any] | None:
        """Give text, colours and weight of one cell of a map."""
        value = grid.share(grid.panels[panel], layer, column)
        if value is None:
            return None
        fill, ink = colour(value, grid.limits)
        does = grid.panels[panel].cells[layer, column].does
        told = does.text if does else ""
        return {"share": does, "text": plain(value), "fill": fill, "ink": ink, "told": told}

    def layer(self, grid: Grid, layer: int) -> str:
        """Name a row of a map."""
        return layer_word(grid, layer)


def causes_view(found: Causes | None) -> CausesView | None:
    """Arrange what interventions found; None where there is nothing."""
    if found is None:
        return None
    return CausesView(
        causes_sentence(found),
        found.best,
        tuple((one, _facts(found, one)) for one in dict.fromkeys(a.setting for a in found.answers)),
        found.answers,
        forest(found),
        grids(found),
        tuple((plot, drawn(plot)) for plot in plots(found)),
        _notes(found),
    )


def causes_files(found: Causes | None) -> dict[str, str]:
    """Write figures and their numbers by their paths beside the page."""
    if found is None:
        return {}
    made = {}
    if (rows := forest(found)) is not None:
        made[f"figures/{NAME}.svg"] = forest_svg(rows)
        made[f"data/{NAME}.csv"] = csv_text(forest_rows(found))
    for plot in plots(found):
        made[f"figures/{plot.id}.svg"] = plot_svg(plot)
        made[f"data/{plot.id}.csv"] = csv_text(plot_rows(plot))
    for grid in grids(found):
        made[f"figures/{grid.id}.svg"] = grid_svg(grid)
        made[f"data/{grid.id}.csv"] = csv_text(grid_rows(grid))
    return made


def causes_sentence(found: Causes) -> str:
    """Say what was found; the word "causes" only where a file says that all points are met."""
    best = found.best
    if best is None:
        return ""
    share, about = best.share.text, scrub(best.about).rstrip(" ,")
    came = "goes" if best.lost else "comes"
    beside = f", with its control {best.control_share.text}" if best.control_share else ""
    if best.causes:
        return (
            f"By all seven points that the word asks for, this causes the jump: {about}; {share} "
            f"of the margin's change {came}{beside}."
        )
    of = f" (of {len(found.answers)} answers, the one that meets most points)"
    return (
        f"{_upper(about)}: {share} of the margin's change {came}"
        f"{beside}{of if len(found.answers) > 1 else ''}; {_missing(best)}."
    )


def _notes(found: Causes) -> tuple[str, ...]:
    """List the notes of every answer, and tests in training in words; each once."""
    said = [note for answer in found.answers for note in answer.notes]
    said += [note for one in found.pairs for note in one.notes]
    said += [str(test["sentence"]) for test in found.trainings]
    return tuple(dict.fromkeys(scrub(note) for note in said))


def _missing(best: Answer) -> str:
    """Say which points keep the word from being used."""
    if not best.points:
        return "the points that the word “cause” asks for were not checked"
    parts = []
    for state, words in ((False, "not met"), (None, "open")):
        named = [str(point.number) for point in best.points if point.met is state]
        if named:
            parts.append(f"{words}: {', '.join(named)}")
    of = f"{best.met} of the {len(best.points)} points of the word “cause” are met"
    return f"{of} ({'; '.join(parts)})"


def _facts(found: Causes, setting: Setting) -> Facts:
    """List what was held against what."""
    raw = next(answer.raw for answer in found.answers if answer.setting == setting)
    rest = f", other term {setting.other_term}" if setting.other_term != "none" else ""
    weight = NONE if setting.weight is None else f"{setting.weight:g}"
    counts = (raw.get("questions"), raw.get("questions_exploratory"))
    facts = (
        ("Early model", _end(raw, "early", setting.early)),
        ("Late model", _end(raw, "late", setting.late)),
        ("Head that is changed", f"{setting.head}{rest}"),
        ("Score", f"{setting.mode}, w {weight}, {setting.normalisation}"),
        ("Questions", f"{counts[0]} report" + (f", {counts[1]} chose" if counts[1] else "")),
        ("Ends", str(raw.get("ends_chosen") or "")),
    )
    return tuple((name, scrub(text)) for name, text in facts if text)


def _end(raw: dict[str, Any], end: str, name: str) -> str:
    there = (raw.get("ends") or {}).get(end) or {}
    margin, interval, hits = (there.get(k) for k in ("margin", "margin_interval", "accuracy"))
    if margin is None:
        return name
    low, high = interval or (None, None)
    return (
        f"{name}: margin {number(margin)} [{number(low)}, {number(high)}], accuracy {number(hits)}"
    )


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
