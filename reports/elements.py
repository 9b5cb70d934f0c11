"""What a page is made of: curves, maps, tables and token views, as frozen values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from critical_phase.errors import StoreError

Json = dict[str, Any]
Numbers = tuple[float | int | None, ...]
Grid = tuple[Numbers, ...]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Curve:
    """One quantity over the saved steps."""

    id: str
    title: str
    unit: str
    group: str
    """Curves of one group share a chart."""
    label: str
    head: str | None
    mode: str | None
    layer: int | None
    steps: tuple[int, ...]
    examples: tuple[int, ...]
    value: Numbers
    low: Numbers | None
    high: Numbers | None
    interval: str | None
    """Kind of the band, e.g. `95 % question bootstrap`."""
    n: int | None
    """Questions behind each value."""
    references: tuple[tuple[str, float], ...]
    """Level lines: name and height."""
    caption: str


@dataclass(frozen=True, slots=True)
class Map:
    """One quantity by row and step."""

    id: str
    title: str
    unit: str
    head: str | None
    row_name: str
    """`layer`, `attention_head`, `module` or `step`."""
    row_labels: tuple[str, ...]
    layer: int | None
    """Of a step x step map, where the file says so."""
    steps: tuple[int, ...]
    values: Grid
    low: Grid | None
    high: Grid | None
    diverging: bool
    range: tuple[float, float] | None
    n: int | None
    interval: str | None
    control: str
    caption: str


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    key: str
    label: str
    unit: str
    kind: str
    """`text`, `number` or `p`."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that can be sorted by any column."""

    id: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, slots=True)
class TokenView:
    """One question with its candidates, followed through training."""

    id: str
    question: str
    question_id: str
    steps: tuple[int, ...]
    candidates: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class Measure:
    """One file of `analysis/`."""

    measure: str
    title: str
    about: str
    reference: str
    settings: Json
    warnings: tuple[str, ...]
    curves: tuple[Curve, ...]
    maps: tuple[Map, ...]
    tables: tuple[Table, ...]
    tokens: tuple[TokenView, ...]


def measure_from_json(value: Json, where: str) -> Measure:
    """Check one analysis file and turn it into elements.

    Raises:
        StoreError: A field is missing or does not fit; names file and field.
    """
    return Measure(
        measure=str(_need(value, "measure", where)),
        title=str(value.get("title") or value["measure"]),
        about=str(value.get("about") or ""),
        reference=str(value.get("reference") or ""),
        settings=value.get("settings") or {},
        warnings=tuple(str(item) for item in value.get("warnings") or ()),
        curves=_all(value, "curves", _curve, where),
        maps=_all(value, "maps", _map, where),
        tables=_all(value, "tables", _table, where),
        tokens=_all(value, "tokens", _tokens, where),
    )


def _curve(value: Json, where: str) -> Curve:
    steps = tuple(_need(value, "steps", where))
    size = len(steps)
    return Curve(
        id=str(_need(value, "id", where)),
        title=str(value.get("title") or value["id"]),
        unit=str(value.get("unit") or ""),
        group=str(value.get("group") or value["id"]),
        label=str(value.get("label") or value["id"]),
        head=value.get("head"),
        mode=value.get("mode"),
        layer=value.get("layer"),
        steps=steps,
        examples=tuple(_sized(_need(value, "examples", where), size, "examples", where)),
        value=tuple(_sized(_need(value, "value", where), size, "value", where)),
        low=_optional(value, "low", size, where),
        high=_optional(value, "high", size, where),
        interval=value.get("interval"),
        n=value.get("n"),
        references=tuple(
            (str(item["label"]), float(item["value"]))
            for item in value.get("references") or ()
            if item.get("value") is not None
        ),
        caption=str(value.get("caption") or ""),
    )


def _map(value: Json, where: str) -> Map:
    labels = tuple(str(label) for label in _need(value, "row_labels", where))
    steps = tuple(_need(value, "steps", where))
    limits = value.get("range")
    return Map(
        id=str(_need(value, "id", where)),
        title=str(value.get("title") or value["id"]),
        unit=str(value.get("unit") or ""),
        head=value.get("head"),
        row_name=str(value.get("row_name") or "row"),
        row_labels=labels,
        layer=value.get("layer"),
        steps=steps,
        values=_grid(_need(value, "values", where), len(labels), len(steps), "values", where),
        low=_optional_grid(value, "low", len(labels), len(steps), where),
        high=_optional_grid(value, "high", len(labels), len(steps), where),
        diverging=bool(value.get("diverging")),
        range=(float(limits[0]), float(limits[1])) if limits else None,
        n=value.get("n"),
        interval=value.get("interval"),
        control=str(value.get("control") or ""),
        caption=str(value.get("caption") or ""),
    )


def _table(value: Json, where: str) -> Table:
    columns = tuple(
        Column(
            key=str(_need(item, "key", where)),
            label=str(item.get("label") or item["key"]),
            unit=str(item.get("unit") or ""),
            kind=str(item.get("kind") or "text"),
        )
        for item in _need(value, "columns", where)
    )
    rows = _need(value, "rows", where)
    return Table(
        id=str(_need(value, "id", where)),
        title=str(value.get("title") or value["id"]),
        caption=str(value.get("caption") or ""),
        columns=columns,
        rows=tuple(tuple(_sized(row, len(columns), "rows", where)) for row in rows),
    )


def _tokens(value: Json, where: str) -> TokenView:
    return TokenView(
        id=str(_need(value, "id", where)),
        question=str(value.get("question") or ""),
        question_id=str(value.get("question_id") or value["id"]),
        steps=tuple(_need(value, "steps", where)),
        candidates=tuple(_need(value, "candidates", where)),
    )


def _need(value: Json, key: str, where: str) -> Any:
    if not isinstance(value, dict) or value.get(key) is None:
        raise StoreError(
            f"field {key} is missing", where=where, fix="write it again: probe analyze RUN"
        )
    return value[key]


def _all(value: Json, key: str, read: Callable[[Json, str], Item], where: str) -> tuple[Item, ...]:
    items = value.get(key) or []
    try:
        return tuple(read(item, f"{where}, {key}[{i}]") for i, item in enumerate(items))
    except (TypeError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise StoreError(
            f"field {key} cannot be understood: {error}",
            where=where,
            fix="write it again: probe analyze RUN",
        ) from error


def _sized(value: Sequence[Any], size: int, key: str, where: str) -> Sequence[Any]:
    if not isinstance(value, list) or len(value) != size:
        found = len(value) if isinstance(value, list) else type(value).__name__
        raise StoreError(f"field {key}: expected {size} entries, found {found}", where=where)
    return value


def _optional(value: Json, key: str, size: int, where: str) -> Numbers | None:
    numbers = value.get(key)
    return None if numbers is None else tuple(_sized(numbers, size, key, where))


def _grid(value: Any, rows: int, columns: int, key: str, where: str) -> Grid:
    return tuple(tuple(_sized(row, columns, key, where)) for row in _sized(value, rows, key, where))


def _optional_grid(value: Json, key: str, rows: int, columns: int, where: str) -> Grid | None:
    numbers = value.get(key)
    return None if numbers is None else _grid(numbers, rows, columns, key, where)
