"""`probe score`: accuracy of a model, or of two heads on it, on a set of questions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from critical_phase.analysis import MODES, Rows
from critical_phase.analysis.curves import NEEDS
from critical_phase.analysis.inputs import chance
from critical_phase.atomic import write_text
from critical_phase.checkpoints import (
    NAMED_SETS,
    ORGANISM,
    Checkpoint,
    Question,
    choose_device,
    dtype_named,
    load_adapter,
    load_model,
    model_sha256,
    prompt_format,
    read_named_set,
    tensors_sha256,
)
from critical_phase.checkpoints.organism_set import organism_questions
from critical_phase.cli.collect import sample_questions
from critical_phase.cli.console import result, result_json, say
from critical_phase.cli.question_sets import default_prompt, read_evaluation
from critical_phase.cli.score_table import BASE, OneStep, as_json, rows_csv, score_lines, table
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
    """Folder of one checkpoint by head."""
    context: str | None = None
    premise: str | None = None
    layout: str = "auto"
    batch_tokens: int = 4096
    dtype: str = "float32"
    device: str = "auto"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Scored:
    """Log-likelihoods of every row by what stands before it and by head."""

    plan: Plan
    scores: dict[str, dict[str, Scores]]
    missing: dict[str, str]
    """Baselines that the questions or the tokenizer cannot supply, and why."""


def score_heads(request: ScoreRequest) -> Scored:
    """Score the rows under the base model and under every adapter.

    Raises:
        ConfigError: The questions, the context or the layout cannot be used.
        CheckpointError: The model or an adapter cannot be loaded.
    """
    found: dict[str, dict[str, Scores]] = {}
    plans: dict[str, Plan] = {}
    missing: dict[str, str] = {}
    units = [Unit(BASE, 0)]
    units += [Unit(head, 0, _checkpoint(folder)) for head, folder in request.adapters.items()]
    for unit in units:  # a fresh model for each: heads may differ in shape
        model, tokenizer = load_model(
            request.model, dtype=dtype_named(request.dtype), device=choose_device(request.device)
        )
        if not plans:
            plans, missing = _plans(request, tokenizer)
        for name, values in _head_scores(model, plans, unit, request).items():
            found.setdefault(name, {})[unit.head] = values
    return Scored(plans[MAIN], found, missing)


def _plans(request: ScoreRequest, tokenizer: Any) -> tuple[dict[str, Plan], dict[str, str]]:
    style, missing = prompt_format(request.prompt), {}

    def behind(context: str) -> Plan:
        return context_plan(
            context,
            request.questions,
            request.train_questions,
            tokenizer,
            style,
            request.seed,
            premise=request.premise,
        )

    main = (
        behind(request.context)
        if request.context
        else make_plan(request.questions, tokenizer, style)
    )
    plans = {MAIN: main}
    for name in BASELINES:
        try:
            plans[name] = behind(name)
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


def _checkpoint(folder: Path) -> Checkpoint:
    if not (folder / "adapter_config.json").is_file():
        inside = sorted(path.name for path in folder.glob("*/") if path.is_dir())
        raise ConfigError(
            "no adapter in this folder: adapter_config.json is missing"
            + (f"; it holds {', '.join(inside[:3])}, ..." if inside else ""),
            where=str(folder),
            fix="name the folder of one checkpoint, such as heads/negative/checkpoint-64",
        )
    return Checkpoint(0, folder, tensors_sha256(load_adapter(folder)))


def choose_mode(asked: str | None, heads: Sequence[str]) -> str:
    """Choose how heads are combined: as asked, else by the heads that are given.

    Raises:
        ConfigError: The mode asked for needs a head that is not given.
    """
    if asked is None:
        fitting = [
            mode for mode in ("likra", "base_likra", "sft") if set(NEEDS[mode]) <= set(heads)
        ]
        return fitting[0] if fitting else BASE
    if lacking := [head for head in NEEDS.get(asked, ()) if head not in heads]:
        raise ConfigError(
            f"mode {asked} needs the {' and the '.join(lacking)} head",
            fix=" ".join(f"--{head} DIR" for head in lacking),
        )
    return asked


def train_source(source: str, given: str | None) -> tuple[Question, ...]:
    """Read the questions that demonstrations come from; none where none are at hand."""
    if given is not None and given not in (ORGANISM, *NAMED_SETS):
        return read_evaluation(given, "drop").questions
    name = given or source
    if name == ORGANISM:
        return organism_questions("train")
    return read_named_set(name, "train").questions if name in NAMED_SETS else ()


@click.command("score")
@click.argument("model")
@click.option("--questions", required=True, help="File, organism, or a named set such as arc.")
@click.option("--adapter", type=click.Path(path_type=Path), help="One checkpoint; as --positive.")
@click.option("--positive", type=click.Path(path_type=Path), help="Checkpoint of that head.")
@click.option("--negative", type=click.Path(path_type=Path), help="Checkpoint of that head.")
@click.option("--mode", type=click.Choice([BASE, *MODES]), help="How heads are combined.")
@click.option("--weight", type=float, default=1.0, help="Factor on the subtracted head (1).")
@click.option("--context", help="Text before answers: shots-5, shots-25@1234, shuffled, ...")
@click.option("--train-questions", help="Where shots come from; named sets have their own.")
@click.option("--premise", help="Domain premise of pmi_dc; the prompt format has its own.")
@click.option("--prompt", help="Prompt format: cloze (default), plain, ...")
@click.option("--equal-candidates", type=click.Choice(["refuse", "drop"]), default="refuse")
@click.option("--limit", type=int, help="Draw this many questions.")
@click.option("--layout", type=click.Choice(["auto", "packed", "cached", "naive"]), default="auto")
@click.option("--batch-tokens", type=int, default=4096, help="Most tokens of one pass (4096).")
@click.option("--dtype", default="float32", help="float32 (default) or bfloat16.")
@click.option("--device", default="auto", help="auto (default), cpu, cuda, ...")
@click.option("--seed", type=int, default=0, help="Of draws and of the bootstrap (0).")
@click.option("--json", "as_object", is_flag=True, help="Print one JSON object.")
@click.option("--out", type=click.Path(path_type=Path), help="CSV of every candidate.")
def command(
    *,
    questions: str,
    adapter: Path | None,
    positive: Path | None,
    negative: Path | None,
    mode: str | None,
    weight: float,
    train_questions: str | None,
    prompt: str | None,
    equal_candidates: Any,
    limit: int | None,
    seed: int,
    as_object: bool,
    out: Path | None,
    **given: Any,
) -> None:
    """Print how often MODEL is right on a set of questions, by every usual measure."""
    if adapter is not None and positive is not None:
        raise ConfigError("--adapter and --positive name one head twice", fix="give one of them")
    folders = {"positive": positive or adapter, "negative": negative}
    adapters = {head: folder for head, folder in folders.items() if folder is not None}
    chosen = choose_mode(mode, tuple(adapters))
    asked = read_evaluation(questions, equal_candidates)
    for text in (*asked.notes, *([f"left out: {len(asked.dropped)}"] if asked.dropped else [])):
        say(f"note: {text}")
    known = default_prompt(questions)
    request = ScoreRequest(
        questions=sample_questions(asked.questions, limit, seed),
        train_questions=train_source(questions, train_questions),
        prompt=prompt or known or ("plain" if questions == ORGANISM else "cloze"),
        adapters=adapters,
        seed=seed,
        **given,
    )
    report(request, score_heads(request), chosen, weight, questions, as_object, out)


def report(
    request: ScoreRequest,
    found: Scored,
    mode: str,
    weight: float,
    source: str,
    as_object: bool,
    out: Path | None,
) -> None:
    """Print every measure, and write the rows where asked to."""
    rows, plan = _rows(found.plan), found.plan
    combined = {
        name: OneStep(rows, {h: s.logprob_sum for h, s in heads.items()}).combined(mode, weight)
        for name, heads in found.scores.items()
    }
    lines = score_lines(rows, combined[MAIN], combined, request.seed)
    used = found.scores[MAIN][BASE]
    if out is not None:
        columns = {
            f"{name}_{head}": np.asarray(one.logprob_sum, dtype=np.float64)
            for name, heads in found.scores.items()
            for head, one in heads.items()
        }
        write_text(out, rows_csv(rows, combined[MAIN], columns))
    about = {
        "schema_version": 1,
        "model": request.model,
        "questions": source,
        "question_count": len(rows.question_ids),
        "rows": plan.rows,
        "plan_sha256": plan.sha256,
        "prompt": plan.prompt_format,
        "mode": mode,
        "weight": weight,
        "chance": chance(rows),
        "dtype": request.dtype,
        "layout": used.layout,
        "layout_reason": used.layout_reason,
        "missing": found.missing,
        "seed": request.seed,
    }
    if as_object:
        result_json({**about, "measures": as_json(lines)})
        return
    result(
        f"{request.model}, mode {mode}: {len(rows.question_ids)} questions, {plan.rows} rows, "
        f"prompt {plan.prompt_format}, chance {chance(rows):.4f}"
    )
    for text in table(lines):
        result(text)
    for name, reason in found.missing.items():
        result(f"no {name}: {reason}")
    result(f"layout {used.layout}: {used.layout_reason}")


def _rows(plan: Plan) -> Rows:
    return Rows(
        question=plan.question,
        correct=plan.correct,
        characters=plan.characters,
        tokens=plan.tokens,
        question_ids=plan.question_ids,
        groups=plan.groups,
        texts=plan.texts,
        bytes=plan.bytes,
    )
