"""Measure `change_points`: is there a jump, where, and what would smooth margins explain?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.charts import numbers
from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.inputs import RunArrays, question_count
from critical_phase.analysis.jumps.clock import Paths, path_clock, path_length
from critical_phase.analysis.jumps.clock_tests import clock_tests, clocks_table, missing_clocks
from critical_phase.analysis.jumps.mirage import Mirage, mirage
from critical_phase.analysis.jumps.model_comparison import compare_kinds
from critical_phase.analysis.jumps.place_check import disagreements, place_checks, place_table
from critical_phase.analysis.jumps.series_change import ChangeFinder, SeriesChange
from critical_phase.analysis.results import Curve, MeasureResult, Table, column
from critical_phase.analysis.scores.curves import primary_mode
from critical_phase.analysis.scores.likelihood import curves
from critical_phase.analysis.series import Series
from critical_phase.analysis.settings import AnalysisSettings

ABOUT = (
    "Each accuracy and margin curve against smooth curves with the same noise: p is the share of"
    " simulated smooth curves that look as abrupt. The mirage test asks how much of the largest"
    " step of accuracy would appear if every margin drifted linearly; near 1 at the same place,"
    " accuracy needs no abrupt change. A curve that starts fast at the first step counts as smooth."
)


def change_points(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Locate and test changes of accuracy and margin in every mode.

    Args:
        arrays: The run.
        settings: Resampling sizes and modes.
        done: Results of earlier measures; `curves` is computed where missing.

    Returns:
        Tables of change points, kinds of curve, mirage, clocks and exact posterior; the
        counterfactual curves of the primary mode. Facts: `clocks` by quantity (p in steps, p and
        share in path length), `clock_tests` by quantity and clock, `clock_speeds`, `posterior`,
        `resolution_steps` (gap between the checkpoints around each tau).
    """
    before = done["curves"] if done and "curves" in done else curves(arrays, settings)
    shared = shared_weights(question_count(arrays.rows), settings)
    finder = ChangeFinder(shared, settings)
    by_name = {s.quantity: s for s in before.series}
    changes, notes = _found(finder, by_name)
    paths = {head: path_length(arrays, head) for head in arrays.heads}
    mirages = _mirages(paths, by_name, shared)
    clocks = _clocks(paths, finder, changes)
    primary = primary_mode(arrays.heads, settings.modes)
    headline = [n for n in (f"accuracy.{primary}", f"margin.{primary}") if n in changes]
    checks = place_checks(changes, headline)
    notes += disagreements(checks, changes)
    in_steps = {name: (changes[name].series, changes[name].test) for name in headline}
    tests, speeds = clock_tests(arrays, primary or "", finder, in_steps, paths)
    notes += missing_clocks(speeds) if headline else []
    kinds = {
        name: compare_kinds(c.series.value, c.series.steps, c.series.per_question)
        for name, c in changes.items()
    }
    return MeasureResult(
        "change_points",
        "Change points",
        ABOUT,
        "2304.15004 (mirage); GLS comparison and simulated nulls, docs/methods.md",
        {"smooth_draws": settings.smooth_draws, "draws": settings.draws, "seed": settings.seed},
        tuple(notes),
        _mirage_curves(primary, mirages, by_name, arrays),
        tables=(
            _change_table(changes, arrays.batch_size),
            _kind_table(kinds),
            _mirage_table(mirages),
            _clock_table(clocks),
            clocks_table(tests, speeds),
            place_table(checks, changes),
        ),
        facts={"primary": primary, "changes": changes, "mirages": mirages, "clocks": clocks,
               "kinds": kinds, "clock_tests": tests, "clock_speeds": speeds, "posterior": checks,
               "resolution_steps": {name: c.resolution for name, c in changes.items()}},
    )  # fmt: skip


def reference(points: MeasureResult) -> SeriesChange | None:
    """Return the accuracy jump of the primary mode.

    None where it is not abrupt, could not be placed where it was tested, is as wide as the
    widest shape tried, or where the interval of its size holds zero.
    """
    change: SeriesChange | None = points.facts["changes"].get(f"accuracy.{points.facts['primary']}")
    if change is None or not (change.test.found and change.placed) or change.width_at_limit:
        return None
    low, high = change.size_interval or (change.size, change.size)
    return None if low <= 0.0 <= high else change


def _found(
    finder: ChangeFinder, by_name: Mapping[str, Series]
) -> tuple[dict[str, SeriesChange], list[str]]:
    """Test and locate accuracy and margin of every mode, and say which are too short."""
    tested = [n for n in by_name if n.split(".")[0] in ("accuracy", "margin")]
    found = {name: finder.find(by_name[name], _margins(name, by_name)) for name in tested}
    short = [name for name, change in found.items() if change is None]
    notes = [f"{name}: fewer than 8 checkpoints, no change point looked for" for name in short]
    return {name: change for name, change in found.items() if change is not None}, notes


def _margins(name: str, by_name: Mapping[str, Series]) -> Series | None:
    """Return the margins that an accuracy counts."""
    kind, mode = name.split(".")
    return by_name.get(f"margin.{mode}") if kind == "accuracy" else None


def _mirages(
    paths: Paths,
    by_name: Mapping[str, Series],
    shared: Float[np.ndarray, "draw question"],
) -> dict[tuple[str, str], Mirage]:
    """Run the mirage test per mode, in steps and in path length."""
    result = {}
    for name, series in by_name.items():
        if not name.startswith("margin.") or series.steps.size < 4:
            continue
        mode = name.removeprefix("margin.")
        margins = series.per_question
        assert margins is not None
        result[mode, "steps"] = mirage(margins, series.steps, shared)
        path = path_clock(paths, mode, series.steps)
        if path is not None:
            result[mode, "path length"] = mirage(margins, path, shared)
    return result


