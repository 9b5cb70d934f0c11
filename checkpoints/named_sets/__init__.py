"""Public question sets by name: one file and one line here for each."""

from pathlib import Path

from critical_phase.checkpoints.named_sets.arc import ARC, ARC_CHALLENGE, ARC_EASY
from critical_phase.checkpoints.named_sets.blimp import BLIMP
from critical_phase.checkpoints.named_sets.commonsenseqa import COMMONSENSEQA
from critical_phase.checkpoints.named_sets.hellaswag import HELLASWAG
from critical_phase.checkpoints.named_sets.named_set import NamedSet, Part, Split
from critical_phase.checkpoints.named_sets.openbookqa import OPENBOOKQA
from critical_phase.checkpoints.named_sets.reader import read_set, unknown_set
from critical_phase.checkpoints.named_sets.truthfulqa import TRUTHFULQA
from critical_phase.checkpoints.named_sets.winogrande import WINOGRANDE
from critical_phase.checkpoints.questions import Equal, QuestionFile

NAMED_SETS: dict[str, NamedSet] = {
    "arc": ARC,
    "arc_challenge": ARC_CHALLENGE,
    "arc_easy": ARC_EASY,
    "blimp": BLIMP,
    "commonsenseqa": COMMONSENSEQA,
    "hellaswag": HELLASWAG,
    "openbookqa": OPENBOOKQA,
    "truthfulqa": TRUTHFULQA,
    "winogrande": WINOGRANDE,
}

__all__ = ["NAMED_SETS", "NamedSet", "Part", "Split", "read_named_set"]


def read_named_set(
    name: str, split: Split, *, equal_candidates: Equal = "refuse", home: Path | None = None
) -> QuestionFile:
    """Read one split of a named set; see `read_set`.

    Raises:
        QuestionError: No set has this name, it has no such split, it is not at hand, or a
            row is malformed.
    """
    if name not in NAMED_SETS:
        raise unknown_set(name, tuple(NAMED_SETS))
    return read_set(NAMED_SETS[name], split, equal_candidates=equal_candidates, home=home)
