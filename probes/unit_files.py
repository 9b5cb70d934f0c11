"""What goes into the two files of a unit, and the key that says how they were made."""

import functools
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from critical_phase import __version__
from critical_phase.errors import CheckpointError
from critical_phase.probes.collector import Coordinate, Dataset, OfAdapter
from critical_phase.probes.collectors import versions_of
from critical_phase.probes.instrument import Instrument
from critical_phase.probes.plan import Plan
from critical_phase.probes.scoring import Scores
from critical_phase.probes.settings import CollectSettings
from critical_phase.probes.store import Kind, to_json
from critical_phase.probes.units import Unit

_ROW = ("row",)
_NORM_ROWS = 1024


def unit_key(
    kind: Kind,
    unit: Unit,
    plan: Plan,
    settings: CollectSettings,
    base_sha256: str,
    dtype: str,
) -> dict[str, Any]:
    """List everything that decides the content of a unit's file."""
    key: dict[str, Any] = {
        "kind": kind,
        "plan_sha256": plan.sha256,
        "adapter_sha256": unit.adapter_sha256,
        "base_sha256": base_sha256,
        "compute_dtype": dtype,
        "layout": settings.layout,
    }
    if settings.adapter_scale != 1.0:
        key["adapter_scale"] = settings.adapter_scale
    if settings.backend != "hooks":
        key["backend"] = settings.backend
    if kind == "activations":
        key |= settings.key
        if versions := versions_of(settings):
            key["collector_versions"] = versions
    return key


def file_attributes(
    unit: Unit, run: Path, merged: bool, instrument: Instrument
) -> dict[str, str | int | float]:
    """Say where a file comes from; no host, user or absolute path."""
    scene, checkpoint = instrument.scene, unit.checkpoint
    model: Any = scene.model
    uri = "" if checkpoint is None else relative_uri(checkpoint.path, run)
    return {
        "head": unit.head,
        "step": unit.step,
        "checkpoint_uri": uri,
        "adapter_sha256": unit.adapter_sha256,
        "plan_sha256": scene.plan.sha256,
        "prompt_format": scene.plan.prompt_format,
        "compute_dtype": str(model.dtype).removeprefix("torch."),
        "device": str(model.device.type),
        "merged": int(merged and checkpoint is not None),
        "norm_state": "pre",
        "row_layout": instrument.choice.layout,
        "row_layout_reason": instrument.choice.reason,
        "last_mlp": scene.last_mlp_reason,
        "attention_way": scene.attention_way,
        "sites_source": scene.sites.source,
        "backend": "bridge" if scene.attention_way == "bridge" else "hooks",
        **versions(),
    }


def collector_attributes(
    unit: Unit, instrument: Instrument, settings: CollectSettings
) -> dict[str, str]:
    """Name the user's own collectors, and what a file of the base lacks as it reads an adapter."""
    own = settings.key.get("own_collectors")
    noted = {} if own is None else {"own_collectors": to_json(own)}
    if unit.checkpoint is not None:
        return noted
    return noted | {
        f"{one.name}_absent": one.absent
        for one in instrument.collectors
        if isinstance(one, OfAdapter)
    }


@functools.cache
def versions() -> dict[str, str]:
    """Look versions up once: it takes longer than writing a small file."""
    found = {f"{name}_version": version(name) for name in ("transformers", "peft", "h5py")}
    return {"toolkit_version": __version__, "torch_version": str(torch.__version__), **found}


def score_datasets(plan: Plan, scores: Scores) -> list[tuple[Dataset, Tensor]]:
    """Return the datasets of a scores file."""
    made = [
        _row("logprob_sum", scores.logprob_sum, "log-probability of the candidate, nats"),
        _row(
            "first_token_logprob",
            scores.first_token_logprob,
            "log-probability of the candidate's first token, nats",
        ),
        _row("tokens", plan.tokens.astype(np.int32), "tokens of the candidate"),
        _row("characters", plan.characters.astype(np.int32), "characters of the candidate's text"),
        _row("bytes", plan.bytes.astype(np.int32), "UTF-8 bytes of the candidate's text"),
    ]
    return made + _identity(plan)


def score_coordinates(plan: Plan) -> dict[str, Coordinate]:
    """Return the axes of a scores file."""
    return {"row": np.arange(plan.rows, dtype=np.int32)}


def activation_datasets(
    plan: Plan, instrument: Instrument, *, adapter: bool = True
) -> list[tuple[Dataset, Tensor]]:
    """Return the datasets of an activations file, as the instruments left them.

    Args:
        plan: The rows.
        instrument: What measured.
        adapter: False for the base model, whose file lacks what is read of an adapter.

    Raises:
        CheckpointError: An adapter is to be read, and the model shows none of its modules.
    """
    for one in instrument.collectors:
        if adapter and isinstance(one, OfAdapter) and not one.datasets:
            raise CheckpointError(
                f"{one.name} finds no LoRA module in this model, which should hold an adapter",
                fix=f"collect without {one.name}",
            )
    made = [
        (dataset, instrument.arrays[dataset.name])
        for collector in instrument.collectors
        if adapter or not isinstance(collector, OfAdapter)
        for dataset in collector.datasets
    ]
    if "residual" in instrument.arrays:
        norm = torch.stack([_norms(layer) for layer in instrument.arrays["residual"]])
        about = "Euclidean norm of the residual stream, in units of the model"
        dims = ("layer", "row", "position")
        made.append((Dataset("summary/resid_norm", dims, torch.float32, about), norm))
    return made + _identity(plan)


def axes_of(
    datasets: Sequence[tuple[Dataset, Tensor]], instrument: Instrument
) -> dict[str, Coordinate]:
    """Return the axes that these datasets use, whatever else the instrument could measure."""
    used = {dim for dataset, _ in datasets for dim in dataset.dims}
    return {name: axis for name, axis in instrument.coordinates.items() if name in used}


def _norms(layer: Tensor) -> Tensor:
    """Take norms of [row, position, d] in float32, a few rows at a time: it may lie on disk."""
    return torch.cat([part.float().norm(dim=-1) for part in torch.split(layer, _NORM_ROWS)])


def _identity(plan: Plan) -> list[tuple[Dataset, Tensor]]:
    return [
        _row("rows/question", plan.question.astype(np.int32), "question number, from 0"),
        _row("rows/candidate", plan.candidate.astype(np.int32), "candidate number, from 0"),
        _row("rows/correct", plan.correct.astype(np.uint8), "1 for the right candidate"),
    ]


def _row(name: str, values: np.ndarray, about: str) -> tuple[Dataset, Tensor]:
    tensor = torch.from_numpy(values)
    return Dataset(name, _ROW, tensor.dtype, about), tensor


def relative_uri(path: Path, run: Path) -> str:
    """Write a path relative to the run, or its name alone where it lies elsewhere."""
    inside = path.resolve().is_relative_to(run.resolve())
    return path.resolve().relative_to(run.resolve()).as_posix() if inside else path.name
