"""Which answer a head is trained on, by name (arXiv 2503.14391, section on negatives).

One file per kind or family of kinds. `right_answers`, `shuffled_question` and
`question_blind` are controls: a head trained on them shows what is gained without a
wrong answer, without its question, or without any question.
"""

from critical_phase.checkpoints.negatives.irrelevant import IRRELEVANT
from critical_phase.checkpoints.negatives.kind import (
    NO_QUESTION,
    Choice,
    Need,
    NegativeKind,
    Pool,
)
from critical_phase.checkpoints.negatives.near_miss import NEAR_MISS, NEAR_MISS_FIRST
from critical_phase.checkpoints.negatives.near_miss_by_base import (
    NEAR_MISS_EASIEST,
    NEAR_MISS_HARDEST,
)
from critical_phase.checkpoints.negatives.question_blind import QUESTION_BLIND
from critical_phase.checkpoints.negatives.right_answers import RIGHT_ANSWERS
from critical_phase.checkpoints.negatives.shuffled_question import SHUFFLED_QUESTION
from critical_phase.checkpoints.negatives.supply import check_supply
from critical_phase.checkpoints.negatives.unrelated import UNRELATED
from critical_phase.errors import ConfigError

__all__ = [
    "NEGATIVES",
    "NO_QUESTION",
    "RIGHT_ANSWERS",
    "Choice",
    "Need",
    "NegativeKind",
    "Pool",
    "check_supply",
    "negative_kind",
]

NEGATIVES: dict[str, NegativeKind] = {
    "near_miss": NEAR_MISS,
    "irrelevant": IRRELEVANT,
    "unrelated": UNRELATED,
    "near_miss_first": NEAR_MISS_FIRST,
    "near_miss_hardest": NEAR_MISS_HARDEST,
    "near_miss_easiest": NEAR_MISS_EASIEST,
    "right_answers": RIGHT_ANSWERS,
    "shuffled_question": SHUFFLED_QUESTION,
    "question_blind": QUESTION_BLIND,
}


def negative_kind(name: str) -> NegativeKind:
    """Look up a kind of negatives by name.

    Raises:
        ConfigError: No kind has this name.
    """
    if name not in NEGATIVES:
        raise ConfigError(
            f"no kind of negatives {name!r}", fix=f"choose from {', '.join(NEGATIVES)}"
        )
    return NEGATIVES[name]
