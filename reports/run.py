"""A run in Python: findings, curves, maps and tables that show themselves in a notebook.

Everything is read from the saved results, so a cell and the page can never disagree.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from critical_phase.errors import ConfigError
from critical_phase.reports import elements
from critical_phase.reports.answer import Answer, answer, verdicts_view
from critical_phase.reports.causes_run import Interventions, load_with_causes
from critical_phase.reports.load import Json, Results
from critical_phase.reports.notebook import chart_html, findings_html, map_html, table_html
from critical_phase.reports.ranked import jump_mark

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

Named = TypeVar("Named", elements.Curve, elements.Map)
EMBEDDING = -1
"""Number of the embedding among layers."""


@dataclass(frozen=True)
class Curve:
    """One quantity over the saved steps, with its interval."""

    element: elements.Curve
    """The saved values and their caption."""
    jump: tuple[float, float, float] | None = None
    """Step of the run's jump and its interval, drawn behind the curve."""

    def to_pandas(self) -> "pd.DataFrame":
        """Return one line per saved step: examples, value, low, high; NaN where undefined."""
        import pandas as pd

        own = self.element
        columns = {"examples": own.examples, "value": _floats(own.value)}
        for name, values in (("low", own.low), ("high", own.high)):
            if values is not None:
                columns[name] = _floats(values)
        frame = pd.DataFrame(columns, index=pd.Index(own.steps, name="step"))
        frame.attrs |= _facts(own)
        return frame

    def to_xarray(self) -> "xr.Dataset":
        """Return the same with the dimension `step`.

        Raises:
            ConfigError: xarray is not installed.
        """
        found: xr.Dataset = _xarray().Dataset.from_dataframe(self.to_pandas())
        return found.assign_attrs(_facts(self.element))

    def _repr_html_(self) -> str:
        return chart_html(self.element, self.jump)


@dataclass(frozen=True)
class Map:
    """One quantity by row (layer, attention head, module or step) and saved step."""

    element: elements.Map
    """The saved values and their caption."""

    def to_pandas(self) -> "pd.DataFrame":
        """Return one line per row of the map and one column per saved step."""
        import pandas as pd

        own = self.element
        frame = pd.DataFrame(
            [_floats(row) for row in own.values],
            index=pd.Index(own.row_labels, name=own.row_name),
            columns=pd.Index(own.steps, name="step"),
        )
        frame.attrs |= _facts(own)
        return frame

    def to_xarray(self) -> "xr.Dataset":
        """Return value, low and high by row and step; the ends only where they are known.

        Raises:
            ConfigError: xarray is not installed.
        """
        own, row = self.element, self.element.row_name
        row = "row" if row == "step" else row
        grids = {"value": own.values, "low": own.low, "high": own.high}
        values = {
            name: ((row, "step"), [_floats(line) for line in grid])
            for name, grid in grids.items()
            if grid is not None
        }
        coordinates = {row: list(own.row_labels), "step": list(own.steps)}
        found: xr.Dataset = _xarray().Dataset(values, coordinates, _facts(own))
        return found

    def _repr_html_(self) -> str:
        return map_html(self.element)


@dataclass(frozen=True)
class Table:
    """A table of the analysis."""

    element: elements.Table
    """The saved rows and their caption."""

    def to_pandas(self) -> "pd.DataFrame":
        """Return the rows, with the keys of `docs/methods.md` as columns."""
        import pandas as pd

        names = [column.key for column in self.element.columns]
        frame = pd.DataFrame([list(row) for row in self.element.rows], columns=names)
        frame.attrs |= {"title": self.element.title, "caption": self.element.caption}
        return frame

    def _repr_html_(self) -> str:
        return table_html(self.element)


class Findings(dict[str, Any]):
    """What people and scripts read first: contents of `analysis/findings.json`."""

    @property
    def sentence(self) -> str:
        """Say the answer in one sentence."""
        said: Answer = answer(self)
        return said.sentence

    @property
    def verdicts(self) -> dict[str, str]:
        """Give the verdict on every hypothesis."""
        return {item["hypothesis"]: item["verdict"] for item in self.get("verdicts") or ()}

    def _repr_html_(self) -> str:
        return findings_html(answer(self), verdicts_view(self))


