"""`probe score`: accuracy of a model, or of two heads on it, on a set of questions."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from critical_phase.analysis import Rows
from critical_phase.analysis.inputs import chance
from critical_phase.atomic import write_text
from critical_phase.checkpoints import ORGANISM
from critical_phase.cli.console import result, result_json, say
from critical_phase.cli.plan_rows import rows_of_plan
from critical_phase.cli.question_sets import (
    default_prompt,
    demonstration_questions,
    read_evaluation,
    sample_questions,
)
from critical_phase.cli.score_adapters import (
    as_scored,
    base_and_adapter,
    choose_mode,
    roles,
)
from critical_phase.cli.score_heads import MAIN, Scored, ScoreRequest, score_heads
from critical_phase.cli.score_table import (
    BASE,
    OneStep,
    as_json,
    rows_csv,
    score_lines,
    table,
)


def score_command(
    *,
    model: str,
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
    model, own = base_and_adapter(model, (adapter, positive, negative))
    if own is not None:
        say(f"note: {own} is an adapter; it is scored on its base, {model}")
    adapters = roles(own or adapter, positive, negative, mode)
    chosen = choose_mode(mode, tuple(adapters))
    asked = read_evaluation(questions, equal_candidates)
    for text in (*asked.notes, *([f"left out: {len(asked.dropped)}"] if asked.dropped else [])):
        say(f"note: {text}")
    known = default_prompt(questions)
    request = ScoreRequest(
        model=model,
        questions=sample_questions(asked.questions, limit, seed),
        train_questions=demonstration_questions(questions, train_questions),
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
    rows = rows_of_plan(found.plan)
    combined = {
        name: OneStep(rows, {h: s.logprob_sum for h, s in heads.items()}).combined(mode, weight)
        for name, heads in found.scores.items()
    }
    lines = score_lines(rows, combined[MAIN], combined, request.seed)
    if out is not None:
        _write_rows(out, rows, combined[MAIN], found)
    if as_object:
        about = _about(request, found, rows, source) | {"mode": mode, "weight": weight}
        result_json({**about, "measures": as_json(lines)})
        return
    result(
        f"{request.model}, mode {mode}: {len(rows.question_ids)} questions, "
        f"{found.plan.rows} rows, prompt {found.plan.prompt_format}, chance {chance(rows):.4f}"
    )
    _print_lines(found, table(lines))


def _write_rows(out: Path, rows: Rows, main: np.ndarray, found: Scored) -> None:
    columns = {
        f"{name}_{head}": np.asarray(one.logprob_sum, dtype=np.float64)
        for name, heads in found.scores.items()
        for head, one in heads.items()
    }
    write_text(out, rows_csv(rows, main, columns))


def _about(request: ScoreRequest, found: Scored, rows: Rows, source: str) -> dict[str, Any]:
    used = found.scores[MAIN][BASE]
    return {
        "schema_version": 1,
        "model": request.model,
        "questions": source,
        "question_count": len(rows.question_ids),
        "rows": found.plan.rows,
        "plan_sha256": found.plan.sha256,
        "prompt": found.plan.prompt_format,
        "adapters": as_scored(found.adapters),
        "too_long": list(found.left_out),
        "chance": chance(rows),
        "dtype": request.dtype,
        "layout": used.layout,
        "layout_reason": used.layout_reason,
        "missing": found.missing,
        "seed": request.seed,
    }


def _print_lines(found: Scored, lines: Iterable[str]) -> None:
    for role, item in as_scored(found.adapters).items():
        result(f"{role}: {item['path']} (tensors {item['sha8']})")
    if found.left_out:
        result(f"left out, too long: {len(found.left_out)}: {', '.join(found.left_out)}")
    for text in lines:
        result(text)
    for name, reason in found.missing.items():
        result(f"no {name}: {reason}")
    result(f"layout {found.scores[MAIN][BASE].layout_reason}")
