"""The AI2 Reasoning Challenge (https://arxiv.org/abs/1803.05457): science exam questions.

`arc` is split as in arXiv 2503.14391: everything but the test questions of ARC-Challenge is
trained on, the test questions of ARC-Easy too. Some questions have 3 or 5 candidates, and
labels are letters or digits.
"""

from critical_phase.checkpoints.named_sets.named_set import (
    Fields,
    HubRow,
    NamedSet,
    Part,
    index_of,
)

HUB = "allenai/ai2_arc"
GROUPS = {"ARC-Challenge": "arc_challenge", "ARC-Easy": "arc_easy"}


def arc_question(row: HubRow, part: Part, number: int) -> Fields:
    """Take a question as it stands; its group says which half of ARC it is from."""
    return {
        "id": row["id"],
        "question": row["question"],
        "candidates": list(row["choices"]["text"]),
        "answer": index_of(row["answerKey"], row["choices"]["label"]),
        "group": GROUPS[str(part.config)],
    }


def _parts(*names: tuple[str, str]) -> tuple[Part, ...]:
    return tuple(Part(HUB, config, split) for config, split in names)


CHALLENGE_TRAIN = _parts(("ARC-Challenge", "train"), ("ARC-Challenge", "validation"))
CHALLENGE_TEST = _parts(("ARC-Challenge", "test"))
EASY_TRAIN = _parts(("ARC-Easy", "train"), ("ARC-Easy", "validation"))
EASY_TEST = _parts(("ARC-Easy", "test"))

ARC = NamedSet(
    name="arc",
    train=CHALLENGE_TRAIN + EASY_TRAIN + EASY_TEST,
    eval=CHALLENGE_TEST,
    prompt="cloze",
    convert=arc_question,
    published={"train": 1119 + 299 + 2251 + 570 + 2376, "eval": 1172},
)
ARC_CHALLENGE = NamedSet(
    name="arc_challenge",
    train=CHALLENGE_TRAIN[:1],
    eval=CHALLENGE_TEST,
    prompt="cloze",
    convert=arc_question,
    published={"train": 1119, "eval": 1172},
)
ARC_EASY = NamedSet(
    name="arc_easy",
    train=EASY_TRAIN[:1],
    eval=EASY_TEST,
    prompt="cloze",
    convert=arc_question,
    published={"train": 2251, "eval": 2376},
)
