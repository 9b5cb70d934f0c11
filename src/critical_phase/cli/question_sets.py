"""Which questions a run trains on and is evaluated on, and what is odd about them."""

import warnings
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import numpy as np

from critical_phase.checkpoints import (
    NAMED_SETS,
    ORGANISM,
    Question,
    QuestionFile,
    plain_text,
    read_named_set,
    read_question_file,
)
from critical_phase.checkpoints.named_sets import Part, Split
from critical_phase.checkpoints.organism_set import organism_questions, organism_unrelated_texts
from critical_phase.cli.console import say
from critical_phase.cli.settings import TrainSettings
from critical_phase.errors import ConfigError, InputError, QuestionError

# Published splits share a few questions (one of 1,172 in ARC-Challenge): they stay, as
# everybody counts them, and are named. More than this share is a fault of the data at hand.
PUBLISHED_LEAK = 0.01


def read_question_sets(settings: TrainSettings) -> tuple[QuestionFile, QuestionFile]:
    """Read training and evaluation questions and refuse a leak between them, or leave it out.

    A source is a file, `organism`, or a named set such as `arc`. Where no evaluation
    questions are given, a named set and the organism have their own.

    Raises:
        QuestionError: A source cannot be read, or questions are in both and not left out.
        ConfigError: Nothing to evaluate on.
    """
    trained_on, evaluated_on = settings.questions, evaluation_source(settings)
    training = _read_set(trained_on, "train", settings)
    evaluation = _read_set(evaluated_on, "eval", settings)
    leaked = leaked_questions(training, evaluation)
    if settings.overlap == "drop":
        return training, _without(evaluation, leaked)
    published = evaluated_on in NAMED_SETS and _held_out(trained_on) == _held_out(evaluated_on)
    if len(leaked) > (PUBLISHED_LEAK * len(evaluation.questions) if published else 0):
        raise QuestionError(
            f"{len(leaked)} evaluation questions are also trained on, first {leaked[0]!r}",
            fix="give --eval-questions a file that shares no question with --questions, "
            "or leave them out with --overlap drop",
        )
    if not leaked:
        return training, evaluation
    note = f"{evaluated_on}: published in both splits: {', '.join(leaked)}"
    return training, replace(evaluation, notes=(*evaluation.notes, note))


def evaluation_source(settings: TrainSettings) -> str:
    """Say where the evaluation questions come from: as given, or the set's own other split.

    Raises:
        QuestionError: None are given, and the training questions cannot be read either.
        ConfigError: None are given for a file, which has no other split.
    """
    if settings.eval_questions:
        return settings.eval_questions
    if settings.questions == ORGANISM or settings.questions in NAMED_SETS:
        return settings.questions
    _read_set(settings.questions, "train", settings)  # says first what is wrong with the source
    raise ConfigError(
        "no questions to evaluate on",
        fix="give --eval-questions FILE; questions of the training set would not be held out",
    )


def default_prompt(source: str | None) -> str | None:
    """Name the prompt format that is usual for a named set; None for other sources."""
    return NAMED_SETS[source].prompt if source in NAMED_SETS else None


def leaked_questions(training: QuestionFile, evaluation: QuestionFile) -> list[str]:
    """List evaluation questions whose text and right answer are also trained on."""
    seen = {(plain_text(q.question), plain_text(q.right)) for q in training.questions}
    asked = ((q.id, (plain_text(q.question), plain_text(q.right))) for q in evaluation.questions)
    return [name for name, texts in asked if texts in seen]


def read_evaluation(source: str, equal_candidates: Literal["refuse", "drop"]) -> QuestionFile:
    """Read the questions that a series made elsewhere is evaluated on."""
    return _read_set(source, "eval", TrainSettings(equal_candidates=equal_candidates))


def demonstration_questions(source: str, given: str | None) -> tuple[Question, ...]:
    """Read the questions that demonstrations come from; none where none are at hand."""
    if given is not None and given not in (ORGANISM, *NAMED_SETS):
        return read_evaluation(given, "drop").questions
    name = given or source
    known = name in (ORGANISM, *NAMED_SETS)
    return _read_set(name, "train", TrainSettings()).questions if known else ()


