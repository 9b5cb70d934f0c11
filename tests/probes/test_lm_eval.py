"""The numbers are those of lm-evaluation-harness: per candidate, and its acc and acc_norm."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset

from critical_phase.checkpoints import PROMPTS, PromptFormat, Question, load_model, read_questions
from critical_phase.checkpoints.organism_set import organism_questions
from critical_phase.probes import Plan, context_plan, make_plan, score

with warnings.catch_warnings():  # the harness' own imports warn
    warnings.simplefilter("ignore")
    pytest.importorskip(
        "lm_eval", reason="lm-evaluation-harness is not installed: pip install .[bench]"
    )
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.evaluator import evaluate
    from lm_eval.models.huggingface import HFLM

pytestmark = pytest.mark.filterwarnings("ignore")

NATS = 1e-4
"""Float32 sums over tens of tokens, in another order, agree within this."""


def harness(
    model: Any,
    tokenizer: Any,
    style: PromptFormat,
    questions: Sequence[Question],
    train: Sequence[Question],
    shots: int,
) -> tuple[np.ndarray, float, float]:
    """Score with lm-evaluation-harness: log-likelihoods [row], acc and acc_norm."""
    task = ConfigurableTask(
        config={
            "task": "ours",
            "custom_dataset": lambda **_: {
                "test": Dataset.from_list([asdict(q) for q in questions]),
                "train": Dataset.from_list([asdict(q) for q in train]),
            },
            "output_type": "multiple_choice",
            "test_split": "test",
            "fewshot_split": "train",
            "fewshot_config": {"sampler": "first_n"},
            "num_fewshot": shots,
            "doc_to_text": style.template.replace("{question}", "{{question}}"),
            "doc_to_choice": "{{candidates}}",
            "doc_to_target": "answer",
            "metric_list": [
                {"metric": name, "aggregation": "mean", "higher_is_better": True}
                for name in ("acc", "acc_norm")
            ],
        }
    )
    lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=8, add_bos_token=True)
    found = evaluate(lm, {"ours": task}, log_samples=True, bootstrap_iters=0)
    samples = sorted(found["samples"]["ours"], key=lambda sample: sample["doc_id"])
    values = [float(one[0]) for sample in samples for one in sample["filtered_resps"]]
    result = found["results"]["ours"]
    return np.array(values), result["acc,none"], result["acc_norm,none"]


def first_of_the_top(plan: Plan, values: np.ndarray) -> float:
    """Accuracy by the harness' rule: a tie goes to the first candidate."""
    chosen = [values[list(rows)].argmax() for rows in plan.rows_of]
    return float(np.mean([plan.correct[r[c]] for r, c in zip(plan.rows_of, chosen, strict=True)]))


def assert_scores_as_in_the_harness(
    model: Any,
    tokenizer: Any,
    style: PromptFormat,
    questions: tuple[Question, ...],
    train: tuple[Question, ...],
    shots: int,
) -> None:
    if shots:
        plan = context_plan(f"shots-{shots}", questions, train, tokenizer, style)
    else:
        plan = make_plan(questions, tokenizer, style)
    theirs, acc, acc_norm = harness(model, tokenizer, style, questions, train, shots)
    for layout in ("packed", "cached", "naive"):
        ours = score(model, plan, layout=layout).logprob_sum  # type: ignore[arg-type]
        assert np.abs(ours - theirs).max() < NATS
    assert first_of_the_top(plan, ours) == acc
    assert first_of_the_top(plan, ours / plan.characters) == acc_norm


@pytest.mark.parametrize("shots", [0, 2])
def test_the_organism_scores_as_in_the_harness(shots: int) -> None:
    model, tokenizer = load_model("organism")
    questions, train = organism_questions("test")[:40], organism_questions("train")
    assert_scores_as_in_the_harness(model, tokenizer, PROMPTS["plain"], questions, train, shots)


@pytest.mark.real
@pytest.mark.parametrize("shots", [0, 2])
def test_a_pretrained_model_scores_real_questions_as_in_the_harness(
    shots: int, shared: Path
) -> None:
    model, tokenizer = load_model(str(shared / "models" / "stories260k"))
    questions = read_questions(shared / "data" / "arc_challenge_test.jsonl")[:30]
    train = read_questions(shared / "data" / "arc_challenge_train.jsonl")
    assert_scores_as_in_the_harness(model, tokenizer, PROMPTS["cloze"], questions, train, shots)
