"""Write the page of a comparison from `compare.json`: overlays, differences, settings."""

from pathlib import Path
from urllib.parse import quote

from critical_phase.atomic import write_text
from critical_phase.errors import StoreError
from critical_phase.reports import figures, page, payload, policy, tables
from critical_phase.reports.elements import Measure, measure_from_json
from critical_phase.reports.load import Json, read_json
from critical_phase.reports.panels import charts
from critical_phase.reports.section import Section
from critical_phase.reports.style import slug

NAME = "compare.json"


def write_compare_page(folder: Path) -> Path:
    """Write `compare.html` with its figures and numbers beside it.

    Args:
        folder: Where `probe compare` put `compare.json`.

    Raises:
        StoreError: There is none, or it cannot be understood.
    """
    path = folder / NAME
    if not path.is_file():
        raise StoreError(
            "no comparison here", where=str(folder), fix="probe compare RUN RUN --out FOLDER"
        )
    value = read_json(path)
    found = measure_from_json(value, str(path))
    section = Section(
        "comparison", found.measure, found.title, found.about, "", found,
        charts("compare", found.curves), (),
    )  # fmt: skip
    for name, text in _files(section, found).items():
        write_text(folder / name, text)
    target = folder / "compare.html"
    write_text(target, _render(value, section))
    return target


def _files(section: Section, found: Measure) -> dict[str, str]:
    """Return every figure and every table of numbers."""
    made = {f"figures/{c.id}.svg": figures.chart_svg(c, None) for c in section.charts}
    made |= {f"data/{c.id}.csv": tables.csv_text(tables.chart_rows(c)) for c in section.charts}
    made |= {
        f"data/{slug(f'table {found.measure} {t.id}')}.csv": tables.csv_text(tables.table_rows(t))
        for t in found.tables
    }
    return dict(sorted(made.items()))


def _render(value: Json, section: Section) -> str:
    """Make the HTML; equal results give equal text."""
    assert section.found is not None
    pairs = sorted(
        {pair for c in section.found.curves for pair in zip(c.steps, c.examples, strict=True)}
    )
    steps, examples = [step for step, _ in pairs], [count for _, count in pairs]
    theme = policy.script_text(page.asset("theme.js"))
    library = page.library("uPlot.iife.js")
    own = policy.script_text("\n".join(page.asset(name) for name in page.SCRIPTS))
    data = payload.encode(payload.build((section,), steps, examples, None))
    return page.template("compare.html.jinja").render(
        sentence=str(value.get("sentence") or section.title),
        runs=[_run(one) for one in value.get("runs") or ()],
        section=section,
        views=page.views(section),
        steps=steps,
        policy=policy.policy((theme, library, own)),
        theme_script=page.trusted(theme),
        library_script=page.trusted(library),
        own_script=page.trusted(own),
        styles=page.trusted(page.library("uPlot.min.css") + page.asset("report.css")),
        payload=data,
    )


def _run(one: Json) -> Json:
    """Say what the page lists of one run."""
    link = str(one.get("report") or "")
    return {
        "name": str(one.get("name") or "run"),
        "headline": str(one.get("headline") or ""),
        "link": quote(link),
    }
