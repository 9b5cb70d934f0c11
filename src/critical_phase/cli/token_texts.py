"""tokens.jsonl: the tokens of every row as people read them, for the token view."""

import json
from pathlib import Path
from typing import Any

from critical_phase.atomic import write_text
from critical_phase.errors import StoreError
from critical_phase.probes import Plan

# How tokenizers spell a space and a line break inside a token.
SPELLINGS = {"\u2581": " ", "\u0120": " ", "\u010a": "\n"}


def write_token_texts(path: Path, plan: Plan, tokenizer: Any) -> None:
    """Write one JSON list per row: the begin token, the question, the candidate."""
    lines = []
    for row, answer in enumerate(plan.answers):
        ids = (*plan.prompts[int(plan.question[row])], *answer)
        lines.append(json.dumps([_readable(t) for t in tokenizer.convert_ids_to_tokens(list(ids))]))
    write_text(path, "".join(line + "\n" for line in lines))


def read_token_texts(path: Path) -> list[list[str]]:
    """Read the tokens of every row; an empty list where they were not written.

    Raises:
        StoreError: The file is damaged.
    """
    if not path.is_file():
        return []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        return [[str(token) for token in json.loads(line)] for line in lines if line]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, TypeError) as error:
        raise StoreError(
            f"cannot read the tokens: {error}",
            where=str(path),
            fix="delete the file and repeat probe collect",
        ) from error


def _readable(token: str | None) -> str:
    text = token or ""
    for spelling, character in SPELLINGS.items():
        text = text.replace(spelling, character)
    return text
