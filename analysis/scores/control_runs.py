"""Measure `control_runs`: what other trainings reach of the gain of this one (H2, H8).

Training noise is in no interval here: run and control are one training each. Reference:
docs/methods.md, control runs; 2104.08315 (PMI_DC).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from critical_phase.analysis.charts import curve
from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.inputs import RunArrays, check_rows, question_count
from critical_phase.analysis.jumps.series_change import ChangeFinder, SeriesChange
from critical_phase.analysis.results import Curve, MeasureResult, Table, column
from critical_phase.analysis.scores.control_reach import (
    Compared,
    ControlReach,
    compare,
    references,
    setting_of,
)
from critical_phase.analysis.scores.reached import Reached
from critical_phase.analysis.settings import AnalysisSettings

COMMAND = "probe analyze RUN --control OTHER"
ABOUT = (
    "Other trainings that differ from this run in one planned thing, and how much of its gain in"
    " accuracy they reach: with other negatives at equal steps, at a lower learning rate where the"
    " learning rates have added up to the same. Run and control are one training each: intervals"
    " are over questions, and how far another seed would move either is not in them."
)


def control_runs(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Compare the run with its controls, and with what it holds itself.

    Args:
        arrays: The run, with its `controls`.
        settings: Weight and resampling sizes.
        done: Results of earlier measures: the primary mode from `change_points`, the jump from
            `changes`. Without a jump the whole series is compared.

    Returns:
        Accuracy of run and controls over steps, and a table of shares. Facts: `reaches` (one
        `ControlReach` per control) and `references` (`Reached` right after the jump and at the
        end, of the base model, the positive head alone and PMI_DC).
    """
    check_rows(arrays.rows)
    results = done or {}
    mode = results["change_points"].facts["primary"] if "change_points" in results else None
    jump: SeriesChange | None = results["changes"].facts["jump"] if "changes" in results else None
    if mode is None or not arrays.controls:
        lost = "no trained head" if mode is None else f"no control run was given: {COMMAND}"
        return _result(settings, warnings=(lost,))
    weights = shared_weights(question_count(arrays.rows), settings)
    here = setting_of(arrays, settings, mode, jump, weights)
    finder = ChangeFinder(weights, settings)
    found = tuple(compare(control, here, finder) for control in arrays.controls)
    own = references(here)
    return _result(
        settings,
        warnings=tuple(_warnings(found, mode)),
        curves=_curves(found, arrays, weights),
        tables=(_table(found, own, jump),),
        facts={"reaches": found, "references": own},
        controls=[control.noted for control in arrays.controls],
        mode=mode,
    )


def control_sentences(results: Mapping[str, MeasureResult]) -> list[dict[str, Any]]:
    """Return what findings list of the control runs among the controls."""
    found: Sequence[ControlReach] = (
        results["control_runs"].facts.get("reaches", ()) if "control_runs" in results else ()
    )
    return [
        {
            "control": "control run",
            "sentence": f"{in_words(one)}. One training of each: 95 % over questions alone.",
            "value": None if one.last is None else one.last.plain.share,
        }
        for one in found
    ]


def in_words(one: ControlReach) -> str:
    """Say what a control reaches, in one clause."""
    if one.last is None or one.after is None:
        return f"{one.control.name} ({one.control.about}) could not be compared: {one.why}"
    parts = [_share(one.after, "right after the jump")] if one.after != one.last else []
    parts += [_share(one.last, "at the end")]
    own = "" if one.jump is None else f"; its own accuracy jumps at its step {one.jump.tau:.3g}"
    if own and one.control.kind == "slow" and one.jump_time is not None:
        own += f" (summed learning rate {one.jump_time:.3g}, compared up to {one.last.time:.3g})"
    mode = " (negative head alone)" if one.mode == "base_likra" else ""
    return f"{one.control.name} ({one.control.about}){mode} reaches {' and '.join(parts)}{own}"


def _share(one: Compared, when: str) -> str:
    """Write accuracies and share at one time."""
    plain = one.plain
    said = f"{plain.other:.2f} where the run has {plain.after:.2f} {when} (step {one.step})"
    if plain.share is None or plain.interval is None:
        return f"{said}, where the run has no clear gain"
    low, high = plain.interval
    return f"{said}, {plain.share:.2f} [{low:.2f}, {high:.2f}] of the gain"


