"""How results show themselves in a notebook: the figures and tables of the page, alone."""

from html import escape

from critical_phase.reports import figures
from critical_phase.reports.answer import Answer
from critical_phase.reports.elements import Curve, Map, Table
from critical_phase.reports.map_svg import map_svg
from critical_phase.reports.panels import charts, map_figures
from critical_phase.reports.tables import View, table_view
from critical_phase.reports.text import scrub, visible

MOST_ROWS = 60
"""Rows of a table that are shown; how many there are is said."""


def chart_html(curve: Curve, jump: figures.Jump | None) -> str:
    """Draw one curve with its interval, level lines, the jump and its caption."""
    (chart,) = charts("curve", (curve,))
    return _figure(figures.chart_svg(chart, jump), f"{chart.caption} {chart.facts}")


def map_html(item: Map) -> str:
    """Draw one map with its caption."""
    (figure,) = map_figures("map", (item,))
    return _figure(map_svg(figure, None), f"{figure.caption} {figure.facts}")


def table_html(table: Table) -> str:
    """Show a table with its caption."""
    return _view_html(table_view(table))


def findings_html(answer: Answer, verdicts: View) -> str:
    """Show the answer, its facts and warnings, and the verdicts."""
    facts = "".join(
        f"<tr><th>{_text(name)}</th><td>{_text(value)}</td><td>{_text(remark)}</td></tr>"
        for name, value, remark in answer.facts
    )
    warned = "".join(f"<li>{_text(one)}</li>" for one in answer.warnings)
    more = "".join(f"<p>{_text(one)}</p>" for one in (answer.more, answer.note) if one)
    listed = f"<ul>{warned}</ul>" if warned else ""
    return (
        f"<p><b>{_text(answer.sentence)}</b></p>{more}<table>{facts}</table>"
        f"{_view_html(verdicts)}{listed}"
    )


def _figure(svg: str, caption: str) -> str:
    drawn = figures.as_inline(svg, digits=1)
    return (
        f'<figure style="max-width:42em;margin:0">{drawn}'
        f"<figcaption>{_text(caption)}</figcaption></figure>"
    )


def _view_html(view: View) -> str:
    heads = "".join(f'<th scope="col">{_text(name)}</th>' for name, _ in view.columns)
    rows = "".join(
        f"<tr>{''.join(f'<td>{_text(cell.text)}</td>' for cell in row)}</tr>"
        for row in view.rows[:MOST_ROWS]
    )
    left = len(view.rows) - MOST_ROWS
    rest = f"<p>{left} more rows: to_pandas() has them all.</p>" if left > 0 else ""
    caption = f"<caption>{_text(view.title)}. {_text(view.caption)}</caption>"
    return f"<table>{caption}<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>{rest}"


def _text(value: object) -> str:
    """Escape text that came from data, control characters made visible."""
    return escape(visible(scrub(str(value))))
