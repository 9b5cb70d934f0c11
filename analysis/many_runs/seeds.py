"""Several trainings of one design that differ in their seed: what holds over seeds?

Seeds are the outer unit and questions, the same for all, the inner one. See docs/methods.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from critical_phase.analysis.charts import numbers
from critical_phase.analysis.inference.bootstrap import curve_draws, interval, shared_weights
from critical_phase.analysis.inference.multiplicity import adjust
from critical_phase.analysis.inputs import RunArrays, question_count
from critical_phase.analysis.judging.thresholds import LEVEL
from critical_phase.analysis.jumps.change_point import FEWEST
from critical_phase.analysis.jumps.series_change import ChangeFinder
from critical_phase.analysis.many_runs.seed_design import check_same
from critical_phase.analysis.many_runs.seed_groups import TwoGroups, two_groups
from critical_phase.analysis.many_runs.seed_spread import Spread, spread, two_way_draws
from critical_phase.analysis.many_runs.seed_tables import (
    SeedChange,
    groups_table,
    seeds_table,
    together_table,
)
from critical_phase.analysis.results import Curve, MeasureResult
from critical_phase.analysis.scores.curves import combine, top_hits
from critical_phase.analysis.scores.margin import margins
from critical_phase.analysis.series import Series, question_series
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.errors import ConfigError

ABOUT = (
    "One row per training run; the runs differ in nothing but their seed and are asked the same"
    " questions. Each run is tested for an abrupt change on its own, because the mean of curves"
    " that jump at different steps is smooth. Intervals resample seeds (outer) and questions"
    " (inner, the same for every seed)."
)

BAND = "95 % over seeds and questions"


def seeds(runs: Mapping[str, RunArrays], settings: AnalysisSettings) -> MeasureResult:
    """Analyse the accuracy and margin of several runs of one design together.

    Args:
        runs: Runs by name, at least two, with the same questions, heads and batch size.
        settings: Modes, weight and resampling sizes; equal settings give equal bytes.

    Returns:
        Per-run places with intervals, their mean and spread, the mean curves, and whether the
        last accuracies fall into two groups. Facts: `changes`, `spreads` and `abrupt` by
        quantity, `groups`, `mode`, `sentence`.

    Raises:
        ConfigError: The runs are of different designs, or too few; names the difference.
    """
    mode = check_same(runs, settings)
    first = next(iter(runs.values()))
    finder = ChangeFinder(shared_weights(question_count(first.rows), settings), settings)
    curves = _shared_steps({name: _series(arrays, mode, settings) for name, arrays in runs.items()})
    found = _changes(finder, curves)
    rng = np.random.default_rng([settings.seed, 11])
    spreads = {q: _spread(found, q, rng) for q in ("accuracy", "margin")}
    last = np.array([one["accuracy"].value[-1] for one in curves.values()])
    groups = two_groups(last, np.random.default_rng([settings.seed, 12]), error=_error(curves))
    abrupt = {q: [f.run for f in found if f.quantity == q and f.abrupt] for q in spreads}
    return MeasureResult(
        "seeds",
        "Seeds of one design together",
        ABOUT,
        "paired question and seed bootstrap; Engelman and Hartigan 1969; docs/methods.md",
        {"draws": settings.draws, "smooth_draws": settings.smooth_draws, "seed": settings.seed,
         "weight": settings.weight, "mode": mode, "runs": list(runs)},
        tuple(_warnings(curves, groups)),
        _mean_curves(curves, finder, first.batch_size, rng),
        tables=(seeds_table(found, first.batch_size), together_table(spreads, abrupt, len(runs)),
                groups_table(groups)),
        facts={"changes": found, "spreads": spreads, "abrupt": abrupt, "groups": groups,
               "mode": mode, "sentence": sentence(spreads["accuracy"], abrupt["accuracy"], runs)},
    )  # fmt: skip


def _series(arrays: RunArrays, mode: str, settings: AnalysisSettings) -> dict[str, Series]:
    """Return accuracy and margin of one run."""
    scores = combine(arrays, mode, settings.weight)
    hits = top_hits(arrays.rows, scores.values).value
    margin = margins(arrays.rows, scores.values)
    margin[~np.isfinite(hits).all(axis=1)] = np.nan
    parts = (("accuracy", "share", hits), ("margin", "nats", margin))
    return {
        kind: question_series(f"{kind}.{mode}", kind, unit, kind, scores.steps, values, mode=mode)
        for kind, unit, values in parts
    }


def _shared_steps(curves: dict[str, dict[str, Series]]) -> dict[str, dict[str, Series]]:
    """Keep the steps that all runs have, and name each series after its run.

    Raises:
        ConfigError: Fewer than eight steps are shared.
    """
    every = [one["accuracy"].steps for one in curves.values()]
    shared = every[0][np.all([np.isin(every[0], steps) for steps in every], axis=0)]
    if shared.size < FEWEST:
        raise ConfigError(
            f"the runs share {shared.size} defined steps, at least {FEWEST} are needed",
            fix="train and collect all runs with the same --schedule",
        )
    return {
        name: {kind: _at(series, shared, name) for kind, series in one.items()}
        for name, one in curves.items()
    }


def _at(series: Series, steps: np.ndarray, name: str) -> Series:
    """Keep some steps of a series; its name gives it training noise of its own."""
    kept = np.isin(series.steps, steps)
    assert series.per_question is not None
    return replace(
        series, quantity=f"{series.quantity} of {name}", steps=series.steps[kept],
        value=series.value[kept], per_question=series.per_question[kept],
    )  # fmt: skip


def _changes(finder: ChangeFinder, curves: Mapping[str, Mapping[str, Series]]) -> list[SeedChange]:
    """Test and place the change of every run."""
    found = [
        (name, kind, change)
        for name, one in curves.items()
        for kind, series in one.items()
        if (change := finder.find(series, one["margin"] if kind == "accuracy" else None))
        is not None
    ]
    adjusted = adjust([change.test.p for _, _, change in found])
    return [SeedChange(*one, float(p)) for one, p in zip(found, adjusted, strict=True)]


def _spread(found: Sequence[SeedChange], quantity: str, rng: np.random.Generator) -> Spread:
    """Describe the places of the runs that change abruptly."""
    kept = [f.change for f in found if f.quantity == quantity and f.abrupt]
    draws = [change.draws for change in kept if change.draws is not None]
    gap = max((change.resolution for change in kept), default=0.0)
    table = np.stack(draws) if draws else np.zeros((0, 1))
    return spread(np.array([change.tau for change in kept]), table, gap, rng)


def _mean_curves(
    curves: Mapping[str, Mapping[str, Series]],
    finder: ChangeFinder,
    batch_size: int,
    rng: np.random.Generator,
) -> tuple[Curve, ...]:
    """Draw the mean over seeds with its band."""
    lines = []
    for kind in ("accuracy", "margin"):
        group = [one[kind] for one in curves.values()]
        tables = [series.per_question for series in group if series.per_question is not None]
        value = np.stack([series.value for series in group])
        draws = np.stack([curve_draws(finder.weights, table) for table in tables])
        low, high = interval(two_way_draws(value, draws, rng))
        steps = [int(step) for step in group[0].steps]
        lines.append(
            Curve(
                f"seeds.{kind}", f"{kind}, mean over {len(group)} seeds", group[0].unit, kind,
                "mean over seeds", steps, [step * batch_size for step in steps],
                numbers(value.mean(axis=0)),
                "Mean over seeds. Curves that jump at different steps have a smooth mean.",
                tables[0].shape[1], mode=group[0].mode, low=numbers(low), high=numbers(high),
                interval=BAND,
            )
        )  # fmt: skip
    return tuple(lines)


def _warnings(curves: Mapping[str, object], groups: TwoGroups) -> list[str]:
    """Say what so few seeds cannot show."""
    notes = []
    if groups.verdict == "undecided":
        notes.append(
            f"whether the last accuracies of {len(curves)} seeds fall into two groups cannot be"
            " decided: with so few seeds only groups far apart would show"
        )
    return notes


def _error(curves: Mapping[str, Mapping[str, Series]]) -> float:
    """Return the largest standard error over questions of a seed's last accuracy."""
    lasts = [one["accuracy"].per_question for one in curves.values()]
    ends = [values[-1] for values in lasts if values is not None]
    return max((float(x.std() / np.sqrt(x.size)) or 0.5 / x.size for x in ends), default=0.0)


def sentence(places: Spread, abrupt: Sequence[str], runs: Mapping[str, object]) -> str:
    """Say how many seeds jump, where, and how far apart."""
    start = f"Accuracy changes abruptly in {len(abrupt)} of {len(runs)} seeds"
    if places.count < 2 or places.mean_interval is None or places.deviation_interval is None:
        return start + "; fewer than two have a place, so there is no spread."
    low, high = places.mean_interval
    narrow, wide = places.deviation_interval
    beyond = "more than" if places.p <= LEVEL else "not shown to be more than"
    return (
        f"{start}, on average at step {places.mean:.1f} [{low:.1f}, {high:.1f}]; the places have a"
        f" standard deviation of {places.deviation:.2g} steps [{narrow:.2g}, {wide:.2g}], {beyond}"
        f" the error of placing them ({places.located:.2g}; p = {places.p:.2g})."
    )
