"""Measure `local_learning`: the local learning coefficient of each head over training.

Reference: Lau et al. 2023, 2308.12108; Hoogland et al. 2024, 2402.02364; docs/methods.md.
"""

from collections.abc import Mapping

import numpy as np

from critical_phase.analysis.charts import numbers
from critical_phase.analysis.inputs import RunArrays
from critical_phase.analysis.jumps.change_point import FEWEST
from critical_phase.analysis.results import Curve, MeasureResult, Table, column
from critical_phase.analysis.series import Series
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.updates.llc_series import (
    OVER_CHAINS,
    LlcPoint,
    LlcSeries,
    at_minimum,
    drift,
    point_of,
    points_of,
    too_wide,
)

COMMAND = "probe llc RUN"

ABOUT = (
    "How fast the training loss rises around each checkpoint, as chains sample it: n beta times"
    " the mean of L(w) - L(checkpoint), where L is the negative log-likelihood of the head's own"
    " training answers, n their number and beta = 1/log n. At a minimum that is the learning"
    " coefficient within the reach of the chains, half the number of directions that the loss"
    " tells apart. Where it is negative the chains found lower loss: the checkpoint is no minimum"
    " and has no such coefficient. It depends on what is sampled, on the pull and on the scale at"
    " which the factors of an update are written; only differences along one series are meant."
)

CAPTION = (
    "n beta (E[L(w)] - L(checkpoint)) in units of half a direction's worth. Below zero there is no"
    " minimum at the checkpoint; nothing is cut off. Bands are over chains, which share their"
    " noise from checkpoint to checkpoint."
)


