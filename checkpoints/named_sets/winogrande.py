"""WinoGrande XL (https://arxiv.org/abs/1907.10641): who is meant, of two names.

The question is the text before the blank, a candidate is a name with the rest of the
sentence. A candidate's score is therefore the likelihood of the name *and* of what follows.
lm-eval scores otherwise: it puts the name into the context and scores the rest alone
("partial scoring", the same tokens for both names), so its accuracies are not these. Here
the text that is trained on is the text that is scored, as in the released code's training
of arXiv 2503.14391.
"""

from critical_phase.checkpoints.named_sets.named_set import (
    Fields,
    HubRow,
    NamedSet,
    Part,
    index_of,
)

HUB = "allenai/winogrande"


def winogrande_question(row: HubRow, part: Part, number: int) -> Fields:
    """Cut the sentence at the last space before the blank and fill in both names."""
    before, blank, rest = row["sentence"].partition("_")
    if not blank:
        raise ValueError("the sentence has no blank '_'")
    # What touches the blank, such as a quotation mark, moves into the candidates.
    question, _, touching = before.rpartition(" ")
    return {
        "id": f"winogrande-{part.split}-{number}",
        "question": question,
        "candidates": [f"{touching}{row[name]}{rest}" for name in ("option1", "option2")],
        "answer": index_of(row["answer"], ("1", "2")),
        "group": "winogrande",
    }


WINOGRANDE = NamedSet(
    name="winogrande",
    train=(Part(HUB, "winogrande_xl", "train"),),
    eval=(Part(HUB, "winogrande_xl", "validation"),),
    prompt="plain",
    convert=winogrande_question,
    published={"train": 40398, "eval": 1267},
)
