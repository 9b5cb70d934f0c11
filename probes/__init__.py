"""Instruments attached to a model: score rows, read activations, store both, bit for bit checked.

A probe here is an instrument. A *linear probe* is statistics and lives in
`critical_phase.analysis`.
"""

from critical_phase.probes.bridge import BridgeParity, bridge_parity
from critical_phase.probes.collect import CollectReport, Progress, collect
from critical_phase.probes.collectors import COLLECTORS
from critical_phase.probes.estimate import Estimate, estimate
from critical_phase.probes.job import Failure
from critical_phase.probes.plan import POSITIONS, Plan, check_fits, make_plan
from critical_phase.probes.plan_csv import PlanTable, read_plan, write_plan
from critical_phase.probes.settings import CollectSettings
from critical_phase.probes.sites import Site, Sites, resolve, sites
from critical_phase.probes.store import ScoreFile, read_activations, read_attrs, read_scores
from critical_phase.probes.units import BASE, Unit, make_units, unit_path
from critical_phase.probes.validation import FileSummary, validate

__all__ = [
    "BASE",
    "COLLECTORS",
    "POSITIONS",
    "BridgeParity",
    "CollectReport",
    "CollectSettings",
    "Estimate",
    "Failure",
    "FileSummary",
    "Plan",
    "PlanTable",
    "Progress",
    "ScoreFile",
    "Site",
    "Sites",
    "Unit",
    "bridge_parity",
    "check_fits",
    "collect",
    "estimate",
    "make_plan",
    "make_units",
    "read_activations",
    "read_attrs",
    "read_plan",
    "read_scores",
    "resolve",
    "sites",
    "unit_path",
    "validate",
    "write_plan",
]
