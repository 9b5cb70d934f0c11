"""`probe checkpoints`: list the saved steps of a series and what is odd about them."""

from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

from critical_phase.checkpoints import Checkpoint, list_series, low_rank_factors, read_log
from critical_phase.checkpoints.training_state import LOG
from critical_phase.cli.console import result, result_json
from critical_phase.cli.run_folder import HEADS
from critical_phase.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the list."""

    head: str
    step: int
    sha8: str
    norm: float
    """Frobenius norm of the whole update."""
    loss: float | None
    """Mean negative log-likelihood of the batch before the step, nats."""
    note: str


def list_checkpoints(path: Path) -> tuple[list[Listed], list[str]]:
    """List every checkpoint of a run or of one folder of checkpoints.

    Raises:
        CheckpointError: There is no checkpoint at this path.
    """
    heads = {h: path / "heads" / h for h in HEADS if (path / "heads" / h).is_dir()}
    folders = heads or {path.name: path}
    rows: list[Listed] = []
    warnings: list[str] = []
    for head, folder in folders.items():
        series = list_series(folder)
        warnings += [f"{head}: {text}" for text in series.warnings]
        log = folder / LOG
        losses = {row.step: row.loss for row in read_log(log)} if log.is_file() else {}
        rows += [_listed(head, item, losses.get(item.step)) for item in series.checkpoints]
    return rows, warnings


def _listed(head: str, item: Checkpoint, loss: float | None) -> Listed:
    try:
        norm = update_norm(item)
    except CheckpointError as error:
        return Listed(head, item.step, item.sha256[:8], 0.0, loss, str(error.args[0]))
    note = "not a number" if not np.isfinite(norm) else "update is zero" if norm == 0 else ""
    return Listed(head, item.step, item.sha256[:8], norm if np.isfinite(norm) else 0.0, loss, note)


def update_norm(item: Checkpoint) -> float:
    """Return the Frobenius norm of scaling * B @ A over all modules, from the factors alone."""
    total = 0.0
    for a, b, scaling in low_rank_factors(item).values():
        wide, tall = a.astype(np.float64), b.astype(np.float64)
        total += scaling**2 * float(np.sum((tall.T @ tall) * (wide @ wide.T)))
    return total**0.5 if total >= 0 else float(total)


@click.command("checkpoints")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, path: Path, as_json: bool) -> None:
    """List saved steps with the norm of the update, loss, duplicates and faults."""
    rows, warnings = list_checkpoints(path)
    if as_json:
        listed = [asdict(row) for row in rows]
        result_json({"schema_version": 1, "checkpoints": listed, "warnings": warnings})
        return
    result(f"{'head':10} {'step':>6} {'sha8':8} {'norm':>10} {'loss':>8}  note")
    for row in rows:
        loss = "" if row.loss is None else f"{row.loss:.4f}"
        result(f"{row.head:10} {row.step:>6} {row.sha8} {row.norm:>10.4g} {loss:>8}  {row.note}")
    for text in warnings:
        result(f"warning: {text}")
