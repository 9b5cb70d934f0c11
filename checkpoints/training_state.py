"""What a training run leaves on disk, and how a stopped one continues.

`checkpoint-<step>/` are PEFT folders, `log.csv` one line per step, `state.safetensors`
parameters and optimizer moments after the newest saved step. The order of a save is
checkpoint, log, state, each replaced at once; so the state never names a step whose
checkpoint is missing.
"""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from critical_phase.atomic import new_file, new_folder, sweep, write_text
from critical_phase.checkpoints.peft_state import adapter_state
from critical_phase.checkpoints.series import CONFIG, IDENTITY, WEIGHTS
from critical_phase.errors import CheckpointError

STATE = "state.safetensors"
LOG = "log.csv"
DONE = "done.json"


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


class TrainingFolder:
    """The folder of one head in training."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Open a folder for one training recipe.

        Args:
            path: `heads/<head>` of a run.
            identity: Plain values that fix the training (recipe, seed, data, base); noted
                beside every adapter. A folder with another identity is refused.
        """
        self.path = path
        self.identity = dict(identity)

    @property
    def finished(self) -> bool:
        """Whether training to the last step was done with this identity."""
        done = self.path / DONE
        if not done.is_file():
            return False
        self._check(json.loads(done.read_text(encoding="utf-8")), done)
        return True

    def resume(
        self, parameters: Mapping[str, torch.nn.Parameter], optimizer: torch.optim.Optimizer
    ) -> tuple[list[LogRow], int]:
        """Restore the newest saved state and return the log up to it, and its step.

        Raises:
            CheckpointError: The folder belongs to another recipe, or the state is damaged.
        """
        path = self.path / STATE
        sweep(self.path)
        if not path.is_file():
            return [], 0
        try:
            with safe_open(path, framework="pt") as file:
                note = json.loads(file.metadata()["training"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"cannot read the training state: {error}",
                where=str(path),
                fix="delete this file to train this head again from step 0",
            ) from error
        self._check(note["identity"], path)
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(tensors[f"parameter.{name}"])
                if note["step"]:
                    optimizer.state[parameter] = _moments(tensors, name, parameter.device)
        return self._read_log(note["step"]), note["step"]

    def save(
        self,
        step: int,
        adapter: torch.nn.Module,
        parameters: Mapping[str, torch.nn.Parameter],
        optimizer: torch.optim.Optimizer,
        log: list[LogRow],
    ) -> None:
        """Publish the checkpoint of one step, then the log, then the state to continue from.

        Raises:
            StoreError: The disk is full; every earlier step is still whole.
        """
        self._save_checkpoint(step, adapter)
        write_text(self.path / LOG, log_csv(log))
        tensors = {f"parameter.{n}": p.detach().cpu().clone() for n, p in parameters.items()}
        for name, parameter in parameters.items():
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"{key}.{name}"] = value.detach().cpu().clone()
        note = json.dumps({"identity": self.identity, "step": step}, sort_keys=True)
        with new_file(self.path / STATE) as temporary:
            save_file(tensors, temporary, metadata={"training": note})

    def finish(self) -> None:
        """Note that the last step is done and drop the state to continue from."""
        write_text(self.path / DONE, json.dumps(self.identity, indent=1, sort_keys=True))
        (self.path / STATE).unlink(missing_ok=True)

    def _save_checkpoint(self, step: int, adapter: Any) -> None:
        tensors = adapter_state(adapter)
        config = adapter.peft_config["default"].to_dict()
        config.update(inference_mode=True, base_model_name_or_path=self.identity["base_model"])
        with new_folder(self.path / f"checkpoint-{step}") as folder:
            tensors = {name: value.detach().cpu().clone() for name, value in tensors.items()}
            save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
            text = json.dumps(config, indent=1, sort_keys=True, default=_plain)
            (folder / CONFIG).write_text(text, encoding="utf-8")
            note = {**self.identity, "step": step}
            (folder / IDENTITY).write_text(json.dumps(note, indent=1, sort_keys=True), "utf-8")

    def _read_log(self, step: int) -> list[LogRow]:
        path = self.path / LOG
        rows = read_log(path) if path.is_file() else []
        kept = [row for row in rows if row.step <= step]
        if len(kept) != step:
            raise CheckpointError(
                f"the log has {len(kept)} of {step} steps",
                where=str(path),
                fix=f"delete {STATE} beside it to train this head again from step 0",
            )
        return kept

    def _check(self, found: Mapping[str, Any], path: Path) -> None:
        wanted = json.loads(json.dumps(self.identity))
        differing = sorted(k for k in {*found, *wanted} if found.get(k) != wanted.get(k))
        if differing:
            key = differing[0]
            asked, there = _apart(wanted.get(key), found.get(key))
            others = f" (and {len(differing) - 1} more)" if differing[1:] else ""
            raise CheckpointError(
                f"this head was trained with another {key}: asked for {asked!r}, "
                f"found {there!r}{others}",
                where=str(path.parent),
                fix="use another --out, or pass --overwrite to train it anew",
            )


def _apart(asked: Any, found: Any) -> tuple[Any, Any]:
    """Keep of two settings only what differs."""
    if not (isinstance(asked, dict) and isinstance(found, dict)):
        return asked, found
    keys = sorted(k for k in {*asked, *found} if asked.get(k) != found.get(k))
    return {k: asked.get(k) for k in keys}, {k: found.get(k) for k in keys}


def log_csv(rows: list[LogRow]) -> str:
    """Write the log as CSV; numbers keep every digit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(LogRow)])
    writer.writerows([[repr(v) for v in astuple(row)] for row in rows])
    return text.getvalue()


def read_log(path: Path) -> list[LogRow]:
    """Read the log of one head.

    Raises:
        CheckpointError: The file is missing or malformed.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                LogRow(
                    int(row["step"]),
                    int(row["examples"]),
                    float(row["loss"]),
                    float(row["lr"]),
                    float(row["gradient_norm"]),
                    int(row["tokens"]),
                )
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"cannot read the training log: {error}", where=str(path)) from error


def _moments(
    tensors: Mapping[str, torch.Tensor], name: str, device: torch.device
) -> dict[str, torch.Tensor]:
    moments = {key: tensors[f"{key}.{name}"].to(device) for key in ("exp_avg", "exp_avg_sq")}
    return {"step": tensors[f"step.{name}"], **moments}  # AdamW keeps its count on the CPU


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, set) else str(value)
