"""`probe checkpoints`: list the saved steps of a series and what is odd about them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import click

from critical_phase.cli.console import result, result_json
from critical_phase.cli.run_folder import RunFolder, elsewhere_of, read_record
from critical_phase.errors import CheckpointError

if TYPE_CHECKING:
    from critical_phase.checkpoints import Checkpoint, CheckpointSource
    from critical_phase.checkpoints.full_weights import FullWeights


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the list."""

    head: str
    step: int
    sha8: str
    norm: float
    """Frobenius norm of the whole update."""
    loss: float | None
    """Mean negative log-likelihood of the batch before the step, nats, as the trainer noted it."""
    note: str


def list_checkpoints(
    path: Path | str, *, model: str | None = None, adapter_name: str | None = None
) -> tuple[list[Listed], list[str]]:
    """List every checkpoint of a run, of one folder of checkpoints, or of a model on the hub.

    Nothing is downloaded: of revisions on the hub, those on this disk are read.

    Args:
        path: Run folder, folder of checkpoints, or `owner/name@step*`.
        model: Base that updates of full weights are measured from; None takes what the run
            or the series names.
        adapter_name: Which adapter, where checkpoints hold several.

    Raises:
        CheckpointError: There is no checkpoint at this path.
    """
    from critical_phase.checkpoints import duplicates, open_source  # these load torch
    from critical_phase.checkpoints.trainer_notes import noted_losses
    from critical_phase.cli.changed_adapters import changed_adapters
    from critical_phase.probes import stored_files

    run = RunFolder(Path(path))
    heads = run.known_heads()
    if heads:
        named = read_record(run)["model"] if run.record.is_file() else None
        sources = {head: _source_of(run, head) for head in heads}
    else:
        named = None
        sources = {Path(path).name: open_source(str(path), adapter_name=adapter_name)}
    rows: list[Listed] = []
    warnings: list[str] = []
    for head, source in sources.items():
        base = _base_weights(source, model or named or source.base_model)
        found = {step: source.cached(step) for step in source.steps}
        there = [item for item in found.values() if item is not None]
        warnings += [f"{head}: {text}" for text in (*source.warnings, *duplicates(there))]
        folder = Path(source.location)
        losses: Mapping[int, float] = noted_losses(folder) if folder.is_dir() else {}
        for step, item in found.items():
            rows.append(_listed(head, step, item, losses.get(step), base))
    if run.record.is_file():
        changed, _ = changed_adapters(stored_files(run.path / "scores"))
        warnings += [f"{one.file}: {one.message}" for one in changed]
    return rows, warnings


def _source_of(run: RunFolder, head: str) -> "CheckpointSource":
    from critical_phase.checkpoints import open_source

    if run.head(head).is_dir():
        return open_source(str(run.head(head)))
    entry = elsewhere_of(run)[head]
    return open_source(entry["location"], adapter_name=entry["adapter_name"])


def _listed(
    head: str,
    step: int,
    item: "Checkpoint | None",
    loss: float | None,
    base: "FullWeights | None",
) -> Listed:
    if item is None:
        return Listed(head, step, "", 0.0, loss, "not downloaded")
    if item.kind == "base":
        return Listed(head, step, "", 0.0, loss, "not saved: the base model")
    try:
        norm = update_norm(item, base)
    except CheckpointError as error:
        return Listed(head, step, item.sha256[:8], 0.0, loss, str(error.args[0]))
    note = "not a number" if not isfinite(norm) else "update is zero" if norm == 0 else ""
    return Listed(head, step, item.sha256[:8], norm if isfinite(norm) else 0.0, loss, note)


def update_norm(item: "Checkpoint", base: "FullWeights | None" = None) -> float:
    """Return the Frobenius norm of what training changed.

    For adapters that of scaling * B @ A over all modules, from the factors alone; for full
    weights that of their difference to the base.

    Raises:
        CheckpointError: Not plain LoRA, or full weights without a base to measure from.
    """
    import numpy as np

    from critical_phase.checkpoints import low_rank_factors
    from critical_phase.checkpoints.full_weights import FullWeights, difference_norm

    if item.kind == "full":
        if base is None:
            raise CheckpointError("no base to measure from: give --model", where=str(item.path))
        return difference_norm(FullWeights(item.path), base)
    total = 0.0
    for a, b, scaling in low_rank_factors(item).values():
        wide, tall = a.astype(np.float64), b.astype(np.float64)
        total += scaling**2 * float(np.sum((tall.T @ tall) * (wide @ wide.T)))
    return total**0.5 if total >= 0 else float(total)


def _base_weights(source: "CheckpointSource", name: str | None) -> "FullWeights | None":
    """Open the base of full weights; adapters need none."""
    from critical_phase.checkpoints.full_weights import FullWeights
    from critical_phase.checkpoints.hub_files import fetch_revision
    from critical_phase.checkpoints.models import model_location

    if source.kind == "adapter" or name is None:
        return None
    location = Path(model_location(name))
    return FullWeights(location if location.is_dir() else fetch_revision(name, "main"))


@click.command("checkpoints")
@click.argument("path")
@click.option("--model", help="Base that full weights are measured from.")
@click.option("--adapter-name", help="Which adapter, where checkpoints hold several.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, path: str, model: str | None, adapter_name: str | None, as_json: bool) -> None:
    """List the saved steps of a run, a folder or owner/name@step*, with faults."""
    rows, warnings = list_checkpoints(path, model=model, adapter_name=adapter_name)
    if as_json:
        listed = [asdict(row) for row in rows]
        result_json({"schema_version": 1, "checkpoints": listed, "warnings": warnings})
        return
    result(f"{'head':10} {'step':>6} {'sha8':8} {'norm':>10} {'loss':>8}  note")
    for row in rows:
        loss = "" if row.loss is None else f"{row.loss:.4f}"
        result(f"{row.head:10} {row.step:>6} {row.sha8:8} {row.norm:>10.4g} {loss:>8}  {row.note}")
    for text in warnings:
        result(f"warning: {text}")
