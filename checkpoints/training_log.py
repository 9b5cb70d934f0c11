"""The log of a training: one line per optimizer step, every digit kept."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import torch
from jaxtyping import Float64

from critical_phase.errors import CheckpointError

LOG = "log.csv"


@dataclass(frozen=True, slots=True)
class LogRow:
    """One optimizer step."""

    step: int
    examples: int
    """Answers seen so far."""
    loss: float
    """Mean negative log-likelihood of the batch's answer tokens before the step, nats."""
    lr: float
    gradient_norm: float
    """Before clipping."""
    tokens: int
    """Answer tokens in the batch."""
    update_norm: float = float("nan")
    """Norm of what the step added to the adapter's parameters."""
    input_tokens: int = 0
    """Tokens of questions and answers in the batch, padding left out."""


def log_csv(rows: Sequence[LogRow]) -> str:
    """Write the log as CSV; numbers keep every digit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(LogRow)])
    writer.writerows([[repr(v) for v in astuple(row)] for row in rows])
    return text.getvalue()


def read_log(path: Path) -> list[LogRow]:
    """Read the log of a head; columns that an older log lacks get their defaults.

    Raises:
        CheckpointError: The file is missing or damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [_row(line) for line in csv.DictReader(file)]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"cannot read the training log: {error}", where=str(path)) from error


def log_tensor(rows: Sequence[LogRow]) -> Float64[torch.Tensor, "step column"]:
    """Put a log into a tensor, to be kept inside a state."""
    values = [[float(value) for value in astuple(row)] for row in rows]
    return torch.tensor(values, dtype=torch.float64).reshape(len(rows), len(fields(LogRow)))


def log_rows(values: Float64[torch.Tensor, "step column"]) -> list[LogRow]:
    """Take a log out of a tensor."""
    names = [field.name for field in fields(LogRow)]
    return [_row(dict(zip(names, row, strict=True))) for row in values.tolist()]


def _row(values: Mapping[str, str | float]) -> LogRow:
    return LogRow(
        step=int(values["step"]),
        examples=int(values["examples"]),
        loss=float(values["loss"]),
        lr=float(values["lr"]),
        gradient_norm=float(values["gradient_norm"]),
        tokens=int(values["tokens"]),
        # Logs of version 0.1 have neither.
        update_norm=float(values.get("update_norm", "nan")),
        input_tokens=int(values.get("input_tokens", 0)),
    )
