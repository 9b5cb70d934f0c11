"""All measures of a run in order, and the findings they add up to."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Protocol

from critical_phase.errors import ConfigError

from .attention import attention
from .attention_moves import attention_moves
from .attention_spans import attention_spans
from .baselines import baselines
from .calibrations import calibration
from .change_points import change_points
from .changes import changes
from .collapses import collapse
from .control_runs import control_runs
from .curvature import curvature
from .decomposition import decomposition
from .findings import findings
from .geometry import geometry
from .guarded import guarded
from .head_importance import head_importance
from .head_outputs import head_outputs
from .inputs import RunArrays
from .instability import instability
from .intruders import intruders
from .likelihood import curves
from .linear_probes import linear_probes
from .local_learning import local_learning
from .margin_spread import margin_spread
from .movement import movement
from .normalisations import normalisations
from .probe_confirmation import probe_confirmation
from .readout_displacement import readout_displacement
from .readout_gap import readout_gap
from .results import Analysis, FailedMeasure, MeasureResult
from .second_scorings import second_scoring
from .settings import AnalysisSettings
from .side_effects import side_effects
from .similarity import similarity
from .sparsity import sparsity
from .sparsity_difficulty import sparsity_difficulty
from .state_rank import state_rank
from .step_transfer import step_transfer
from .strata import difficulty
from .tokens import tokens
from .weight_spaces import weight_spaces
from .weight_sweep import weight_sweep
from .weights import weights


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
