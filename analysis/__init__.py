"""Numbers in, findings out.

A *linear probe* lives here and is statistics; the instruments attached to a model live in
`critical_phase.probes`. Nothing here opens a file or loads a model.
"""

from .causal_evidence import Intervention
from .control_run import ControlRun
from .inputs import Rows, RunArrays
from .normalisation import normalise
from .pipeline import MEASURES, Measure, analyze
from .results import Analysis, Curve, FailedMeasure, Map, MeasureResult, Table, TokenView, to_json
from .series import Series
from .settings import MODES, AnalysisSettings
from .worlds import PlantedRun, planted_run

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
