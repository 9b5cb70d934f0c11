"""Write the page of one run: HTML, print figures and the numbers behind them."""

import importlib.resources
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from critical_phase.atomic import write_text
from critical_phase.reports import answer as answers
from critical_phase.reports import figures, payload, policy, ranked, tables
from critical_phase.reports.answer_curve import answer_curve
from critical_phase.reports.beside import data_files, draw, drop_stale
from critical_phase.reports.causes import COMMAND, causes_files, causes_view
from critical_phase.reports.causes_file import with_causes
from critical_phase.reports.elements import TokenView
from critical_phase.reports.load import Results, load_results
from critical_phase.reports.order import order_of_changes
from critical_phase.reports.panels import KIND_WORDS, ROW_NAMES, panel_title
from critical_phase.reports.provenance import analysed_by, collection_warnings, provenance
from critical_phase.reports.section import Section
from critical_phase.reports.sections import grouped, sections
from critical_phase.reports.style import limits_text, number, slug
from critical_phase.reports.text import dedent, scrub, visible

SCRIPTS = (
    "state.js", "room.js", "panels.js", "charts.js", "maps.js", "grid.js", "ridges.js",
    "squares.js", "trail.js", "tokens.js", "report.js",
)  # fmt: skip
"""Our own scripts, joined in this order."""


def write_report(run: Path, output: Path | None = None) -> Path:
    """Write the report of a run and say where it is.

    Args:
        run: Run folder with `run.json` and `analysis/`.
        output: HTML file to write; figures and data go beside it. By default
            `report/report.html` of the run.

    Raises:
        StoreError: There is no analysis, or a file that cannot be understood.
    """
    results = with_causes(load_results(run), run)
    target = output or run / "report" / "report.html"
    if target.suffix.lower() not in {".html", ".htm"}:
        target = target / "report.html"
    arranged = sections(results.measures)
    order = order_of_changes(results.findings, results.measures.get("changes"))
    drawn = draw(arranged, ranked.jump_mark(results.findings), order)
    texts = {f"figures/{name}.svg": text for name, text in drawn.items()}
    found = data_files(arranged, results, order)
    texts |= {f"data/{name}.csv": text for name, text in found.items()}
    texts |= causes_files(results.causes)
    for name, text in sorted(texts.items()):
        write_text(target.parent / name, text)
    if output is None:
        drop_stale(target.parent, set(texts))
    write_text(target, render(results, arranged, drawn))
    return target


def render(results: Results, arranged: tuple[Section, ...], drawn: dict[str, str]) -> str:
    """Make the HTML of a page; equal results give equal text."""
    mark = ranked.jump_mark(results.findings)
    steps, examples = payload.saved_steps(results.measures)
    jump = {"step": mark[0], "low": mark[1], "high": mark[2]} if mark else None
    theme, charting = _script("theme.js"), library("uPlot.iife.js")
    own = policy.script_text("\n".join(asset(name) for name in SCRIPTS))
    folded = [view for section in arranged for view in views(section) if view.large]
    first = next((chart.id for section in arranged for chart in section.charts), "")
    return template("report.html.jinja").render(
        run=results.run,
        title=str(results.run.get("name") or "run"),
        answer=answers.answer(results.findings, tuple(results.run.get("heads") or ())),
        sections=arranged,
        groups=grouped(arranged),
        curve=answer_curve(results.findings, results.measures.get("curves"), mark),
        order=order_of_changes(results.findings, results.measures.get("changes")),
        made_by=analysed_by(results.run),
        causes=causes_view(results.causes),
        intervene=COMMAND,
        changes=ranked.changes_view(results.findings, results.measures.get("changes")),
        verdicts=answers.verdicts_view(results.findings),
        jump_share=ranked.jump_share(results.findings),
        provenance=provenance(results.run),
        caveats=_caveats(results, arranged),
        steps=steps,
        examples=examples,
        layers=_layers(arranged),
        attention_heads=_attention_heads(arranged),
        heads=_heads(arranged),
        coarse=payload.is_coarse(arranged),
        first_svg=trusted(figures.as_inline(drawn[first], digits=1)) if first else "",
        policy=policy.policy((theme, charting, own)),
        theme_script=trusted(theme),
        library_script=trusted(charting),
        own_script=trusted(own),
        styles=trusted(library("uPlot.min.css") + asset("report.css") + asset("causes.css")),
        payload=payload.encode(payload.build(arranged, steps, examples, jump, folded)),
    )  # fmt: skip


