"""Free text from a pair of heads: contrasted logits, merged weights, and what answers name.

Reference: 2105.03023 (experts and anti-experts at the logits), 2210.15097 (plausibility).
"""

from critical_phase.probes.generation.answer import Answer, Asked, Decoding
from critical_phase.probes.generation.contrast import (
    BASE,
    MERGED,
    NEGATIVE,
    POSITIVE,
    Contrast,
    combine,
    plausible,
)
from critical_phase.probes.generation.decode import decode
from critical_phase.probes.generation.difference import Apart, apart
from critical_phase.probes.generation.endings import LINE_END, Endings, endings
from critical_phase.probes.generation.gates import check_arrival, prove_padding
from critical_phase.probes.generation.layout import check_room
from critical_phase.probes.generation.lines import Lines
from critical_phase.probes.generation.merged import Merged, merge_heads
from critical_phase.probes.generation.naming import CandidateRule, Named, Rule, WorldRule
from critical_phase.probes.generation.run import Generated, generate
from critical_phase.probes.generation.saved import save_merged

__all__ = [
    "BASE",
    "LINE_END",
    "MERGED",
    "NEGATIVE",
    "POSITIVE",
    "Answer",
    "Apart",
    "Asked",
    "CandidateRule",
    "Contrast",
    "Decoding",
    "Endings",
    "Generated",
    "Lines",
    "Merged",
    "Named",
    "Rule",
    "WorldRule",
    "apart",
    "check_arrival",
    "check_room",
    "combine",
    "decode",
    "endings",
    "generate",
    "merge_heads",
    "plausible",
    "prove_padding",
    "save_merged",
]