class Run:
    """A run folder that was analysed; `interventions` are the answers of `probe intervene`."""

    def __init__(self, path: Path, results: Results) -> None:
        """Keep what was read; use `Run.open`."""
        self.path, self._results = path, results
        self.interventions = Interventions(results.causes)

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """Read the results of a run.

        Raises:
            StoreError: No run or no analysis there, or a file that cannot be understood.
        """
        return cls(Path(path), load_with_causes(Path(path)))

    @property
    def record(self) -> Json:
        """How the run was made: contents of `run.json`."""
        return self._results.run

    @cached_property
    def findings(self) -> Findings:
        """Jump, accuracy, changes, verdicts, controls and warnings."""
        return Findings(self._results.findings)

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the measures that were made."""
        return tuple(self._results.measures)

    def curves(self) -> "pd.DataFrame":
        """List every curve: id, what it is, its head, mode and layer, and its measure."""
        return _listing(self._all(lambda measure: measure.curves))

    def maps(self) -> "pd.DataFrame":
        """List every map in the same way."""
        return _listing(self._all(lambda measure: measure.maps))

    def tables(self) -> tuple[str, ...]:
        """List every table as `measure/table`."""
        measures = self._results.measures.items()
        return tuple(f"{name}/{table.id}" for name, found in measures for table in found.tables)

    def curve(
        self,
        quantity: str,
        *,
        layer: int | None = None,
        head: str | None = None,
        mode: str | None = None,
    ) -> Curve:
        """Return one curve.

        Args:
            quantity: Its id, such as `accuracy.likra`, or the first part of it, such as
                `probe_top1`; what follows may then be given by the other arguments.
            layer: Layer, -1 for the embedding.
            head: `positive` or `negative`.
            mode: `likra`, `sft`, `base_likra` or `pos_base`.

        Raises:
            ConfigError: No curve fits, or several do.
        """
        wanted = {"layer": layer, "head": head, "mode": mode}
        found = _choose(quantity, self._all(lambda m: m.curves), wanted, "curve")
        return Curve(found, jump_mark(self._results.findings))

    def map(self, quantity: str, *, layer: int | None = None, head: str | None = None) -> Map:
        """Return one map; arguments as for `curve`.

        Raises:
            ConfigError: No map fits, or several do.
        """
        wanted = {"layer": layer, "head": head}
        return Map(_choose(quantity, self._all(lambda m: m.maps), wanted, "map"))

    def table(self, name: str) -> Table:
        """Return one table by its name, or by `measure/name` where two share one.

        Raises:
            ConfigError: No table has this name, or several do.
        """
        measures = self._results.measures.items()
        every = {f"{one}/{t.id}": t for one, found in measures for t in found.tables}
        fitting = [key for key in every if name in (key, key.partition("/")[2])]
        if len(fitting) != 1:
            raise _cannot_choose("table", name, fitting, list(every))
        return Table(every[fitting[0]])

    def _all(self, part: Callable[[elements.Measure], Sequence[Named]]) -> list[tuple[str, Named]]:
        return [(name, one) for name, m in self._results.measures.items() for one in part(m)]

    def __repr__(self) -> str:
        """Name the folder and say the answer."""
        return f"Run({str(self.path)!r}): {self.findings.sentence}"

    def _repr_html_(self) -> str:
        return f"<p><b>{escape(str(self.path))}</b></p>{self.findings._repr_html_()}"


def _choose(
    quantity: str, every: list[tuple[str, Named]], wanted: dict[str, Any], what: str
) -> Named:
    """Find the one element with an id, or with a first part of it and given properties."""
    named = [one for _, one in every if one.id == quantity or one.id.split(".")[0] == quantity]
    asked: dict[str, Any] = {key: value for key, value in wanted.items() if value is not None}
    fitting = [one for one in named if all(getattr(one, k, None) == v for k, v in asked.items())]
    exact = [one for one in fitting if one.id == quantity]
    found = exact or fitting
    if len(found) == 1:
        return found[0]
    if named and not fitting:
        raise _no_such_property(what, quantity, named, asked)
    given = ", ".join([quantity, *(f"{key}={value}" for key, value in asked.items())])
    known = [one.id for _, one in every] + sorted({one.id.split(".")[0] for _, one in every})
    raise _cannot_choose(what, given, [one.id for one in found or named], known)


def _no_such_property(
    what: str, quantity: str, named: Sequence[Any], asked: Mapping[str, Any]
) -> ConfigError:
    """Say which layer, head or mode no element of that name has, and which there are."""
    known: dict[str, set[Any]] = {
        key: {getattr(one, key, None) for one in named} - {None} for key in asked
    }
    odd = [key for key, value in asked.items() if value not in known[key]] or list(asked)
    there = "; ".join(f"{key}: {', '.join(map(str, sorted(known[key])))}" for key in odd)
    wrong = " and ".join(f"{key} {asked[key]}" for key in odd)
    return ConfigError(f"no {what} {quantity!r} has {wrong}", fix=f"there are {there or 'none'}")


def _cannot_choose(what: str, given: str, fitting: list[str], known: list[str]) -> ConfigError:
    """Say why one element could not be chosen, and from which."""
    if not fitting:
        near = get_close_matches(given.split(",")[0], known, n=3)
        hint = f"did you mean {', '.join(near)}?" if near else f"see Run.{what}s()"
        return ConfigError(f"no {what} {given!r} in this analysis", fix=hint)
    shown = ", ".join(fitting[:8]) + (", ..." if len(fitting) > 8 else "")
    return ConfigError(
        f"asked for one {what} {given!r}, {len(fitting)} have that name",
        fix=f"name one of {shown}, or give layer, head or mode",
    )


def _listing(every: "Sequence[tuple[str, Any]]") -> "pd.DataFrame":
    import pandas as pd

    keys = ("id", "title", "unit", "head", "mode", "layer", "interval")
    rows = [[getattr(one, key, None) for key in keys] + [name] for name, one in every]
    return pd.DataFrame(rows, columns=[*keys, "measure"]).set_index("id")


def _facts(one: elements.Curve | elements.Map) -> dict[str, Any]:
    """List what must travel with values: unit, kind of interval, questions, caption."""
    facts = {key: getattr(one, key) for key in ("id", "title", "unit", "interval", "n", "caption")}
    return {key: value for key, value in facts.items() if value not in (None, "")}


def _floats(values: Sequence[float | int | None]) -> list[float]:
    return [float("nan") if value is None else float(value) for value in values]


def _xarray() -> Any:
    try:
        import xarray
    except ImportError as error:
        raise ConfigError("xarray is not installed", fix="pip install xarray") from error
    return xarray