def _warnings(found: Sequence[ControlReach], mode: str) -> list[str]:
    """Say what could not be compared, and what was compared in another mode."""
    notes = [in_words(one) for one in found if one.last is None]
    return notes + [
        f"{one.control.name} has no positive head: it is compared in {one.mode}, the negative head"
        " over the base"
        for one in found
        if one.mode != mode
    ]


def _curves(found: Sequence[ControlReach], arrays: RunArrays, weights: Any) -> tuple[Curve, ...]:
    """Draw the run once per mode and every control at the times of the run."""
    drawn: dict[str, Curve] = {}
    for one in found:
        for line in one.lines:
            name = line.quantity.split(".", 2)[2]
            label = f"{name} ({one.mode})"
            drawn.setdefault(
                line.quantity,
                curve(
                    line,
                    weights,
                    arrays.batch_size,
                    group="control_runs",
                    label=label,
                    caption="Accuracy of this run and of its controls on the same questions. A"
                    " control at a lower learning rate stands at the step of the run at which"
                    " the learning rates have added up to the same (within a tenth).",
                ),
            )
    return tuple(drawn.values())


def _table(
    found: Sequence[ControlReach],
    own: Mapping[str, tuple[Reached, Reached]],
    jump: SeriesChange | None,
) -> Table:
    """List every control and every reference, right after the jump and at the end."""
    rows: list[list[Any]] = []
    for one in found:
        ends = [("right after the jump", one.after), ("at the end", one.last)]
        for when, at in ends[1:] if one.after == one.last else ends:
            if at is not None:
                steps = [at.step, at.other_step, at.time, at.other_time]
                rows.append(
                    [one.control.name, one.control.about, one.mode, when, *steps,
                     *_cells(at.plain), *_cells(at.clean)[-2:]]
                )  # fmt: skip
    for name, pair in own.items():
        both = zip(("right after the jump", "at the end"), pair, strict=True)
        for when, reach in list(both)[1 if jump is None else 0 :]:
            rows.append([name, "this run", None, when, *[None] * 4, *_cells(reach), None, None])
    columns = [
        column("control", "control", kind="text"),
        column("about", "what it is", kind="text"),
        column("mode", "score", kind="text"),
        column("when", "compared", kind="text"),
        column("step", "at step"),
        column("control_step", "step of the control"),
        column("time", "matched by: run"),
        column("control_time", "matched by: control"),
        column("before", "accuracy before"),
        column("after", "accuracy of the run"),
        column("accuracy", "accuracy of the control"),
        column("difference", "run minus control"),
        column("difference_interval", "interval"),
        column("share", "share of the run's gain"),
        column("share_interval", "interval of the share"),
        column("clean_share", "share, surface taken out"),
        column("clean_share_interval", "interval of that"),
    ]
    start = "before its jump" if jump is not None else "at its first step (no jump)"
    caption = (
        "Share: (control - before) / (run - before), where before is the run's own accuracy"
        f" {start}; only where the run's gain is above zero with its interval. A"
        " control may reach it by other means than the run: the base model and the positive head"
        " alone stand below. Controls with other negatives are matched by step, those at a lower"
        " learning rate by summed learning rate (within a tenth). Surface taken out: both scores"
        " without what a line through length in characters, length in tokens and, where scored,"
        " the likelihood of the answer alone explains within questions. 95 % over questions,"
        " paired; training noise is not in it. No layer or weight is chosen here, so all"
        " questions count."
    )
    return Table("control_runs", "What controls reach of the gain", caption, columns, rows)


def _cells(one: Reached) -> list[Any]:
    """Write accuracies, difference and share."""
    band = None if one.interval is None else list(one.interval)
    gap = list(one.difference_interval)
    return [one.before, one.after, one.other, one.difference, gap, one.share, band]


def _result(
    settings: AnalysisSettings,
    *,
    warnings: tuple[str, ...] = (),
    curves: tuple[Curve, ...] = (),
    tables: tuple[Table, ...] = (),
    facts: dict[str, Any] | None = None,
    **more: object,
) -> MeasureResult:
    """Wrap up."""
    return MeasureResult(
        "control_runs",
        "Control runs",
        ABOUT,
        "docs/methods.md, control runs; 2104.08315",
        {"weight": settings.weight, "draws": settings.draws, "seed": settings.seed, **more},
        warnings,
        curves,
        tables=tables,
        facts=facts or {"reaches": (), "references": {}},
    )
