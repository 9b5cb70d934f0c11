"""Instruments attached to a model: score rows, read activations, store both, bit for bit checked.

A probe here is an instrument. A *linear probe* is statistics and lives in
`critical_phase.analysis`.
"""

from critical_phase.probes.bridge import BridgeParity, bridge_parity
from critical_phase.probes.collect import CollectReport, collect
from critical_phase.probes.collector import Dataset, Scene
from critical_phase.probes.collectors import COLLECTORS
from critical_phase.probes.contexts import CONTEXTS, context_kind, context_plan, demonstrations
from critical_phase.probes.effect_files import DrawnExamples, draw_for_gradients
from critical_phase.probes.effects_job import EffectsPlan, EffectsSettings
from critical_phase.probes.estimate import Estimate, estimate
from critical_phase.probes.export import DTYPES, Exported, export_file
from critical_phase.probes.export_formats import FORMATS
from critical_phase.probes.finite import NonFinite, non_finite_files
from critical_phase.probes.head_site import prove_heads
from critical_phase.probes.hooks import Hook, Hooks
from critical_phase.probes.in_training import LiveCollection, LiveReport
from critical_phase.probes.neutral_texts import NeutralTexts, encode_texts
from critical_phase.probes.own_collector import OwnCollector, own_collector
from critical_phase.probes.plan import POSITIONS, Plan, check_fits, make_plan
from critical_phase.probes.plan_csv import PlanTable, check_plan, read_plan, write_plan
from critical_phase.probes.positions import POSITION_NAMES, Positions
from critical_phase.probes.residual import SITES
from critical_phase.probes.score import score
from critical_phase.probes.scoring import Scores
from critical_phase.probes.settings import DEFAULT_COLLECTORS, CollectSettings
from critical_phase.probes.side_effects import EffectsReport, side_effects
from critical_phase.probes.site_list import Site, sites
from critical_phase.probes.site_paths import check_site_names
from critical_phase.probes.sites import Sites, check_sites, resolve
from critical_phase.probes.store import (
    ScoreFile,
    read_activations,
    read_attrs,
    read_effects,
    read_scores,
)
from critical_phase.probes.stream import LayerAtStep, stream_layer
from critical_phase.probes.unit_work import Failure, Progress
from critical_phase.probes.units import BASE, Unit, make_units, unit_path
from critical_phase.probes.validation import FileSummary, validate
from critical_phase.probes.validation_run import Checked, Fault, check_paths, stored_files

__all__ = [
    "BASE",
    "COLLECTORS",
    "CONTEXTS",
    "DEFAULT_COLLECTORS",
    "DTYPES",
    "FORMATS",
    "POSITIONS",
    "POSITION_NAMES",
    "SITES",
    "BridgeParity",
    "Checked",
    "CollectReport",
    "CollectSettings",
    "Dataset",
    "DrawnExamples",
    "EffectsPlan",
    "EffectsReport",
    "EffectsSettings",
    "Estimate",
    "Exported",
    "Failure",
    "Fault",
    "FileSummary",
    "Hook",
    "Hooks",
    "LayerAtStep",
    "LiveCollection",
    "LiveReport",
    "NeutralTexts",
    "NonFinite",
    "OwnCollector",
    "Plan",
    "PlanTable",
    "Positions",
    "Progress",
    "Scene",
    "ScoreFile",
    "Scores",
    "Site",
    "Sites",
    "Unit",
    "bridge_parity",
    "check_fits",
    "check_paths",
    "check_plan",
    "check_site_names",
    "check_sites",
    "collect",
    "context_kind",
    "context_plan",
    "demonstrations",
    "draw_for_gradients",
    "encode_texts",
    "estimate",
    "export_file",
    "make_plan",
    "make_units",
    "non_finite_files",
    "own_collector",
    "prove_heads",
    "read_activations",
    "read_attrs",
    "read_effects",
    "read_plan",
    "read_scores",
    "resolve",
    "score",
    "side_effects",
    "sites",
    "stored_files",
    "stream_layer",
    "unit_path",
    "validate",
    "write_plan",
]
