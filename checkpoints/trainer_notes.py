"""What a trainer noted beside its checkpoints: batch size, and the loss at saved steps."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from critical_phase.checkpoints.folders import step_of
from critical_phase.checkpoints.series import IDENTITY, adapter_identity
from critical_phase.checkpoints.training_log import LOG, read_log

TRAINER_STATE = "trainer_state.json"


def noted_losses(folder: Path) -> dict[int, float]:
    """Return the training loss by step, from our log or else from trainer_state.json.

    Raises:
        CheckpointError: Our log is malformed.
    """
    if (folder / LOG).is_file():
        return {row.step: row.loss for row in read_log(folder / LOG)}
    history = _trainer_state(folder).get("log_history", [])
    entries = [e for e in history if isinstance(e, dict)] if isinstance(history, list) else []
    return {
        int(entry["step"]): float(entry["loss"])
        for entry in entries
        if isinstance(entry.get("step"), int) and isinstance(entry.get("loss"), int | float)
    }


def noted_batch_size(folder: Path) -> tuple[int | None, str]:
    """Return the answers seen per optimizer step, if noted, and a sentence about a guess."""
    for path in _newest_first(folder):
        note = (adapter_identity(path) if (path / IDENTITY).is_file() else None) or {}
        step, examples = note.get("step"), note.get("examples")
        if isinstance(step, int) and isinstance(examples, int) and step > 0 and examples > 0:
            return examples // step, ""
    size = _trainer_state(folder).get("train_batch_size")
    if isinstance(size, int) and size > 0:
        return size, (
            f"batch size {size} is what trainer_state.json notes for one process: gradient "
            "accumulation and further processes are not in it; --batch-size overrules it"
        )
    return None, ""


def _trainer_state(folder: Path) -> dict[str, Any]:
    """Read the newest trainer_state.json; empty where there is none that can be read."""
    for path in _newest_first(folder):
        try:
            state = json.loads((path / TRAINER_STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(state, dict):
            return state
    return {}


def _newest_first(folder: Path) -> Iterator[Path]:
    steps = {p: step for p in folder.iterdir() if (step := step_of(p.name)) is not None}
    yield from sorted(steps, key=lambda path: steps[path], reverse=True)
