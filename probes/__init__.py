"""Instruments attached to a model: score rows, read activations, store both, bit for bit checked.

A probe here is an instrument. A *linear probe* is statistics and lives in
`critical_phase.analysis`.
"""

from critical_phase.probes.bridge import BridgeParity, bridge_parity
from critical_phase.probes.collect import CollectReport, collect
from critical_phase.probes.collectors import COLLECTORS
from critical_phase.probes.contexts import CONTEXTS, context_kind, context_plan, demonstrations
from critical_phase.probes.effect_files import DrawnExamples, draw_for_gradients
from critical_phase.probes.effects_job import EffectsPlan, EffectsSettings
from critical_phase.probes.estimate import Estimate, estimate
from critical_phase.probes.neutral_texts import NeutralTexts, encode_texts
from critical_phase.probes.plan import POSITIONS, Plan, check_fits, make_plan
from critical_phase.probes.plan_csv import PlanTable, read_plan, write_plan
from critical_phase.probes.score import score
from critical_phase.probes.scoring import Scores
from critical_phase.probes.settings import CollectSettings
from critical_phase.probes.side_effects import EffectsReport, side_effects
from critical_phase.probes.sites import Site, Sites, resolve, sites
from critical_phase.probes.store import (
    ScoreFile,
    read_activations,
    read_attrs,
    read_effects,
    read_scores,
)
from critical_phase.probes.unit_work import Failure, Progress
from critical_phase.probes.units import BASE, Unit, make_units, unit_path
from critical_phase.probes.validation import FileSummary, validate

__all__ = [
    "BASE",
    "COLLECTORS",
    "CONTEXTS",
    "POSITIONS",
    "BridgeParity",
    "CollectReport",
    "CollectSettings",
    "DrawnExamples",
    "EffectsPlan",
    "EffectsReport",
    "EffectsSettings",
    "Estimate",
    "Failure",
    "FileSummary",
    "NeutralTexts",
    "Plan",
    "PlanTable",
    "Progress",
    "ScoreFile",
    "Scores",
    "Site",
    "Sites",
    "Unit",
    "bridge_parity",
    "check_fits",
    "collect",
    "context_kind",
    "context_plan",
    "demonstrations",
    "draw_for_gradients",
    "encode_texts",
    "estimate",
    "make_plan",
    "make_units",
    "read_activations",
    "read_attrs",
    "read_effects",
    "read_plan",
    "read_scores",
    "resolve",
    "score",
    "side_effects",
    "sites",
    "unit_path",
    "validate",
    "write_plan",
]
