"""Write the index of many runs: one static page made of their `run.json` files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from critical_phase.atomic import write_text
from critical_phase.errors import StoreError
from critical_phase.reports import page, policy
from critical_phase.reports.load import Json, read_json
from critical_phase.reports.sweep import SUMMARY, write_sweep_page
from critical_phase.reports.text import scrub


@dataclass(frozen=True, slots=True)
class Entry:
    """One run in the index."""

    folder: str
    name: str
    model: str
    questions: str
    date: str
    headline: str
    spark: str
    """Points of a small accuracy curve, as SVG writes them; may be empty."""
    last: float | int | None
    """Accuracy of likra at the last step."""
    link: str
    """Relative address of the report; empty when there is none."""
    problem: str
    """Why the run cannot be read; empty when it can."""


def write_index(folder: Path) -> Path:
    """Write `index.html` for every run below a folder and say where it is.

    A folder that `probe sweep` made keeps the page of the sweep, which lists the same runs.

    Args:
        folder: Folder whose sub-folders are runs. One that cannot be read is listed
            with the reason.

    Raises:
        StoreError: The folder does not exist.
    """
    if not folder.is_dir():
        raise StoreError(
            "no folder of runs here", where=str(folder), fix="give the folder that holds the runs"
        )
    if (folder / SUMMARY).is_file():
        return write_sweep_page(folder)
    entries = [entry(path.parent) for path in sorted(folder.glob("*/run.json"))]
    entries.sort(key=lambda item: (item.date, item.name), reverse=True)
    target = folder / "index.html"
    write_text(target, _render(entries))
    return target


def entry(run: Path) -> Entry:
    """Read what the index says about one run."""
    try:
        facts = read_json(run / "run.json")
        spark, last = _spark(run)
        problem = ""
    except StoreError as error:
        facts, spark, last, problem = {}, "", None, scrub(str(error.args[0]))
    report = run / "report" / "report.html"
    return Entry(
        folder=run.name,
        name=str(facts.get("name") or run.name),
        model=scrub(str(facts.get("model") or "")),
        questions=scrub(str(facts.get("questions") or "")),
        date=str(facts.get("created_utc") or "")[:10],
        headline=scrub(str(facts.get("headline") or "")),
        spark=spark,
        last=last,
        link=quote(f"{run.name}/report/report.html") if report.is_file() else "",
        problem=problem,
    )


def _spark(run: Path) -> tuple[str, float | int | None]:
    path = run / "analysis" / "curves.json"
    if not path.is_file():
        return "", None
    curves: Sequence[Json] = read_json(path).get("curves") or ()
    found = next((curve for curve in curves if curve.get("id") == "accuracy.likra"), None)
    if found is None:
        return "", None
    pairs = [
        (step, value)
        for step, value in zip(found.get("steps") or (), found.get("value") or (), strict=False)
        if value is not None
    ]
    if not pairs:
        return "", None
    wide = max(step for step, _ in pairs) or 1
    points = " ".join(f"{2 + 116 * step / wide:.1f},{30 - 28 * value:.1f}" for step, value in pairs)
    return points, float(pairs[-1][1])


def _render(entries: Sequence[Entry]) -> str:
    theme = policy.script_text(page.asset("theme.js"))
    return page.template("index.html.jinja").render(
        entries=entries,
        policy=policy.policy((theme,)),
        theme_script=page.trusted(theme),
        styles=page.trusted(page.asset("report.css")),
    )