def _clocks(
    paths: Paths, finder: ChangeFinder, changes: Mapping[str, SeriesChange]
) -> dict[str, tuple[float, float, float]]:
    """Test every series again with path length as time: p and share there, p in steps."""
    result = {}
    for name, change in changes.items():
        path = path_clock(paths, name.split(".")[1], change.series.steps)
        if path is not None:
            test = finder.test(change.series, path)
            result[name] = (change.test.p, test.p, test.share)
    return result


def _change_table(changes: Mapping[str, SeriesChange], batch_size: int) -> Table:
    """List place, width, size and p of each series."""
    rows: list[list[Any]] = [
        [
            name,
            c.test.word,
            c.kind,
            c.tau,
            c.tau * batch_size,
            c.interval[0] * batch_size,
            c.interval[1] * batch_size,
            c.width,
            c.width_text,
            c.before,
            c.after,
            c.test.share,
            c.test.p,
            c.resolution,
        ]
        for name, c in changes.items()
    ]
    columns = [
        column("quantity", "quantity", kind="text"),
        column("verdict", "verdict", kind="text"),
        column("kind", "kind", kind="text"),
        column("tau_step", "tau", "step"),
        column("tau_examples", "tau", "examples"),
        column("low", "low", "examples"),
        column("high", "high", "examples"),
        column("width", "10-90 width", "steps"),
        column("width_text", "width, or its lower limit", "steps", kind="text"),
        column("before", "before"),
        column("after", "after"),
        column("share", "share of the range"),
        column("p", "p", kind="p"),
        column("resolution", "gap between checkpoints at tau", "steps"),
    ]
    caption = (
        "The best sigmoid of each curve; only an `abrupt` one is a change point. The interval is a"
        " 95 % question bootstrap plus training noise, never finer than the checkpoints; a width"
        " after >= is the widest tried; p is not adjusted here."
    )
    return Table("change_points", "Change points", caption, columns, rows)


def _kind_table(kinds: Mapping[str, Mapping[str, float]]) -> Table:
    """List the BIC of each kind of curve, relative to the best."""
    rows = []
    for name, table in kinds.items():
        best = min(table, key=lambda kind: table[kind])
        rows.append([name, best, *(table[k] - table[best] for k in table)])
    names = list(next(iter(kinds.values()))) if kinds else []
    columns = [column("quantity", "quantity", kind="text"), column("best", "best", kind="text")]
    columns += [column(n, n, "BIC") for n in names]
    caption = "BIC above the best kind (generalised least squares). Accuracy likes sigmoids anyway."
    return Table("kinds", "Kinds of curve", caption, columns, rows)


def _mirage_table(mirages: Mapping[tuple[str, str], Mirage]) -> Table:
    """List the shares of the two counterfactuals."""
    rows = []
    for (mode, clock), m in mirages.items():
        low, high = m.smooth_interval or (None, None)
        rows.append(
            [
                *(mode, clock, m.smooth_share, low, high, m.smooth_gap, m.middle),
                *(m.smooth_middle, m.common_share, m.common_gap),
            ]
        )
    columns = [
        column("mode", "mode", kind="text"),
        column("clock", "clock", kind="text"),
        column("smooth_share", "smooth-drift share"),
        column("low", "low"),
        column("high", "high"),
        column("smooth_gap", "largest gap", "share"),
        column("middle", "halfway, seen", "clock"),
        column("smooth_middle", "halfway, smooth drift", "clock"),
        column("common_share", "common-drift share"),
        column("common_gap", "largest gap, common", "share"),
    ]
    caption = (
        "Largest step of the counterfactual accuracy over the largest step observed. A smooth-drift"
        " share near 1 at the same place (halfway points within a tenth of the series) needs no"
        " abrupt margin change. The common-drift share is near 1 in a true"
        " switch too; its gap shows how much questions differ."
    )
    return Table("mirage", "Mirage test", caption, columns, rows)


def _clock_table(clocks: Mapping[str, tuple[float, float, float]]) -> Table:
    """List the abruptness test in steps and in path length."""
    rows = [[name, *values] for name, values in clocks.items()]
    columns = [
        column("quantity", "quantity", kind="text"),
        column("p_steps", "p in steps", kind="p"),
        column("p_path", "p in path length", kind="p"),
        column("share_path", "share of the range in path length"),
    ]
    caption = (
        "The same test with path length of the weights as time. A large p: no abrupt change found"
        " on this clock; that is no proof of smoothness."
    )
    return Table("clock", "Clock test", caption, columns, rows)


def _mirage_curves(
    primary: str | None,
    mirages: Mapping[tuple[str, str], Mirage],
    by_name: Mapping[str, Series],
    arrays: RunArrays,
) -> tuple[Curve, ...]:
    """Draw accuracy and its counterfactuals for the primary mode."""
    if primary is None or (primary, "steps") not in mirages:
        return ()
    found, series = mirages[primary, "steps"], by_name[f"margin.{primary}"]
    parts = (
        ("observed", found.observed, "Observed: share of margins above zero."),
        (
            "smooth drift",
            found.smooth,
            "Smooth drift: if every margin drifted linearly between its ends.",
        ),
        ("common drift", found.common, "Common drift: if every margin moved by the mean change."),
    )
    count = 0 if series.per_question is None else series.per_question.shape[1]
    return tuple(
        Curve(
            f"mirage.{primary}.{label.replace(' ', '_')}",
            f"Accuracy, {label}",
            "share",
            "mirage",
            label,
            [int(s) for s in series.steps],
            [int(s) * arrays.batch_size for s in series.steps],
            numbers(values),
            caption,
            count,
            mode=primary,
        )
        for label, values, caption in parts
    )
