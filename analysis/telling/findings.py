"""What people and scripts read first: jump, accuracy, changes, verdicts, controls."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from critical_phase import __version__
from critical_phase.analysis.inputs import RunArrays, question_count
from critical_phase.analysis.judging.hypotheses import CLAIMS, Verdict
from critical_phase.analysis.judging.verdicts import verdicts
from critical_phase.analysis.jumps.change_points import reference
from critical_phase.analysis.jumps.ranked_change import RankedChange
from critical_phase.analysis.jumps.templates import ABRUPT_SHARE, SMOOTH_SHARE
from critical_phase.analysis.results import MeasureResult, plain
from critical_phase.analysis.scores.control_runs import control_sentences
from critical_phase.analysis.scores.curves import NEEDS, available_modes
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.telling.finding_controls import control_findings
from critical_phase.analysis.telling.jump_finding import jump_finding
from critical_phase.analysis.telling.jump_sentence import sentence


def findings(
    arrays: RunArrays,
    settings: AnalysisSettings,
    results: Mapping[str, MeasureResult],
) -> dict[str, Any]:
    """Collect the findings of a run.

    Args:
        arrays: The run.
        settings: Name of the run and resampling sizes.
        results: Measures that were run; `curves`, `change_points` and `changes` among them.

    Returns:
        Plain values under the published keys, without NaN.
    """
    points = results["change_points"]
    jump = reference(points)
    warnings = _warnings(arrays, settings, results)
    abrupt = [row for row in results["changes"].facts["ranked"] if row.abrupt]
    ranked = [
        row
        for row in abrupt
        if row.change.placed and row.lead is not None and not row.change.width_at_limit
    ]
    if abrupt and jump is None:
        warnings.append(f"{len(abrupt)} quantities change abruptly although accuracy does not")
    return dict(
        plain(
            {
                "schema_version": 1,
                "run": settings.run,
                "provenance": _provenance(arrays, settings),
                "weight": settings.weight,
                "sentence": sentence(arrays, results, weight=settings.weight, names=settings.names),
                "jump": None if jump is None else jump_finding(jump, results, arrays.batch_size),
                "accuracy": results["curves"].facts["accuracy"],
                "changes": [_change(row) for row in ranked if jump is not None],
                "verdicts": [_verdict(v) for v in verdicts(arrays, settings, results)],
                "controls": [*control_sentences(results), *control_findings(results)],
                "warnings": warnings,
                **({"names": dict(settings.names)} if settings.names else {}),
                **({"control_runs": [c.noted for c in arrays.controls]} if arrays.controls else {}),
            }
        )
    )


def _warnings(
    arrays: RunArrays, settings: AnalysisSettings, results: Mapping[str, MeasureResult]
) -> list[str]:
    """List what a reader must know: files, unmatched steps, measures, what abrupt means."""
    notes = [str(note) for note in getattr(arrays, "notes", ())]
    notes += _unmatched(arrays, settings)
    notes += [f"{name}: {text}" for name, one in results.items() for text in one.warnings]
    steps = np.concatenate([arrays.steps(head) for head in arrays.heads] or [np.zeros(0)])
    if steps.size:
        notes.append(_what_abrupt_means(int(steps.max() - steps.min())))
    return list(dict.fromkeys(notes))


def _what_abrupt_means(span: int) -> str:
    """Say which widths the test calls abrupt, and which it may call either."""
    return (
        f"abrupt means that a change with a 10-90 width of at most {ABRUPT_SHARE * span:g} steps (a"
        f" quarter of the {span} collected) fits better than smooth curves, whose sigmoids are at"
        f" least {SMOOTH_SHARE * span:g} steps wide ({SMOOTH_SHARE:g}); a change between the two"
        " may be called either, so the width of an abrupt one may be given as up to that"
    )


def _provenance(arrays: RunArrays, settings: AnalysisSettings) -> dict[str, Any]:
    """Say what the numbers were made from, so that they can be cited; no clock of today."""
    sizes = np.bincount(arrays.rows.question)
    return {
        "analysis_version": __version__,
        "made": dict(settings.made),
        "questions": question_count(arrays.rows),
        "candidates": sorted({int(size) for size in sizes}),
        "heads": list(arrays.heads),
        "checkpoints": {head: int(arrays.steps(head).size) for head in arrays.heads},
        "batch_size": arrays.batch_size,
        "draws": settings.draws,
        "permutations": settings.permutations,
        "smooth_draws": settings.smooth_draws,
        "analysis_seed": settings.seed,
        "training_runs": 1,
    }


def _unmatched(arrays: RunArrays, settings: AnalysisSettings) -> list[str]:
    """Name the steps that a mode of two heads leaves out because one head lacks them."""
    notes = []
    for mode in available_modes(arrays.heads, settings.modes):
        steps = [np.unique(arrays.steps(head)) for head in NEEDS[mode]]
        each, count = np.unique(np.concatenate(steps), return_counts=True)
        lost = each[count < len(steps)].tolist()
        if lost:
            listed = ", ".join(str(step) for step in lost[:8]) + (", ..." if lost[8:] else "")
            what = "step has" if len(lost) == 1 else "steps have"
            notes.append(
                f"{mode}: {len(lost)} {what} scores of one head only and are left out of this mode"
                f" ({listed})"
            )
    return notes


def _change(row: RankedChange) -> dict[str, Any]:
    """Describe one abrupt change."""
    series = row.change.series
    return {
        "quantity": series.quantity,
        "layer": series.layer,
        "head": series.attention_head,
        "tau_step": row.change.tau,
        "interval_steps": row.change.interval,
        "effect": row.change.size,
        "p_adjusted": row.p_adjusted,
        "p_family": row.p_family,
        "lead_steps": row.lead,
        "order": row.order,
        "lead_interval": row.lead_interval,
        "near_steps": row.reach,
        "with_jump": None if row.reach is None else row.with_jump,
        "title": series.title,
        "width_steps": row.change.width,
        "interval_kind": row.change.interval_kind,
        "width_at_limit": row.change.width_at_limit,
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    """Describe one verdict."""
    return {
        "hypothesis": verdict.hypothesis,
        "claim": CLAIMS[verdict.hypothesis],
        "verdict": verdict.verdict,
        "effect": verdict.effect,
        "interval": verdict.interval,
        "p_adjusted": verdict.p_adjusted,
        "effect_name": verdict.effect_name,
        "effect_unit": verdict.effect_unit,
        "p_name": verdict.p_name,
        "evidence": list(verdict.evidence),
    }
