"""What a measure returns: curves, maps, tables and examples, as frozen values."""

import math
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

from critical_phase.analysis.series import Series

BOOTSTRAP = "95 % question bootstrap"
"""Name of the interval of every quantity that is a mean over questions."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart, over steps and examples."""

    id: str
    title: str
    unit: str
    group: str
    label: str
    steps: list[int]
    examples: list[int]
    value: list[float | None]
    caption: str
    n: int
    head: str | None = None
    mode: str | None = None
    layer: int | None = None
    low: list[float | None] | None = None
    high: list[float | None] | None = None
    interval: str | None = None
    references: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Map:
    """Values over rows and steps."""

    id: str
    title: str
    unit: str
    head: str | None
    row_name: str
    """What a row is, which decides how the page draws it: `layer`, `attention_head`, `module`,
    `step`, `weight`, `question`; `margin` (bins of a distribution); `pair` (every two layers,
    labels such as `3 and 1`); `direction` (a path in a plane, then its control)."""
    row_labels: list[str]
    steps: list[int]
    values: list[list[float | None]]
    diverging: bool
    range: list[float] | None
    control: str
    caption: str
    n: int | None = None
    interval: str | None = None
    low: list[list[float | None]] | None = None
    high: list[list[float | None]] | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under typed columns."""

    id: str
    title: str
    caption: str
    columns: list[dict[str, str]]
    rows: list[list[Any]]


@dataclass(frozen=True, slots=True)
class TokenView:
    """One question, candidate by candidate."""

    id: str
    question: str
    question_id: str
    steps: list[int]
    candidates: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class MeasureResult:
    """Everything one measure found."""

    measure: str
    title: str
    about: str
    reference: str
    settings: dict[str, Any]
    warnings: tuple[str, ...] = ()
    curves: tuple[Curve, ...] = ()
    maps: tuple[Map, ...] = ()
    tables: tuple[Table, ...] = ()
    tokens: tuple[TokenView, ...] = ()
    series: tuple[Series, ...] = ()
    """Quantities with their questions, for change points; not written to files."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Numbers that findings and verdicts need; not written to files."""


@dataclass(frozen=True, slots=True)
class FailedMeasure:
    """A measure that raised, and what it raised."""

    measure: str
    error: str
    """Name of the exception's class."""
    message: str
    traceback: str

    @property
    def finding(self) -> dict[str, str]:
        """Return what findings say of it."""
        return {"measure": self.measure, "error": self.error, "message": self.message}

    @property
    def result(self) -> MeasureResult:
        """Return an empty result that says why it is empty."""
        text = f"failed and was left out: {self.error}: {self.message}"
        title = self.measure.replace("_", " ").capitalize()
        return MeasureResult(self.measure, title, "This measure failed.", "", {}, (text,))


@dataclass(frozen=True, slots=True)
class Analysis:
    """All measures of a run and what they add up to."""

    measures: dict[str, MeasureResult]
    findings: dict[str, Any]
    headline: str
    failed: tuple[FailedMeasure, ...] = ()
    """Measures that raised; each has an empty result that says so."""


def column(key: str, label: str, unit: str = "", kind: str = "number") -> dict[str, str]:
    """Describe one column of a table."""
    return {"key": key, "label": label, "unit": unit, "kind": kind}


def plain(value: Any) -> Any:
    """Turn a value into what JSON can hold: NaN and infinities become null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.bool_ | np.integer | np.floating):
        return plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value


def to_json(result: MeasureResult | Analysis | dict[str, Any]) -> dict[str, Any]:
    """Turn a result into plain values for one JSON file, in a fixed order."""
    if isinstance(result, MeasureResult):
        kept = {f.name: getattr(result, f.name) for f in fields(result)}
        del kept["series"], kept["facts"]
        return {"schema_version": 1, **plain(kept)}
    if isinstance(result, Analysis):
        measures = {name: to_json(one) for name, one in result.measures.items()}
        return {"findings": plain(result.findings), "measures": measures}
    return dict(plain(result))