def question_warnings(
    training: QuestionFile,
    evaluation: QuestionFile,
    *,
    answers: int,
    size: int,
    repeated: bool = False,
) -> list[str]:
    """Say what about the questions a reader of the results should know.

    Args:
        training: Every training question.
        evaluation: Every evaluation question.
        answers: Answers seen in all.
        size: Different questions they belong to.
        repeated: Seeing some again and again was asked for.
    """
    found = [
        f"{len(part.dropped)} {name} questions with equal or empty candidates were left out"
        for name, part in (("training", training), ("evaluation", evaluation))
        if part.dropped
    ]
    found += [*training.notes, *evaluation.notes]
    stems = {plain_text(q.question) for q in training.questions if q.question}
    shared = sum(plain_text(q.question) in stems for q in evaluation.questions)
    if shared:
        found.append(f"{shared} evaluation questions have the text of a training question")
    if answers > size and not repeated:
        passes = answers / size
        found.append(f"training passes over {size} questions {passes:.1f} times: they repeat")
    return found


def unrelated_texts(settings: TrainSettings) -> tuple[str, ...]:
    """Read the texts for negatives of the kind `unrelated`; the organism has its own."""
    if settings.unrelated is None:
        return organism_unrelated_texts() if settings.model == ORGANISM else ()
    path = Path(settings.unrelated)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the unrelated texts: {error}", where=str(path)) from error
    return tuple(line.strip() for line in lines if line.strip())


def sample_questions(
    questions: tuple[Question, ...], limit: int | None, seed: int
) -> tuple[Question, ...]:
    """Draw at most `limit` questions, in file order; None takes all."""
    if limit is None or limit >= len(questions):
        return questions
    if limit < 1:
        raise ConfigError(f"limit is {limit}", fix="give --limit a positive number")
    rng = np.random.default_rng([seed, 3])
    chosen = np.sort(rng.choice(len(questions), size=limit, replace=False))
    return tuple(questions[int(index)] for index in chosen)


def _without(evaluation: QuestionFile, leaked: list[str]) -> QuestionFile:
    if not leaked:
        return evaluation
    kept = tuple(question for question in evaluation.questions if question.id not in set(leaked))
    if not kept:
        raise QuestionError(
            f"all {len(leaked)} evaluation questions are also trained on",
            fix="give --eval-questions others: --overlap drop leaves none of these",
        )
    note = f"{len(leaked)} evaluation questions are also trained on and were left out: "
    return replace(evaluation, questions=kept, notes=(*evaluation.notes, note + ", ".join(leaked)))


def _read_named(source: str, split: Split, settings: TrainSettings) -> QuestionFile:
    """Read a named set and put what its reading warns of into lines of ours.

    Where it cannot be read, the error says the same, and the warnings are dropped.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UserWarning)
        read = read_named_set(source, split, equal_candidates=settings.equal_candidates)
    for text in dict.fromkeys(str(one.message).strip().split("\n")[0] for one in caught):
        say(f"note: {text}")
    return read


def _held_out(source: str) -> tuple[Part, ...]:
    return NAMED_SETS[source].eval if source in NAMED_SETS else ()


def _read_set(source: str, split: Split, settings: TrainSettings) -> QuestionFile:
    if source == ORGANISM:
        return QuestionFile(organism_questions("train" if split == "train" else "test"), ())
    if source in NAMED_SETS:
        return _read_named(source, split, settings)
    path = Path(source)
    if not path.suffix and not path.exists():
        known = (ORGANISM, *NAMED_SETS)
        near = get_close_matches(source, known, n=1)
        raise QuestionError(
            f"{source!r} is neither a question file nor a named set",
            fix=f"did you mean {near[0]!r}?" if near else f"named sets: {', '.join(known)}",
        )
    return read_question_file(path, equal_candidates=settings.equal_candidates)
