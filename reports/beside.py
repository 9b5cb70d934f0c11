"""What lies beside a page: print figures as SVG and every number as CSV."""

from pathlib import Path
from typing import Any

from critical_phase.reports import figures, ranked, tables
from critical_phase.reports.load import Results
from critical_phase.reports.map_svg import map_svg
from critical_phase.reports.order import NAME, Order
from critical_phase.reports.order_svg import order_svg
from critical_phase.reports.section import Section
from critical_phase.reports.style import slug


def draw(
    arranged: tuple[Section, ...], jump: figures.Jump | None, order: Order | None
) -> dict[str, str]:
    """Draw every figure, by its name."""
    drawn: dict[str, str] = {} if order is None else {NAME: order_svg(order)}
    for section in arranged:
        drawn |= {chart.id: figures.chart_svg(chart, jump) for chart in section.charts}
        drawn |= {figure.id: map_svg(figure, jump) for figure in section.maps}
    return drawn


def data_files(
    arranged: tuple[Section, ...], results: Results, order: Order | None
) -> dict[str, str]:
    """Write the numbers of every figure and table, by their name."""
    data: dict[str, str] = {} if order is None else {NAME: tables.csv_text(order.rows)}
    for section in arranged:
        data |= {c.id: tables.csv_text(tables.chart_rows(c)) for c in section.charts}
        data |= {f.id: tables.csv_text(tables.map_rows(f)) for f in section.maps}
        if section.found:
            for table in section.found.tables:
                data[slug(f"table {section.measure} {table.id}")] = tables.csv_text(
                    tables.table_rows(table)
                )
            if section.found.tokens:
                data["tokens"] = tables.csv_text(tables.token_rows(section.found.tokens))
    found = {
        "changes": ranked.ranked_changes(results.findings, results.measures.get("changes")),
        "verdicts": results.findings.get("verdicts") or [],
    }
    data |= {f"table-findings-{k}": tables.csv_text(_records(v)) for k, v in found.items()}
    return data


def _records(items: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    keys = sorted({key for item in items for key in item})
    flat = [
        tuple(str(item.get(k)) if isinstance(item.get(k), list) else item.get(k) for k in keys)
        for item in items
    ]
    return [tuple(keys), *flat]


def drop_stale(folder: Path, names: set[str]) -> None:
    """Remove figures and data of an earlier report that this one does not have."""
    for path in sorted([*folder.glob("figures/*.svg"), *folder.glob("data/*.csv")]):
        if path.relative_to(folder).as_posix() not in names:
            path.unlink()
