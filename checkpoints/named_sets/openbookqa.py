"""OpenBookQA (https://arxiv.org/abs/1809.02789): elementary science, stems often unfinished."""

from critical_phase.checkpoints.named_sets.named_set import (
    Fields,
    HubRow,
    NamedSet,
    Part,
    index_of,
)

HUB = "allenai/openbookqa"


def openbookqa_question(row: HubRow, part: Part, number: int) -> Fields:
    """Take the stem as the question; the book's fact is not shown."""
    return {
        "id": row["id"],
        "question": row["question_stem"],
        "candidates": list(row["choices"]["text"]),
        "answer": index_of(row["answerKey"].strip(), row["choices"]["label"]),
        "group": "openbookqa",
    }


OPENBOOKQA = NamedSet(
    name="openbookqa",
    train=(Part(HUB, "main", "train"),),
    eval=(Part(HUB, "main", "test"),),
    prompt="plain",
    convert=openbookqa_question,
    published={"train": 4957, "eval": 500},
)
