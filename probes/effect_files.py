"""What goes into an effects file, and the key that says how it was made."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from critical_phase.checkpoints import Example
from critical_phase.probes.collector import Coordinate, Dataset
from critical_phase.probes.divergence import Divergences
from critical_phase.probes.gradient_noise import GradientNorms
from critical_phase.probes.neutral_texts import NeutralTexts
from critical_phase.probes.plan import Plan
from critical_phase.probes.unit_files import relative_uri, versions
from critical_phase.probes.units import Unit

Arrays = list[tuple[Dataset, Tensor]]


@dataclass(frozen=True, eq=False)
class DrawnExamples:
    """Training examples of one head, drawn once for all of its checkpoints."""

    examples: tuple[Example, ...]
    places: Int[np.ndarray, " example"]
    """Place of each in the training order, from 0, ascending."""

    @property
    def sha256(self) -> str:
        """Hash of the tokens and the places."""
        tokens = [[item.question_ids, item.answer_ids] for item in self.examples]
        return hashlib.sha256(json.dumps([tokens, self.places.tolist()]).encode()).hexdigest()


def draw_for_gradients(
    examples: Sequence[Example], count: int, rng: np.random.Generator
) -> DrawnExamples:
    """Draw examples without replacement; there must be at least `count`."""
    places = np.sort(rng.choice(len(examples), size=count, replace=False))
    return DrawnExamples(tuple(examples[int(place)] for place in places), places)


@dataclass(frozen=True, eq=False)
class Effects:
    """What one checkpoint does beside the task."""

    questions: Divergences
    """Per question, on its right candidate."""
    texts: Divergences | None
    """Per window of the neutral texts."""
    gradients: GradientNorms | None


def right_rows(plan: Plan) -> Plan:
    """Keep of each question the row of its right candidate."""
    rows = np.flatnonzero(plan.correct).tolist()
    return replace(
        plan,
        answers=tuple(plan.answers[row] for row in rows),
        texts=tuple(plan.texts[row] for row in rows),
        question=plan.question[rows],
        candidate=plan.candidate[rows],
        correct=plan.correct[rows],
    )


def effects_key(
    unit: Unit,
    plan: Plan,
    texts: NeutralTexts | None,
    drawn: DrawnExamples | None,
    base_sha256: str,
    dtype: str,
) -> dict[str, Any]:
    """List everything that decides the content of a file."""
    return {
        "kind": "effects",
        "plan_sha256": plan.sha256,
        "texts_sha256": "" if texts is None else texts.sha256,
        "examples_sha256": "" if drawn is None else drawn.sha256,
        "adapter_sha256": unit.adapter_sha256,
        "base_sha256": base_sha256,
        "compute_dtype": dtype,
    }


def effects_attributes(
    unit: Unit, run: Path, model: Any, plan: Plan, key: Mapping[str, Any]
) -> dict[str, str | int | float]:
    """Say where a file comes from; no host, user or absolute path."""
    checkpoint = unit.checkpoint
    return {
        "head": unit.head,
        "step": unit.step,
        "checkpoint_uri": "" if checkpoint is None else relative_uri(checkpoint.path, run),
        "prompt_format": plan.prompt_format,
        "device": str(model.device.type),
        **{name: value for name, value in key.items() if name != "kind"},
        **versions(),
    }


def effects_coordinates(
    plan: Plan, texts: NeutralTexts | None, drawn: DrawnExamples | None
) -> dict[str, Coordinate]:
    """Return the axes of a file."""
    axes: dict[str, Coordinate] = {"question": plan.question_ids}
    if texts is not None:
        axes["text"] = np.arange(len(texts.texts), dtype=np.int32)
    if drawn is not None:
        axes["example"] = drawn.places.astype(np.int32)
        axes["all_examples"] = np.array([len(drawn.examples)], dtype=np.int32)
    return axes


def effects_datasets(effects: Effects, texts: NeutralTexts | None) -> Arrays:
    """Return the datasets of a file."""
    made = _question_datasets(effects.questions)
    if texts is not None and effects.texts is not None:
        made += _text_datasets(effects.texts, texts)
    if effects.gradients is not None:
        made += _gradient_datasets(effects.gradients)
    return made


def _question_datasets(found: Divergences) -> Arrays:
    where = "of the right candidate"
    return [
        _one("kl_question", "question", found.to_base, f"KL(head || base) per token {where}, nats"),
        _one(
            "kl_question_end",
            "question",
            found.first,
            "KL(head || base) at the last token before the answer, nats",
        ),
    ]


def _text_datasets(found: Divergences, texts: NeutralTexts) -> Arrays:
    def mean(values: np.ndarray) -> np.ndarray:
        return texts.mean(values.astype(np.float64)).astype(np.float32)

    total = texts.add_up(found.loss.astype(np.float64)).astype(np.float32)
    tokens, windows = texts.tokens.astype(np.int32), texts.windows.astype(np.int32)
    return [
        _one("kl_text", "text", mean(found.to_base), "KL(head || base) per token, nats"),
        _one("kl_text_reverse", "text", mean(found.from_base), "KL(base || head) per token, nats"),
        _one("nll_text", "text", total, "negative log-likelihood, summed over its tokens, nats"),
        _one("tokens_text", "text", tokens, "tokens that are predicted"),
        _one("windows_text", "text", windows, "windows that the text was cut into"),
    ]


def _gradient_datasets(found: GradientNorms) -> Arrays:
    about = "squared norm of the gradient of the loss of one example, nats squared"
    mean = "squared norm of the mean of these gradients, nats squared"
    return [
        _one("gradient_sq", "example", found.single, about),
        _one("gradient_mean_sq", "all_examples", np.array([found.mean]), mean),
        _one("loss_example", "example", found.loss, "mean loss per answer token, nats"),
    ]


def _one(name: str, axis: str, values: np.ndarray, about: str) -> tuple[Dataset, Tensor]:
    tensor = torch.from_numpy(values)
    return Dataset(name, (axis,), tensor.dtype, about), tensor
