"""What is written after which training step, copied here and published by a thread."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from critical_phase.checkpoints.training_log import LogRow
from critical_phase.checkpoints.training_loop import TrainingLoop
from critical_phase.checkpoints.training_state import State, TrainingFolder, is_milestone
from critical_phase.checkpoints.write_behind import WriteBehind

STATE_EVERY_S = 1.0
"""Least time between two states that are not kept: what a killed training does again."""
STATE_SHARE = 0.05
"""Largest share of the time that writing such states may take."""


class StepWriter:
    """Saves the asked steps of a training loop, and states to continue from.

    Only the main process writes; in the others every call does nothing.
    """

    def __init__(
        self,
        loop: TrainingLoop,
        folder: TrainingFolder,
        thread: WriteBehind,
        wanted: Iterable[int],
        *,
        states: bool = True,
    ) -> None:
        """Write the `wanted` steps of a loop into a folder by a thread, with or without states."""
        self._loop, self._folder, self._thread = loop, folder, thread
        self._wanted = set(wanted)
        self._config = config_text(loop.adapter, folder.identity)
        self._states = states
        self._next_state = time.monotonic() + STATE_EVERY_S
        self._state_seconds = 0.0

    def after_step(self, log: Sequence[LogRow]) -> None:
        """Save what is due at the step the loop stands at.

        Raises:
            StoreError: This or an earlier step could not be written.
        """
        step = self._loop.step
        state_due = self._states and self._is_due(step)
        if not self._loop.processes.main or not (state_due or step in self._wanted):
            return
        copies: dict[int, torch.Tensor] = {}
        if step in self._wanted:
            adapter = _copied(self._loop.tensors(), copies)
            self._thread.put(partial(self._folder.save_checkpoint, step, adapter, self._config))
        if state_due:
            tensors = _copied(self._loop.optimizer_tensors(), copies)
            self._thread.put(partial(self._write_state, State(step, tensors, list(log))))
            pause = max(STATE_EVERY_S, self._state_seconds / STATE_SHARE)
            self._next_state = time.monotonic() + pause

    def save_log(self, log: Sequence[LogRow]) -> None:
        """Publish the log alone."""
        if self._loop.processes.main:
            self._thread.put(partial(self._folder.save_log, list(log)))

    def finish(self, log: Sequence[LogRow]) -> None:
        """Note that training is done."""
        if self._loop.processes.main:
            self._thread.put(partial(self._folder.finish, list(log)))

    def _is_due(self, step: int) -> bool:
        return is_milestone(step) or time.monotonic() >= self._next_state

    def _write_state(self, state: State) -> None:
        started = time.monotonic()
        self._folder.save_log(state.log)
        self._folder.save_state(state)
        self._state_seconds = time.monotonic() - started


def config_text(adapter: Any, identity: Mapping[str, Any]) -> str:
    """Write the PEFT configuration that lies beside every adapter of a head."""
    config = adapter.peft_config["default"].to_dict()
    config.update(inference_mode=True, base_model_name_or_path=identity["base_model"])
    return json.dumps(config, indent=1, sort_keys=True, default=_plain)


def _copied(
    live: Mapping[str, torch.Tensor], copies: dict[int, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Copy tensors to the CPU; what an earlier call copied is shared, within one call nothing is.

    Files of tensors refuse two names for one memory.
    """
    result: dict[str, torch.Tensor] = {}
    used: set[int] = set()
    for name, tensor in live.items():
        place = tensor.data_ptr()
        if place not in copies or place in used:
            copies[place] = tensor.detach().to("cpu", copy=True).contiguous()
        used.add(place)
        result[name] = copies[place]
    return result


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, set) else str(value)
