"""Numbers in, findings out.

A *linear probe* lives here and is statistics; the instruments attached to a model live in
`critical_phase.probes`. Nothing here opens a file or loads a model.
"""

from critical_phase.analysis.inputs import Rows, RunArrays
from critical_phase.analysis.judging.causal_evidence import Intervention
from critical_phase.analysis.pipeline import MEASURES, Measure, analyze
from critical_phase.analysis.planted.worlds import PlantedRun, planted_run
from critical_phase.analysis.results import (
    Analysis,
    Curve,
    FailedMeasure,
    Map,
    MeasureResult,
    Table,
    TokenView,
    to_json,
)
from critical_phase.analysis.scores.control_run import ControlRun
from critical_phase.analysis.scores.normalisation import normalise
from critical_phase.analysis.series import Series
from critical_phase.analysis.settings import MODES, AnalysisSettings

__all__ = [
    "MEASURES",
    "MODES",
    "Analysis",
    "AnalysisSettings",
    "ControlRun",
    "Curve",
    "FailedMeasure",
    "Intervention",
    "Map",
    "Measure",
    "MeasureResult",
    "PlantedRun",
    "Rows",
    "RunArrays",
    "Series",
    "Table",
    "TokenView",
    "analyze",
    "normalise",
    "planted_run",
    "to_json",
]
