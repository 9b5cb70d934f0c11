"""Log-likelihoods of every row under a model and its heads, and behind the baselines' texts."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from critical_phase.checkpoints import (
    Checkpoint,
    Question,
    choose_device,
    dtype_named,
    model_sha256,
    prompt_format,
)
from critical_phase.cli.model import load
from critical_phase.cli.score_adapters import read_checkpoint
from critical_phase.cli.score_table import BASE
from critical_phase.cli.too_long import positions_of, too_long
from critical_phase.errors import ConfigError
from critical_phase.probes import Plan, Scores, Unit, context_plan, make_plan, score
from critical_phase.probes.slots import ModelSlot

MAIN = "question"
BASELINES = ("domain", "answer_only")


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """What to score, and how."""

    model: str
    questions: tuple[Question, ...]
    train_questions: tuple[Question, ...]
    """Where demonstrations come from."""
    prompt: str
    adapters: dict[str, Path]
    """Folder of one checkpoint by head, or `adapter`."""
    context: str | None = None
    premise: str | None = None
    layout: str = "auto"
    batch_tokens: int = 4096
    dtype: str = "float32"
    device: str = "auto"
    seed: int = 0
    too_long: Literal["refuse", "drop"] = "refuse"


@dataclass(frozen=True, slots=True)
class Scored:
    """Log-likelihoods of every row by what stands before it and by head."""

    plan: Plan
    scores: dict[str, dict[str, Scores]]
    missing: dict[str, str]
    """Baselines that the questions or the tokenizer cannot supply, and why."""
    adapters: dict[str, Checkpoint]
    """What was scored, by head."""
    left_out: tuple[str, ...]
    """Questions that were too long for the model."""


def score_heads(request: ScoreRequest) -> Scored:
    """Score the rows under the base model and under every adapter.

    Raises:
        ConfigError: The questions, the context or the layout cannot be used.
        CheckpointError: The model or an adapter cannot be loaded.
    """
    found: dict[str, dict[str, Scores]] = {}
    plans: dict[str, Plan] = {}
    missing: dict[str, str] = {}
    asked = request.questions
    adapters = {head: read_checkpoint(folder) for head, folder in request.adapters.items()}
    units = [Unit(BASE, 0), *(Unit(head, 0, item) for head, item in adapters.items())]
    for unit in units:  # a fresh model for each: heads may differ in shape
        model, tokenizer = load(
            request.model, dtype=dtype_named(request.dtype), device=choose_device(request.device)
        )
        if not plans:
            request = _fitting(request, tokenizer, positions_of(model))
            plans, missing = _plans(request, tokenizer)
        for name, values in _head_scores(model, plans, unit, request).items():
            found.setdefault(name, {})[unit.head] = values
    kept = {question.id for question in request.questions}
    left_out = tuple(question.id for question in asked if question.id not in kept)
    return Scored(plans[MAIN], found, missing, adapters, left_out)


def _fitting(request: ScoreRequest, tokenizer: Any, positions: int | None) -> ScoreRequest:
    """Leave out questions that do not fit; a context may give the others new texts."""
    while names := too_long(_plan(request, tokenizer), positions, request.too_long):
        kept = tuple(question for question in request.questions if question.id not in names)
        request = replace(request, questions=kept)
    return request


def _plan(request: ScoreRequest, tokenizer: Any) -> Plan:
    style = prompt_format(request.prompt)
    if request.context is None:
        return make_plan(request.questions, tokenizer, style)
    return context_plan(
        request.context,
        request.questions,
        request.train_questions,
        tokenizer,
        style,
        request.seed,
        premise=request.premise,
    )


def _plans(request: ScoreRequest, tokenizer: Any) -> tuple[dict[str, Plan], dict[str, str]]:
    plans, missing = {MAIN: _plan(request, tokenizer)}, {}
    for name in BASELINES:
        try:
            plans[name] = _plan(replace(request, context=name), tokenizer)
        except ConfigError as error:
            missing[name] = str(error.args[0])
    return plans, missing


def _head_scores(
    model: Any, plans: dict[str, Plan], unit: Unit, request: ScoreRequest
) -> dict[str, Scores]:
    options: dict[str, Any] = {"batch_tokens": request.batch_tokens, "layout": request.layout}
    if unit.head == BASE:
        return {name: score(model, plan, **options) for name, plan in plans.items()}
    slot = ModelSlot.open(model, [unit], plans[MAIN], model_sha256(model))
    with slot.holding(unit):
        return {name: score(slot.model, plan, **options) for name, plan in plans.items()}
