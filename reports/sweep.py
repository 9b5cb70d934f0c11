"""Write the page of a sweep from its saved summary: figures, their numbers, the cells."""

from pathlib import Path
from urllib.parse import quote

from critical_phase.atomic import write_text
from critical_phase.errors import StoreError
from critical_phase.reports import page, policy
from critical_phase.reports.figures import as_inline
from critical_phase.reports.load import Json, read_json
from critical_phase.reports.sweep_drawing import figure_csv, figure_svg
from critical_phase.reports.sweep_panels import figures
from critical_phase.reports.sweep_select import NORMALISATIONS
from critical_phase.reports.sweep_shapes import SweepFigure
from critical_phase.reports.text import scrub

SUMMARY = "sweep.json"


def write_sweep_page(folder: Path) -> Path:
    """Write `index.html`, `figures/` and `data/` of a sweep, and say where the page is.

    Args:
        folder: Folder of the sweep, with its `sweep.json`.

    Raises:
        StoreError: There is no summary, or it cannot be understood.
    """
    value = read_json(folder / SUMMARY)
    try:
        arranged = figures(value)
        drawn = {figure.id: figure_svg(figure) for figure in arranged}
        text = _render(value, arranged, drawn)
    except (KeyError, TypeError, IndexError) as error:
        raise StoreError(
            f"{SUMMARY} cannot be understood: {error}",
            where=str(folder / SUMMARY),
            fix="write it again: probe sweep FILE",
        ) from error
    for figure in arranged:
        write_text(folder / "figures" / f"{figure.id}.svg", drawn[figure.id])
        write_text(folder / "data" / f"{figure.id}.csv", figure_csv(figure))
    write_text(folder / "index.html", text)
    return folder / "index.html"


def _render(value: Json, arranged: list[SweepFigure], drawn: dict[str, str]) -> str:
    theme = policy.script_text(page.asset("theme.js"))
    cells = value["cells"]
    return page.template("sweep.html.jinja").render(
        name=scrub(str(value["name"])),
        cells=[_cell(cell) for cell in cells],
        finished=sum(cell["state"] == "finished" for cell in cells),
        figures=[
            (figure, page.trusted(as_inline(drawn[figure.id], digits=1))) for figure in arranged
        ],
        tables=[_milestones(value, how, title) for how, title in NORMALISATIONS.items()],
        notes=[scrub(str(note)) for note in value["notes"]],
        policy=policy.policy((theme,)),
        theme_script=page.trusted(theme),
        styles=page.trusted(page.asset("report.css")),
    )


def _cell(cell: Json) -> Json:
    """Say of a cell what its line shows."""
    settings = ", ".join(f"{key} {value}" for key, value in cell["settings"].items())
    reused = ", ".join(f"{what} from {source}" for what, source in sorted(cell["reused"].items()))
    found = cell.get("found") or {}
    return {
        "name": cell["name"],
        "link": quote(f"{cell['name']}/report/report.html") if cell["page"] else "",
        "why": "" if cell["page"] or cell["state"] != "finished" else _no_page(cell),
        "settings": scrub(settings),
        "state": cell["state"],
        "sentence": scrub(str(found.get("sentence") or "")),
        "reused": reused,
    }


def _no_page(cell: Json) -> str:
    return "no page: analyze is false" if cell.get("found") is None else "no page"


def _milestones(value: Json, how: str, title: str) -> Json:
    """Arrange accuracies by numbers of examples, with the standard error over seeds."""
    curves = [c for c in value["curves"] if c["normalisation"] == how]
    seen = {count for curve in curves for count in curve["examples"]}
    lasts = {curve["examples"][-1] for curve in curves}
    shown = sorted({count for count in value["milestones"] if count in seen} | lasts)
    rows = []
    for curve in curves:
        places = {count: at for at, count in enumerate(curve["examples"])}
        cells = [_pair(curve, places.get(count)) for count in shown]
        rows.append({
            "mode": curve["mode"], "group": curve["group"], "seeds": curve["seeds"], "cells": cells
        })  # fmt: skip
    return {"title": title, "shown": shown, "rows": rows}


def _pair(curve: Json, at: int | None) -> tuple[float | None, float | None]:
    if at is None:
        return None, None
    return curve["mean"][at], curve["standard_error"][at]
