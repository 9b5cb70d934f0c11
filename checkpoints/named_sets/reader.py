"""Read a named set: rows of the hub become questions under the checks of every file."""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from critical_phase.checkpoints.named_sets.hub import hub_rows
from critical_phase.checkpoints.named_sets.named_set import NamedSet, Part, Split
from critical_phase.checkpoints.questions import Equal, QuestionFile, Row, check_rows
from critical_phase.errors import QuestionError


def read_set(
    known: NamedSet, split: Split, *, equal_candidates: Equal = "refuse", home: Path | None = None
) -> QuestionFile:
    """Read one split of a named set from the hub or its cache.

    Args:
        known: The set.
        split: `train`, or `eval`, which is held out from it.
        equal_candidates: As for files: refuse questions that list one text twice, or leave
            them out and name them.
        home: Folder with the caches `hub` and `datasets`; None means `HF_HOME`.

    Raises:
        QuestionError: The set has no such split, it is not at hand, or a row is malformed.
    """
    parts = known.parts(split)
    if not parts:
        raise QuestionError(
            f"{known.name} has no {'training' if split == 'train' else 'evaluation'} split",
            fix=f"train on another set or file, with --eval-questions {known.name}; "
            "or split it yourself into two question files",
        )
    rows = (row for part in parts for row in _rows(known, part, home))
    read = check_rows(rows, known.name, equal_candidates=equal_candidates)
    return QuestionFile(read.questions, read.dropped, _notes(known, split, read))


def unknown_set(name: str, known: tuple[str, ...]) -> QuestionError:
    """Say that no set has this name, and which one is nearest."""
    near = get_close_matches(name, known, n=1)
    return QuestionError(
        f"no question set is named {name!r}",
        fix=f"did you mean {near[0]!r}?" if near else f"known sets: {', '.join(known)}",
    )


def _rows(known: NamedSet, part: Part, home: Path | None) -> Iterator[Row]:
    for number, row in enumerate(hub_rows(part, home), start=1):
        try:
            if part.keep is None or part.keep(row):
                yield f"{part} row {number}", known.convert(row, part, number - 1)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            what = f"no column {error}" if isinstance(error, KeyError) else str(error)
            raise QuestionError(
                f"not as {known.name} is published: {what}; columns: {', '.join(row)}",
                where=f"{known.name}, {part} row {number}",
            ) from error


def _notes(known: NamedSet, split: Split, read: QuestionFile) -> tuple[str, ...]:
    found, published = len(read.questions) + len(read.dropped), known.published.get(split)
    if published is None or found == published:
        return ()
    return (f"{known.name}: {found} questions in its {split} split, {published} are published",)
