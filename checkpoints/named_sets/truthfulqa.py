"""TruthfulQA, one right answer of many (mc1; https://arxiv.org/abs/2109.07958).

Only a validation split is published, so the set cannot be trained on. Its right answer
always comes first; candidates are put into a fixed mixed order. Nothing is generated.
lm-eval adds six demonstrations before every question; add them as a context where wanted.
"""

from critical_phase.checkpoints.named_sets.named_set import Fields, HubRow, NamedSet, Part, mixed

HUB = "truthfulqa/truthful_qa"


def truthfulqa_question(row: HubRow, part: Part, number: int) -> Fields:
    """Take the mc1 choices in a mixed order."""
    labels = list(row["mc1_targets"]["labels"])
    if sorted(labels) != [0] * (len(labels) - 1) + [1]:
        raise ValueError(f"mc1 has one right answer, found labels {labels}")
    key = f"truthfulqa-{part.split}-{number}"
    candidates, answer = mixed(row["mc1_targets"]["choices"], labels.index(1), key)
    return {
        "id": key,
        "question": row["question"],
        "candidates": candidates,
        "answer": answer,
        "group": "truthfulqa",
    }


TRUTHFULQA = NamedSet(
    name="truthfulqa",
    train=(),
    eval=(Part(HUB, "multiple_choice", "validation"),),
    prompt="qa",
    convert=truthfulqa_question,
    published={"eval": 817},
)
