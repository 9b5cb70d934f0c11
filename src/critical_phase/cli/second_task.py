"""Another task for `probe effects --second`: questions that no head was trained on."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from critical_phase.checkpoints import Question, QuestionFile, prompt_format, read_questions
from critical_phase.cli.collect import Prepared
from critical_phase.cli.contexts import FOLDER, collect_plan
from critical_phase.cli.question_sets import (
    default_prompt,
    leaked_questions,
    read_evaluation,
    sample_questions,
)
from critical_phase.cli.run_folder import RunFolder, read_record, update_record
from critical_phase.cli.settings import CollectSettings
from critical_phase.cli.stored_contexts import SECOND
from critical_phase.errors import QuestionError
from critical_phase.probes import CollectReport, check_fits, make_plan


def second_task(
    ready: Prepared,
    source: str,
    settings: CollectSettings,
    *,
    equal_candidates: Literal["refuse", "drop"],
) -> Prepared:
    """Put the questions of another task in the place of the run's own.

    A named set is written in its usual prompt format, other questions in the run's.

    Args:
        ready: The run with its model.
        source: File, named set, or `organism`.
        settings: How many questions are drawn, with which seed.
        equal_candidates: What becomes of questions that list one text twice.

    Raises:
        QuestionError: The questions cannot be read, the run was trained on some, or their ids
            are those of its own.
        ConfigError: A question does not fit the model.
    """
    found = read_evaluation(source, equal_candidates)
    questions = sample_questions(found.questions, settings.limit, settings.seed)
    warning = _check_leaks(ready.run, questions)
    _check_ids(read_questions(ready.run.questions("eval")), questions)
    prompt = default_prompt(source) or ready.record["recipe"]["prompt"]
    plan = make_plan(questions, ready.tokenizer, prompt_format(prompt))
    config = ready.model.config.get_text_config()
    check_fits(plan, getattr(config, "max_position_embeddings", None))
    left = [f"second task: {len(found.dropped)} questions left out"] if found.dropped else []
    warnings = (*ready.warnings, *found.notes, *left, *([warning] if warning else []))
    return replace(ready, questions=questions, plan=plan, warnings=warnings)


def score_second(
    ready: Prepared,
    source: str,
    settings: CollectSettings,
    *,
    command: str,
    overwrite: bool,
    stop: Callable[[], bool],
) -> CollectReport:
    """Score the other task as a context of the run and note how it was made."""
    report = collect_plan(SECOND, ready.plan, ready, settings, overwrite, stop)
    known = read_record(ready.run).get(FOLDER, {})
    note = {
        **known.get(SECOND, {}),
        "questions": Path(source).name if Path(source).exists() else source,
        "rows": ready.plan.rows,
        "plan_sha256": ready.plan.sha256,
        "prompt": ready.plan.prompt_format,
        "seed": settings.seed,
        "warnings": list(ready.warnings),
    }
    update_record(ready.run, command, **{FOLDER: {**known, SECOND: note}})
    if report.remaining:
        raise KeyboardInterrupt
    return report


def _check_ids(own: Sequence[Question], questions: Sequence[Question]) -> None:
    """Refuse ids of the run's own questions: scores are told apart by them."""
    known = {question.id for question in own}
    shared = [question.id for question in questions if question.id in known]
    if shared:
        raise QuestionError(
            f"{len(shared)} of {len(questions)} questions of the second task have the id of a "
            f"question of the run, first {shared[0]!r}",
            fix="give --second other questions, or other ids where they only happen to be equal",
        )


def _check_leaks(run: RunFolder, questions: Sequence[Question]) -> str:
    """Refuse what the run was trained on; return a warning where that is not known."""
    path = run.questions("train")
    if not path.is_file():
        return "second task: what the heads were trained on is not known, leaks were not checked"
    training = QuestionFile(read_questions(path), ())
    leaked = leaked_questions(training, QuestionFile(tuple(questions), ()))
    if leaked:
        raise QuestionError(
            f"{len(leaked)} of {len(questions)} questions of the second task are trained on, "
            f"first {leaked[0]!r}",
            fix="give --second questions that the heads have not seen",
        )
    return ""
