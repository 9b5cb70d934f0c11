"""HellaSwag (https://arxiv.org/abs/1905.07830): which ending follows; wrong ones by machine.

Texts are prepared as lm-eval does it, for training too (the released code of
arXiv 2503.14391 leaves the training context as it is). One difference: where a mark such as
`[header]` opens a text, lm-eval keeps the space behind it, so that two spaces stand before
such an ending. Here texts have no space at their ends.
"""

import re

from critical_phase.checkpoints.named_sets.named_set import Fields, HubRow, NamedSet, Part

HUB = "Rowan/hellaswag"


def hellaswag_question(row: HubRow, part: Part, number: int) -> Fields:
    """Join activity and context; the activity is the group."""
    context = f"{row['ctx_a']} {row['ctx_b'].capitalize()}"
    return {
        "id": f"hellaswag-{part.split}-{number}",
        "question": without_marks(f"{row['activity_label']}: {context}"),
        "candidates": [without_marks(ending) for ending in row["endings"]],
        "answer": int(row["label"]),
        "group": row["activity_label"],
    }


def without_marks(text: str) -> str:
    """Remove the bracketed marks that WikiHow pages leave in the texts."""
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ").strip()


HELLASWAG = NamedSet(
    name="hellaswag",
    train=(Part(HUB, None, "train"),),
    eval=(Part(HUB, None, "validation"),),
    prompt="plain",
    convert=hellaswag_question,
    published={"train": 39905, "eval": 10042},
)
