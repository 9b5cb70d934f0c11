"""What a training run leaves on disk, and what a stopped one continues from.

`checkpoint-<step>/` are PEFT folders, `log.csv` has one line per step, and
`states/step-<step>.safetensors` holds parameters, optimizer moments and the log so far:
at powers of two, to replay a window from, and the newest, to continue from. They are
published in this order, each at once, so every asked step up to a state is there.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from critical_phase.atomic import new_file, new_folder, sweep, write_text
from critical_phase.checkpoints.series import (
    CONFIG,
    IDENTITY,
    WEIGHTS,
    adapter_identity,
    load_adapter,
)
from critical_phase.checkpoints.training_log import (
    LOG,
    LogRow,
    log_csv,
    log_rows,
    log_tensor,
    read_log,
)
from critical_phase.differences import apart
from critical_phase.errors import CheckpointError

__all__ = ["DONE", "LOG", "STATES", "LogRow", "State", "TrainingFolder", "read_log"]

STATES = "states"
DONE = "done.json"
FREE_KEYS = ("save_at", "step")
"""Keys that do not decide whether two trainings are the same: which steps were saved."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything a training continues from."""

    step: int
    tensors: dict[str, torch.Tensor]
    """`parameter.<name>` and, after step 0, the optimizer's `<key>.<name>`."""
    log: list[LogRow]


def is_milestone(step: int) -> bool:
    """Say whether the state of a step is kept for good: 0 and the powers of two."""
    return step & (step - 1) == 0


class TrainingFolder:
    """The folder of one head in training."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Open a folder for one training recipe.

        Args:
            path: `heads/<head>` of a run.
            identity: Plain values that fix the training (recipe, seed, data, base); noted
                beside every adapter. A folder with another identity is refused. Which
                steps are saved (`save_at`) does not belong to it: more can be added.
        """
        self.path = path
        self.identity = {k: v for k, v in identity.items() if k not in FREE_KEYS}

    @property
    def finished(self) -> bool:
        """Whether training to the last step was done with this identity."""
        done = self.path / DONE
        if not done.is_file():
            return False
        self._check(json.loads(done.read_text(encoding="utf-8")), done)
        return True

    def missing(self, steps: Iterable[int]) -> tuple[int, ...]:
        """Return the steps that have no saved checkpoint, ascending."""
        return tuple(sorted(set(steps) - set(self.saved())))

    def saved(self) -> tuple[int, ...]:
        """Return the steps that have a checkpoint, ascending."""
        names = (path.name.removeprefix("checkpoint-") for path in self._folders())
        return tuple(sorted(int(name) for name in names if name.isdecimal()))

    def checkpoint(self, step: int) -> Path:
        """Return the PEFT folder of a step."""
        return self.path / f"checkpoint-{step}"

    def adapter(self, step: int) -> dict[str, torch.Tensor]:
        """Read the adapter of a saved step."""
        return load_adapter(self.checkpoint(step))

    def states(self) -> tuple[int, ...]:
        """Return the steps that have a state, ascending."""
        files = (self.path / STATES).glob("step-????????.safetensors")
        return tuple(sorted(int(path.stem.removeprefix("step-")) for path in files))

    def log(self) -> list[LogRow]:
        """Read the published log."""
        return read_log(self.path / LOG)

    def newest_state(self) -> State | None:
        """Read the state to continue from; None where training starts.

        Raises:
            CheckpointError: The folder belongs to another recipe, or the state is damaged.
        """
        for step in self.saved():
            self._check(adapter_identity(self.checkpoint(step)) or {}, self.checkpoint(step))
        states = self.states()
        return self.state(states[-1]) if states else None

    def state(self, step: int) -> State:
        """Read the state of one step.

        Raises:
            CheckpointError: It belongs to another recipe, or is damaged.
        """
        path = self._state_path(step)
        try:
            with safe_open(path, framework="pt") as file:
                note = json.loads(file.metadata()["training"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            log = log_rows(tensors.pop("log"))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"cannot read the training state: {error}",
                where=str(path),
                fix="delete this file; training then continues from the state before it",
            ) from error
        self._check(note["identity"], path)
        return State(step, tensors, log)

    def drop_after(self, step: int) -> None:
        """Remove what killed processes left, and checkpoints after a step: they come again."""
        sweep(self.path)
        sweep(self.path / STATES)
        for later in self.saved():
            if later > step:
                rmtree(self.checkpoint(later))

    def save_checkpoint(self, step: int, tensors: Mapping[str, torch.Tensor], config: str) -> None:
        """Publish a PEFT folder.

        Raises:
            StoreError: The disk is full; every earlier step is still whole.
        """
        with new_folder(self.checkpoint(step)) as folder:
            (folder / WEIGHTS).write_bytes(save(dict(tensors), metadata={"format": "pt"}))
            (folder / CONFIG).write_text(config, encoding="utf-8")
            note = {**self.identity, "step": step}
            (folder / IDENTITY).write_text(json.dumps(note, indent=1, sort_keys=True), "utf-8")

    def save_log(self, rows: Sequence[LogRow]) -> None:
        """Publish the log."""
        write_text(self.path / LOG, log_csv(rows))

    def save_state(self, state: State) -> None:
        """Publish a state; an older one that is no milestone goes.

        Raises:
            StoreError: The disk is full; the state before is still whole.
        """
        note = json.dumps({"identity": self.identity, "step": state.step}, sort_keys=True)
        tensors = {**state.tensors, "log": log_tensor(state.log)}
        with new_file(self._state_path(state.step)) as temporary:
            # Not save_file: a full disk there is no OSError.
            temporary.write_bytes(save(tensors, metadata={"training": note}))
        self._drop_states(before=state.step)

    def finish(self, rows: Sequence[LogRow]) -> None:
        """Publish the log, note that the last step is done, and keep the milestones' states."""
        self.save_log(rows)
        write_text(self.path / DONE, json.dumps(self.identity, indent=1, sort_keys=True))
        self._drop_states(before=len(rows) + 1)

    def _drop_states(self, *, before: int) -> None:
        for step in self.states():
            if step < before and not is_milestone(step):
                self._state_path(step).unlink(missing_ok=True)

    def _state_path(self, step: int) -> Path:
        return self.path / STATES / f"step-{step:08d}.safetensors"

    def _folders(self) -> list[Path]:
        """List complete checkpoints: a final name with weights in it."""
        return [p for p in self.path.glob("checkpoint-*") if (p / WEIGHTS).is_file()]

    def _check(self, found: Mapping[str, Any], path: Path) -> None:
        wanted = json.loads(json.dumps(self.identity))
        keys = {*found, *wanted} - set(FREE_KEYS)
        differing = sorted(k for k in keys if found.get(k) != wanted.get(k))
        if differing:
            key = differing[0]
            asked, there = apart(wanted.get(key), found.get(key))
            others = f" (and {len(differing) - 1} more)" if differing[1:] else ""
            raise CheckpointError(
                f"this head was trained with another {key}: asked for {asked}, "
                f"found {there}{others}",
                where=str(path.parent),
                fix="use another --out, or pass --overwrite to train it anew",
            )
