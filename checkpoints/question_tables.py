"""Questions in tables, CSV and Parquet: the fields of a JSON line are columns.

`candidates` is one column (in CSV a JSON list in the cell, in Parquet a list), or the
columns `candidate_0`, `candidate_1`, ...; an empty cell there is a candidate that is absent.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from critical_phase.atomic import new_file
from critical_phase.checkpoints.questions import FIELDS, Question, Row
from critical_phase.errors import QuestionError

COLUMNS = (*FIELDS, "group")
NUMBERED = "candidate_"
BATCH_ROWS = 1024


def read_csv(path: Path) -> Iterator[Row]:
    """Yield the rows of a CSV file with a header; rows count from 1 below the header.

    Raises:
        QuestionError: A row has another number of cells, or the file is not CSV.
    """
    # The mark that spreadsheets put before UTF-8 is not part of the first column's name.
    text = path.read_bytes().decode("utf-8-sig")
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    number = 0
    try:
        header = next(lines, [])
        refuse_columns(header, str(path))
        for number, cells in enumerate(filter(None, lines), start=1):
            where = f"{path}, row {number}"
            if len(cells) != len(header):
                raise QuestionError(
                    f"expected {len(header)} cells, found {len(cells)}",
                    where=where,
                    fix="put quotes around texts with commas or line breaks",
                )
            values: dict[str, Any] = dict(zip(header, cells, strict=True))
            yield f"row {number}", record_of(_typed(values, where), where)
    except csv.Error as error:
        raise QuestionError(f"not CSV: {error}", where=f"{path}, row {number + 1}") from error


def read_parquet(path: Path) -> Iterator[Row]:
    """Yield the rows of a Parquet file, counted from 1.

    Raises:
        QuestionError: The file is not Parquet.
    """
    # Here, not above: nothing else in this room needs the library.
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with path.open("rb") as stream:
            table = parquet.ParquetFile(stream)
            names = [n for n in table.schema_arrow.names if n in COLUMNS or _is_numbered(n)]
            refuse_columns(names, str(path))
            for batch in table.iter_batches(batch_size=BATCH_ROWS, columns=names):
                for values in batch.to_pylist():
                    number += 1
                    yield f"row {number}", record_of(values, f"{path}, row {number}")
    except pyarrow.ArrowException as error:
        reason = str(error).split("\n")[0]
        raise QuestionError(f"not a Parquet file: {reason}", where=str(path)) from error


def csv_text(questions: Sequence[Question]) -> str:
    """Write questions as CSV with one `candidates` column."""
    text = io.StringIO(newline="")
    # Every cell quoted: a lone "\r" or a leading space survives any reader.
    lines = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    lines.writerow(COLUMNS)
    for item in questions:
        candidates = json.dumps(item.candidates, ensure_ascii=False)
        lines.writerow((item.id, item.question, candidates, item.answer, item.group))
    return text.getvalue()


def write_parquet(path: Path, questions: Sequence[Question]) -> None:
    """Write questions as Parquet with a list column of candidates, at once."""
    import pyarrow
    from pyarrow import parquet

    text = pyarrow.string()
    types = (text, text, pyarrow.list_(text), pyarrow.int64(), text)
    schema = pyarrow.schema(list(zip(COLUMNS, types, strict=True)))
    table = pyarrow.Table.from_pylist([asdict(item) for item in questions], schema=schema)
    with new_file(path) as temporary:
        parquet.write_table(table, temporary)


def refuse_columns(names: Sequence[str], source: str) -> None:
    """Refuse a table whose columns could be read in two ways.

    Raises:
        QuestionError: A column is there twice, or candidates are given twice.
    """
    twice = [name for index, name in enumerate(names) if name in names[:index]]
    if twice:
        raise QuestionError(f"column {twice[0]!r} is there twice", where=source)
    numbered = [name for name in names if _is_numbered(name)]
    if numbered and "candidates" in names:
        raise QuestionError(
            f"candidates are given twice: as column 'candidates' and as {numbered[0]!r}",
            where=source,
            fix="keep one of the two",
        )


def record_of(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Join numbered columns of candidates to one list; other columns stay.

    Raises:
        QuestionError: A candidate stands after an absent one, so indices would shift.
    """
    names = sorted((n for n in values if _is_numbered(n)), key=lambda n: int(n[len(NUMBERED) :]))
    if not names:
        return dict(values)
    by_index = {int(name[len(NUMBERED) :]): values[name] for name in names}
    filled = [index for index, text in by_index.items() if text not in (None, "")]
    if filled != list(range(len(filled))):
        gap = next(index for index in range(len(filled)) if index not in filled)
        raise QuestionError(
            f"field {NUMBERED}{gap} is empty, but {NUMBERED}{filled[-1]} is not",
            where=where,
            fix="number the candidates from 0 without gaps",
        )
    joined = {name: value for name, value in values.items() if name not in names}
    return {**joined, "candidates": [by_index[index] for index in filled]}


def _is_numbered(name: str) -> bool:
    digits = name.removeprefix(NUMBERED)
    return name.startswith(NUMBERED) and digits.isascii() and digits.isdigit()


def _typed(values: dict[str, Any], where: str) -> dict[str, Any]:
    """Turn the cells that are not text into what they stand for."""
    if "candidates" in values:
        try:
            values["candidates"] = json.loads(values["candidates"])
        except json.JSONDecodeError as error:
            raise QuestionError(
                f"field candidates: not a JSON list: {values['candidates']!r}",
                where=where,
                fix='write ["first", "second"], or one column per candidate: candidate_0, ...',
            ) from error
    answer = values.get("answer", "").strip()
    if answer.isascii() and answer.isdigit():
        values["answer"] = int(answer)
    return values
