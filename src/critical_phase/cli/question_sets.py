"""Which questions a run trains on and is evaluated on, and what is odd about them."""

from pathlib import Path

from critical_phase.checkpoints import ORGANISM, QuestionFile, read_question_file
from critical_phase.checkpoints.organism_set import organism_questions, organism_unrelated_texts
from critical_phase.cli.settings import TrainSettings
from critical_phase.errors import InputError, QuestionError


def read_question_sets(settings: TrainSettings) -> tuple[QuestionFile, QuestionFile]:
    """Read training and evaluation questions and refuse a leak between them."""
    training = _read_set(settings.questions, "train", settings)
    evaluation = _read_set(settings.eval_questions or "", "test", settings)
    seen = {(_plain(q.question), _plain(q.right)) for q in training.questions}
    leaked = [q.id for q in evaluation.questions if (_plain(q.question), _plain(q.right)) in seen]
    if leaked:
        raise QuestionError(
            f"{len(leaked)} evaluation questions are also trained on, first {leaked[0]!r}",
            fix="give --eval-questions a file that shares no question with --questions",
        )
    return training, evaluation


def question_warnings(training: QuestionFile, evaluation: QuestionFile, shown: int) -> list[str]:
    """Say what about the questions a reader of the results should know."""
    warnings = [
        f"{len(part.dropped)} {name} questions with equal candidates were left out"
        for name, part in (("training", training), ("evaluation", evaluation))
        if part.dropped
    ]
    stems = {_plain(q.question) for q in training.questions if q.question}
    shared = sum(_plain(q.question) in stems for q in evaluation.questions)
    if shared:
        warnings.append(f"{shared} evaluation questions have the text of a training question")
    if shown > len(training.questions):
        passes = shown / len(training.questions)
        warnings.append(f"training passes over its questions {passes:.1f} times: answers repeat")
    return warnings


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


def _plain(text: str) -> str:
    """Reduce a text to what a reader would call the same."""
    return " ".join(text.casefold().split())


def _read_set(source: str, split: str, settings: TrainSettings) -> QuestionFile:
    if source == ORGANISM:
        return QuestionFile(organism_questions(split), ())
    return read_question_file(Path(source), equal_candidates=settings.equal_candidates)
