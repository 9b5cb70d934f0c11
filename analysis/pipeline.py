"""All measures of a run in order, and the findings they add up to."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Protocol

from critical_phase.analysis.activity.attention import attention
from critical_phase.analysis.activity.attention_moves import attention_moves
from critical_phase.analysis.activity.attention_spans import attention_spans
from critical_phase.analysis.activity.head_importance import head_importance
from critical_phase.analysis.activity.head_outputs import head_outputs
from critical_phase.analysis.activity.sparsity import sparsity
from critical_phase.analysis.activity.sparsity_difficulty import sparsity_difficulty
from critical_phase.analysis.activity.tokens import tokens
from critical_phase.analysis.guarded import guarded
from critical_phase.analysis.inputs import RunArrays
from critical_phase.analysis.jumps.change_points import change_points
from critical_phase.analysis.jumps.changes import changes
from critical_phase.analysis.probing.linear_probes import linear_probes
from critical_phase.analysis.probing.probe_confirmation import probe_confirmation
from critical_phase.analysis.probing.readout_gap import readout_gap
from critical_phase.analysis.probing.step_transfer import step_transfer
from critical_phase.analysis.results import Analysis, FailedMeasure, MeasureResult
from critical_phase.analysis.scores.baselines import baselines
from critical_phase.analysis.scores.calibrations import calibration
from critical_phase.analysis.scores.collapses import collapse
from critical_phase.analysis.scores.control_runs import control_runs
from critical_phase.analysis.scores.decomposition import decomposition
from critical_phase.analysis.scores.likelihood import curves
from critical_phase.analysis.scores.margin_spread import margin_spread
from critical_phase.analysis.scores.normalisations import normalisations
from critical_phase.analysis.scores.second_scorings import second_scoring
from critical_phase.analysis.scores.side_effects import side_effects
from critical_phase.analysis.scores.strata import difficulty
from critical_phase.analysis.scores.weight_sweep import weight_sweep
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.states.geometry import geometry
from critical_phase.analysis.states.movement import movement
from critical_phase.analysis.states.readout_displacement import readout_displacement
from critical_phase.analysis.states.similarity import similarity
from critical_phase.analysis.states.state_rank import state_rank
from critical_phase.analysis.telling.findings import findings
from critical_phase.analysis.updates.curvature import curvature
from critical_phase.analysis.updates.instability import instability
from critical_phase.analysis.updates.intruders import intruders
from critical_phase.analysis.updates.local_learning import local_learning
from critical_phase.analysis.updates.weight_spaces import weight_spaces
from critical_phase.analysis.updates.weights import weights
from critical_phase.errors import ConfigError


class Measure(Protocol):
    """A function from arrays to one result; earlier results spare it repeated work."""

    def __call__(
        self,
        arrays: RunArrays,
        settings: AnalysisSettings,
        done: Mapping[str, MeasureResult] | None = None,
    ) -> MeasureResult:
        """Compute the measure."""
        ...


MEASURES: dict[str, Measure] = {
    "curves": curves,
    "margins": margin_spread,
    "change_points": change_points,
    "second_scoring": second_scoring,
    "collapse": collapse,
    "decomposition": decomposition,
    "normalisations": normalisations,
    "baselines": baselines,
    "difficulty": difficulty,
    "calibration": calibration,
    "weight_sweep": weight_sweep,
    "side_effects": side_effects,
    "linear_probes": linear_probes,
    "readout_gap": readout_gap,
    "step_transfer": step_transfer,
    "probe_confirmation": probe_confirmation,
    "similarity": similarity,
    "movement": movement,
    "readout_displacement": readout_displacement,
    "geometry": geometry,
    "attention": attention,
    "attention_spans": attention_spans,
    "head_outputs": head_outputs,
    "head_importance": head_importance,
    "sparsity": sparsity,
    "sparsity_difficulty": sparsity_difficulty,
    "state_rank": state_rank,
    "weights": weights,
    "weight_spaces": weight_spaces,
    "intruders": intruders,
    "local_learning": local_learning,
    "curvature": curvature,
    "changes": changes,
    "attention_moves": attention_moves,
    "instability": instability,
    "control_runs": control_runs,
    "tokens": tokens,
}
"""Every measure by name, in the order in which they run and are shown."""

NEEDED = ("curves", "change_points", "changes")
"""Measures that findings cannot do without."""


def analyze(
    arrays: RunArrays,
    settings: AnalysisSettings | None = None,
    *,
    progress: Callable[[str], None] | None = None,
    measures: Iterable[str] | None = None,
) -> Analysis:
    """Run the measures of a run and collect the findings.

    A measure that fails is named in the findings and stops no other, unless findings need it.

    Args:
        arrays: The run.
        settings: Seed, resampling sizes, modes; defaults if left out.
        progress: Called with the name of each measure before it runs.
        measures: Names of measures to run, all if left out. Those that findings need run anyway.

    Returns:
        Results by measure, findings, and the headline sentence.

    Raises:
        ConfigError: A measure of that name does not exist.
        FitError: A score is not a number.
        ShapeError: Rows are not whole questions with one right candidate.
        Exception: Whatever a measure of `NEEDED` raised.
    """
    chosen = settings or AnalysisSettings()
    names = list(MEASURES) if measures is None else list(measures)
    unknown = sorted(set(names) - set(MEASURES))
    if unknown:
        raise ConfigError(f"asked for {', '.join(unknown)}, known are {', '.join(MEASURES)}")
    done: dict[str, MeasureResult] = {}
    failed: list[FailedMeasure] = []
    for name, measure in MEASURES.items():
        if name in names or name in NEEDED:
            if progress is not None:
                progress(name)
            if name in NEEDED:
                done[name] = measure(arrays, chosen, done)
                continue
            result = guarded(name, partial(measure, arrays, chosen, done))
            if isinstance(result, FailedMeasure):
                failed.append(result)
                result = result.result
            done[name] = result
    found = findings(arrays, chosen, done) | {"failed": [one.finding for one in failed]}
    return Analysis(done, found, str(found["sentence"]), tuple(failed))
