"""One way of decoding at one step: what it is called, decided by, and stored as."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from critical_phase.analysis.interventions.generation import CATEGORIES, FreeAnswers
from critical_phase.atomic import write_json, write_text
from critical_phase.cli.generate_inputs import GenerateSettings, Ready
from critical_phase.errors import StoreError
from critical_phase.probes.generation import (
    BASE,
    MERGED,
    NEGATIVE,
    POSITIVE,
    Contrast,
    Decoding,
    Generated,
)
from critical_phase.probes.plan_csv import hidden

FOLDER = "generation"
MASKED = "base_masked"
"""The base behind the mask of plausibility alone: what a contrast does beyond it counts."""
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Cell:
    """One way of decoding."""

    mode: str
    step: int | None
    """Of the heads; None where there is none."""
    alpha: float | None = None

    @property
    def name(self) -> str:
        """What it is called among those of one step."""
        return self.mode if self.alpha is None else f"{self.mode}-a{self.alpha:g}"

    @property
    def models(self) -> tuple[str, ...]:
        """Models that run side by side."""
        if self.mode in ("contrast", MASKED):
            return BASE, POSITIVE, NEGATIVE
        return (self.mode,)


def cells_of(ready: Ready, settings: GenerateSettings, step: int) -> tuple[Cell, ...]:
    """List the ways of decoding that one step asks for, what they are held against first."""
    made = [Cell(BASE, None)]
    made += [Cell(POSITIVE, step)] if POSITIVE in ready.heads else []
    made += [Cell(NEGATIVE, step)] if NEGATIVE in settings.mode else []
    if "contrast" in settings.mode and mask_matters(settings):
        made.append(Cell(MASKED, step))
    for mode in ("contrast", MERGED):
        if mode in settings.mode:
            made += [Cell(mode, step, alpha) for alpha in settings.alpha]
    return tuple(made)


def mask_matters(settings: GenerateSettings) -> bool:
    """Tell whether the mask alone changes the base: the likeliest token always passes its own."""
    return settings.plausibility > 0 and (settings.sample or settings.reference != BASE)


def decoding_of(cell: Cell, settings: GenerateSettings) -> Decoding:
    """Say how the tokens of a cell are chosen."""
    contrast = None
    if len(cell.models) > 1:
        contrast = Contrast(cell.alpha or 0.0, settings.plausibility, settings.reference)
    return Decoding(
        contrast,
        settings.new_tokens,
        settings.temperature if settings.sample else None,
        settings.seed if settings.sample else 0,
    )


def key_of(cell: Cell, ready: Ready, settings: GenerateSettings) -> dict[str, Any]:
    """Gather everything that decides the answers of a cell."""
    heads = [m for m in (POSITIVE, NEGATIVE) if m in cell.models or cell.mode == MERGED]
    asked = json.dumps([[one.prompt, one.stream] for one in ready.asked])
    questions = json.dumps([asdict(item) for item in ready.questions], sort_keys=True)
    return {
        "format": _FORMAT,
        "mode": cell.mode,
        "alpha": cell.alpha,
        "decoding": asdict(decoding_of(cell, settings)),
        "rank": settings.rank if cell.mode == MERGED else None,
        "heads": {h: ready.heads[h][cell.step].sha256 for h in heads if cell.step is not None},
        "base_sha256": ready.base_sha256,
        "dtype": str(ready.model.dtype).removeprefix("torch."),
        "prompts_sha256": _hash(asked),
        "questions_sha256": _hash(questions),
        "end_tokens": sorted(ready.ends.tokens),
        "stop_texts": list(ready.ends.texts),
        "rule": ready.rule.about,
        "text": not settings.no_text,
    }


def files_of(folder: Path, cell: Cell, key: Mapping[str, Any]) -> tuple[Path, Path]:
    """Name the lines and the description of a cell; other settings have other names."""
    step = "" if cell.step is None else f"-{cell.step}"
    strength = "" if cell.alpha is None else f"-a{cell.alpha:g}"
    stem = f"{cell.mode}{step}{strength}-{_hash(_text(key))[:8]}"
    return folder / f"{stem}.jsonl", folder / f"{stem}.json"


def write_cell(
    folder: Path,
    cell: Cell,
    key: Mapping[str, Any],
    ready: Ready,
    made: Generated,
    beside: Mapping[str, Any],
) -> None:
    """Write the answers, then the file whose presence says that they are all there."""
    lines, about = files_of(folder, cell, key)
    text = "".join(_line(ready, number, made, key) for number in range(len(made.answers)))
    write_text(lines, text)
    write_json(
        about,
        {
            "schema_version": 1,
            "name": cell.name,
            "step": cell.step,
            "key": key,
            "key_sha256": _hash(_text(key)),
            "answers": len(made.answers),
            "answers_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "layout": made.layout,
            "layout_reason": made.layout_reason,
            "cuts": made.cuts,
            **beside,
        },
    )


def read_cell(
    folder: Path, cell: Cell, key: Mapping[str, Any]
) -> tuple[FreeAnswers, dict[str, Any]] | None:
    """Read a finished cell; None where there is none yet.

    Raises:
        StoreError: The answers are damaged, or not those that were described.
    """
    lines, about = files_of(folder, cell, key)
    if not (lines.is_file() and about.is_file()):
        return None
    try:
        told = json.loads(about.read_text(encoding="utf-8"))
        text = lines.read_bytes()
        if told["key"] != json.loads(_text(key)):
            raise ValueError("it was made in another way")
        if hashlib.sha256(text).hexdigest() != told["answers_sha256"]:
            raise ValueError("its answers are not those that were described")
        return _answers(cell, [json.loads(line) for line in text.splitlines()]), told
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"cannot read stored answers: {error}", where=str(about), fix="give --overwrite"
        ) from error


def _line(ready: Ready, number: int, made: Generated, key: Mapping[str, Any]) -> str:
    answer, (question, draw) = made.answers[number], ready.asked[number].stream
    item = ready.questions[question]
    named = ready.rule.named(item, answer.text)
    row = {
        "question": item.id,
        "draw": draw,
        "category": named.category,
        "candidate": named.candidate,
        "tokens": len(answer.ids),
        "ended": answer.ended,
        "logprob": {name: float(f"{value:.7g}") for name, value in answer.logprob.items()},
        "text": answer.text if key["text"] else hidden(answer.text),
    }
    return json.dumps(row, sort_keys=True) + "\n"


def _answers(cell: Cell, rows: list[dict[str, Any]]) -> FreeAnswers:
    draws = 1 + max(row["draw"] for row in rows)

    def table(values: list[Any]) -> np.ndarray:
        return np.array(values).reshape(-1, draws)

    return FreeAnswers(
        cell.name,
        cell.mode,
        cell.alpha,
        table([CATEGORIES.index(row["category"]) for row in rows]),
        table([row["tokens"] for row in rows]),
        table([row["ended"] == "limit" for row in rows]),
    )


def _text(key: Mapping[str, Any]) -> str:
    return json.dumps(key, sort_keys=True)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