@cache
def asset(name: str) -> str:
    """Read one of our own scripts or style sheets."""
    files = importlib.resources.files(__package__) / "assets"
    return dedent((files / name).read_text(encoding="utf-8"))


def views(section: Section) -> list[tables.View]:
    """Format the tables of a section; ids become those of the page."""
    found = section.found.tables if section.found else ()
    return [
        replace(tables.table_view(table), id=slug(f"table {section.measure} {table.id}"))
        for table in found
    ]


def template(name: str) -> jinja2.Template:
    """Load a template; what goes into it is escaped unless it is `trusted`."""
    return _environment().get_template(name)


def trusted(text: str) -> Markup:
    """Mark text that this package wrote itself, so that it is not escaped."""
    return Markup(text)


def _script(name: str) -> str:
    return policy.script_text(asset(name))


@cache
def library(name: str) -> str:
    """Read a file of uPlot from the installed `uplot-python`."""
    files = importlib.resources.files("uplot") / "static"
    return policy.script_text(dedent((files / name).read_text(encoding="utf-8")))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template_source),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "number": number,
        "slug": slug,
        "visible": visible,
        "scrub": scrub,
        "in_words": _in_words,
    }
    environment.globals |= {
        "row_names": ROW_NAMES,
        "kind_words": KIND_WORDS,
        "views": views,
        "limits_text": limits_text,
        "map_key": payload.map_key,
        "panel_title": panel_title,
        "at_last": _at_last,
    }
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False}
    return environment


def _caveats(results: Results, arranged: tuple[Section, ...]) -> tuple[str, ...]:
    said = [scrub(str(item)) for item in results.findings.get("warnings") or ()]
    said += collection_warnings(results.run)
    for section in arranged:
        if section.found is None:
            said.append(f"{section.title}: not measured in this run.")
        else:
            named = (scrub(item) for item in section.found.warnings)
            said += [
                f"{section.title}: {item}"
                for item in named
                if f"{section.measure}: {item}" not in said
            ]
    return tuple(dict.fromkeys(said))


def _layers(arranged: tuple[Section, ...]) -> tuple[int, ...]:
    found = {c.layer for s in arranged for chart in s.charts for c in chart.curves}
    for section in arranged:
        for figure in section.maps:
            for item in figure.maps:
                found.add(item.layer)
                if item.row_name == "layer":
                    found |= {payload.row_layer("layer", label) for label in item.row_labels}
    return tuple(sorted(layer for layer in found if layer is not None))


def _attention_heads(arranged: tuple[Section, ...]) -> tuple[int, ...]:
    """List the attention heads of a layer that any map shows."""
    labels = {
        label
        for section in arranged
        for figure in section.maps
        for item in figure.maps
        if item.row_name == "attention_head"
        for label in item.row_labels
    }
    found = [re.findall(r"\d+", label) for label in labels]
    return tuple(sorted({int(numbers[1]) for numbers in found if len(numbers) > 1}))


def _heads(arranged: tuple[Section, ...]) -> tuple[str, ...]:
    found = {item.head for s in arranged for figure in s.maps for item in figure.maps}
    found |= {chart.head for s in arranged for chart in s.charts}
    order = ("negative", "positive")
    names = [str(head) for head in found if head]
    return tuple(sorted(names, key=lambda h: (order.index(h) if h in order else 9, h)))


def _template_source(name: str) -> str:
    """Read a template without its indentation, which no reader sees."""
    files = importlib.resources.files(__package__) / "templates"
    return re.sub(r"(?m)^[ \t]+", "", (files / name).read_text(encoding="utf-8"))


def _in_words(value: Any) -> str:
    """Write a setting: lists by their ends, numbers shortly."""
    if isinstance(value, list) and len(value) > 4:
        return f"{_in_words(value[0])} to {_in_words(value[-1])} ({len(value)} values)"
    if isinstance(value, list):
        return " ".join(map(_in_words, value))
    if isinstance(value, dict):
        return " ".join(f"{scrub(str(k))} {_in_words(v)}" for k, v in sorted(value.items()))
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return number(value) if plain else scrub(str(value))


def _at_last(view: TokenView, candidate: dict[str, Any], head: str) -> float | int | None:
    values = candidate.get(head) or []
    return values[len(view.steps) - 1] if len(values) == len(view.steps) else None
