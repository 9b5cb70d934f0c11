"""CommonsenseQA (https://arxiv.org/abs/1811.00937): five concepts, one of them fits.

The answers of the test split are not published: the validation split is evaluated on.
"""

from critical_phase.checkpoints.named_sets.named_set import (
    Fields,
    HubRow,
    NamedSet,
    Part,
    index_of,
)

HUB = "tau/commonsense_qa"


def commonsenseqa_question(row: HubRow, part: Part, number: int) -> Fields:
    """Take a question as it stands; the concept it was written about is its group."""
    return {
        "id": row["id"],
        "question": row["question"],
        "candidates": list(row["choices"]["text"]),
        "answer": index_of(row["answerKey"], row["choices"]["label"]),
        "group": row["question_concept"],
    }


COMMONSENSEQA = NamedSet(
    name="commonsenseqa",
    train=(Part(HUB, None, "train"),),
    eval=(Part(HUB, None, "validation"),),
    prompt="cloze",
    convert=commonsenseqa_question,
    published={"train": 9741, "eval": 1221},
)