def local_learning(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Describe the learning coefficients that were sampled.

    Args:
        arrays: The run.
        settings: Not needed: the intervals are those of the chains.
        done: Results of earlier measures; not needed.

    Returns:
        A curve, a table of checkpoints and one of controls per head; the series of a head where
        its intervals are narrow enough to look for a change.
    """
    found = {h: s for h in arrays.heads if (s := arrays.local_learning(h)) is not None}
    notes = [
        f"no learning coefficients of the {head} head: {COMMAND} --head {head} samples them"
        for head in arrays.heads
        if head not in found
    ]
    series = []
    for head, one in found.items():
        ranked, said = _ranked(head, one)
        series += ranked
        notes += [*said, *_broken(head, one), *_unsettled(head, one)]
    return MeasureResult(
        "local_learning",
        "Local learning coefficient",
        ABOUT,
        "2308.12108, eq. 11; SGLD, docs/methods.md",
        {head: dict(one.settings) for head, one in found.items()},
        tuple(notes),
        tuple(_curve(head, one, arrays.batch_size) for head, one in found.items()),
        tables=tuple(t for head, one in found.items() for t in _tables(head, one)),
        series=tuple(series),
    )


def _curve(head: str, one: LlcSeries, batch_size: int) -> Curve:
    """Draw the estimates of a head."""
    points = points_of(one)
    return Curve(
        f"llc.{head}",
        f"Local learning coefficient, {head} head",
        "coefficient",
        "llc",
        head,
        [int(s) for s in one.steps],
        [int(s) * batch_size for s in one.steps],
        numbers(np.array([p.value for p in points])),
        f"{CAPTION} Sampled: {_what(one)}.",
        0,
        head,
        low=numbers(np.array([p.low for p in points])),
        high=numbers(np.array([p.high for p in points])),
        interval=OVER_CHAINS,
        references=[{"label": "no minimum below", "value": 0.0}],
    )


def _what(one: LlcSeries) -> str:
    """Say over what chains ran."""
    s = one.settings
    what = "both factors of every update" if s["sampled"] == "factors" else "B of every update"
    return f"{what}, {s['parameters']} numbers, pull {s['gamma']:.3g}, n beta {s['n_beta']:.3g}"


def _tables(head: str, one: LlcSeries) -> list[Table]:
    """List checkpoints, controls and the sweep."""
    tables = [_steps_table(head, one), _control_table(head, one)]
    return tables + ([_sweep_table(head, one)] if one.sweep else [])


def _steps_table(head: str, one: LlcSeries) -> Table:
    """List every checkpoint."""
    rows: list[list[object]] = []
    apart, points = drift(one), points_of(one)
    for t, step in enumerate(one.steps):
        far = one.distance[t][np.isfinite(one.distance[t])]
        rows.append([
            int(step), points[t].value, [points[t].low, points[t].high], points[t].word,
            points[t].finite, apart[t].value, [apart[t].low, apart[t].high],
            float(far.mean()) if far.size else None, float(one.loss[t]), float(one.slope[t]),
        ])  # fmt: skip
    columns = [
        column("step", "step"),
        column("llc", "estimate"),
        column("interval", "interval"),
        column("word", "what it is", kind="text"),
        column("finite", "finite chains"),
        column("drift", "second half minus first"),
        column("drift_interval", "interval of that"),
        column("distance", "distance", "of the norm"),
        column("loss", "loss", "nats per answer"),
        column("slope", "gradient norm"),
    ]
    caption = (
        f"{OVER_CHAINS}. No minimum: the mean loss around the checkpoint is lower than at it. A"
        " drift that is not near 0 beside the estimate says that chains had not settled."
    )
    return Table(f"llc.{head}", f"Learning coefficients, {head} head", caption, columns, rows)


def _control_table(head: str, one: LlcSeries) -> Table:
    """List what the same sampler finds where the answer is known."""
    rows: list[list[object]] = []
    if one.quadratic is not None:
        known, chains = one.quadratic
        rows.append(["quadratic of known coefficient", None, known, *_cells(point_of(chains))])
    if one.random is not None:
        step, chains = one.random
        rows.append(["random adapter of equal norm", step, None, *_cells(point_of(chains))])
    columns = [
        column("control", "control", kind="text"),
        column("step", "at step"),
        column("known", "known"),
        column("llc", "estimate"),
        column("interval", "interval"),
        column("word", "what it is", kind="text"),
    ]
    caption = (
        "The same step size, pull, batch and number of steps. On the quadratic the distance from"
        " the known value is what step size, scatter of batches and short chains cost; a random"
        " adapter has the norms of the trained one and is no minimum of anything."
    )
    title = f"Controls of the sampler, {head} head"
    return Table(f"llc_controls.{head}", title, caption, columns, rows)


def _cells(point: LlcPoint) -> list[object]:
    return [point.value, [point.low, point.high], point.word]


def _sweep_table(head: str, one: LlcSeries) -> Table:
    """List the settings that were tried."""
    columns = [
        column("reach", "reach of the pull", "of the norm"),
        column("pace", "step size times pull"),
        column("lr", "step size"),
        column("gamma", "pull"),
        column("llc", "estimate"),
        column("taken", "taken", kind="text"),
    ]
    rows = [
        [c["reach"], c["pace"], c["lr"], c["gamma"], c["llc"],
         "yes" if (c["lr"], c["gamma"]) == (one.settings["lr"], one.settings["gamma"]) else ""]
        for c in one.sweep
    ]  # fmt: skip
    caption = (
        f"Tried once, at step {one.settings['reference_step']}, and kept for the whole series. The"
        " estimate grows with the reach: that is no error, it counts what the loss tells apart"
        " within that distance. Along a row of one reach it should not depend on the step size."
    )
    return Table(f"llc_sweep.{head}", f"Choice of settings, {head} head", caption, columns, rows)


def _ranked(head: str, one: LlcSeries) -> tuple[list[Series], list[str]]:
    """Return the series for the ranked table, or say why there is none."""
    kept = at_minimum(one)
    points = [p for p, keep in zip(points_of(one), kept, strict=True) if keep]
    left = kept.size - len(points)
    said = (
        [f"{head}: at {left} of {kept.size} checkpoints there is no minimum, or no interval"]
        if left
        else []
    )
    if len(points) < FEWEST:
        few = f"{head}: {len(points)} checkpoints with a coefficient are too few for a change"
        return [], [*said, f"{few} (at least {FEWEST}): {COMMAND} --head {head} --checkpoints all"]
    value = np.array([p.value for p in points])
    if wide := too_wide(points):
        return [], [*said, f"{head}: intervals are {wide}, so no change is looked for: --chains"]
    title = f"local learning coefficient, {head} head"
    line = Series(f"llc.{head}", title, "coefficient", "weights", one.steps[kept], value, head=head)
    return [line], said


def _broken(head: str, one: LlcSeries) -> list[str]:
    """Name chains that broke off."""
    named = [
        f"chain {chain} at step {int(one.steps[t])} (its step {int(one.broke[t, chain])})"
        for t, chain in np.argwhere(one.broke >= 0)
    ]
    if not named:
        return []
    more = f" and {len(named) - 4} more" if len(named) > 4 else ""
    return [f"{head}: {len(named)} chains broke off, loss or gradient no number: "
            f"{', '.join(named[:4])}{more}"]  # fmt: skip


def _unsettled(head: str, one: LlcSeries) -> list[str]:
    """Say where no plateau was found."""
    if one.settings.get("plateau", True):
        return []
    return [
        f"{head}: no step size of the sweep is on a plateau: the size of the coefficients is not"
        " to be trusted, at best their order"
    ]
