"""Interventions: change one thing between an early and a late model, and score again.

Reference: 2404.15255 (both directions), 2402.14811 (patching between fine-tuned and base).
"""

from critical_phase.probes.interventions.ablate import Ablate
from critical_phase.probes.interventions.arrival import check_arrival
from critical_phase.probes.interventions.bench import Bench
from critical_phase.probes.interventions.cells_file import (
    CellsFile,
    as_key,
    read_arrays,
    write_arrays,
)
from critical_phase.probes.interventions.constant_vector import ConstantVector
from critical_phase.probes.interventions.contract import (
    Cell,
    Headline,
    InterventionPlan,
    Outcome,
    Pair,
)
from critical_phase.probes.interventions.drift import drift
from critical_phase.probes.interventions.edits import Edit, Site, change, record
from critical_phase.probes.interventions.frozen_attention import FrozenAttention
from critical_phase.probes.interventions.graft import Graft
from critical_phase.probes.interventions.interpolate import Interpolate
from critical_phase.probes.interventions.lab import Judge, Lab
from critical_phase.probes.interventions.leace import LeacePlan
from critical_phase.probes.interventions.lens import LensPlan
from critical_phase.probes.interventions.mixture import Mixture
from critical_phase.probes.interventions.patch import Patch
from critical_phase.probes.interventions.patterns import Patterns, read_patterns
from critical_phase.probes.interventions.places import find_places, head_places
from critical_phase.probes.interventions.scale import Scale
from critical_phase.probes.interventions.search import smallest
from critical_phase.probes.interventions.sources import Sources
from critical_phase.probes.interventions.steer import Steer
from critical_phase.probes.interventions.transplant import Transplant
from critical_phase.probes.interventions.update import (
    Part,
    Place,
    State,
    Term,
    added,
    grafted,
    mixed,
    scaled,
    whole,
)

PLANS: dict[str, type[InterventionPlan]] = {
    "graft": Graft,
    "scale": Scale,
    "interpolate": Interpolate,
    "constant_vector": ConstantVector,
    "frozen_attention": FrozenAttention,
    "patch": Patch,
    "ablate": Ablate,
    "leace": LeacePlan,
    "steer": Steer,
    "lens": LensPlan,
}
"""The plans by name: a new one is one file and one line here."""

__all__ = [
    "PLANS",
    "Bench",
    "Cell",
    "CellsFile",
    "Edit",
    "Headline",
    "InterventionPlan",
    "Judge",
    "Lab",
    "Mixture",
    "Outcome",
    "Pair",
    "Part",
    "Patterns",
    "Place",
    "Site",
    "Sources",
    "State",
    "Term",
    "Transplant",
    "added",
    "as_key",
    "change",
    "check_arrival",
    "drift",
    "find_places",
    "grafted",
    "head_places",
    "mixed",
    "read_arrays",
    "read_patterns",
    "record",
    "scaled",
    "smallest",
    "whole",
    "write_arrays",
]
