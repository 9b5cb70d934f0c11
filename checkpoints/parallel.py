"""Several processes that train one head together, each on a part of every batch.

They are started from outside (`accelerate launch`, `torchrun`), which says so through
the WORLD_SIZE variable; accelerate is loaded only then. Every process holds the whole
adapter and optimizer and takes the same step, so any of them can be resumed from the
one state that the main process writes.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from critical_phase.errors import CheckpointError

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those that train together."""

    rank: int = 0
    """Number of this process."""
    count: int = 1

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def part(self, batch: Sequence[Item]) -> Sequence[Item]:
        """Return this process's share of a batch; the shares are disjoint and cover it."""
        size = len(batch)
        return batch[size * self.rank // self.count : size * (self.rank + 1) // self.count]

    def add_up(self, parameters: Iterable[torch.nn.Parameter], loss: torch.Tensor) -> torch.Tensor:
        """Sum the gradients over all processes in place, and return the summed loss.

        One message: parameters without a gradient have none in any process.
        """
        if self.count == 1:
            return loss
        gradients = [p.grad for p in parameters if p.grad is not None]
        buffer = torch.cat([loss.detach().reshape(1), *(g.flatten() for g in gradients)])
        torch.distributed.all_reduce(buffer)
        parts = torch.split(buffer[1:], [g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return buffer[0]

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.count > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()

    def check_same_step(self, step: int, device: torch.device) -> None:
        """Refuse to start where the processes read different states.

        Raises:
            CheckpointError: They stand at different steps.
        """
        if self.count == 1:
            return
        steps = torch.tensor([step, -step], device=device)
        torch.distributed.all_reduce(steps, op=torch.distributed.ReduceOp.MAX)
        highest, lowest = int(steps[0]), -int(steps[1])
        if highest != lowest:
            raise CheckpointError(
                f"the {self.count} processes found different states, "
                f"from step {lowest} to {highest}",
                fix="put the run on a disk that all machines share",
            )


def launched_processes() -> int:
    """Return how many processes a launcher started together; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def join_processes(device: torch.device) -> Processes:
    """Meet the other processes that a launcher started; alone without one."""
    if launched_processes() == 1:
        return Processes()
    from accelerate import PartialState

    state = PartialState(cpu=device.type == "cpu")
    return Processes(state.process_index, state.num_processes)


def process_device(name: str) -> str:
    """Give each launched process the GPU of its own number; other devices are kept."""
    if name == "cuda" and launched_processes() > 1:
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return name


def main_process() -> bool:
    """Say whether this process is the one that writes files."""
    return int(os.environ.get("RANK", "0")) == 0 or launched_processes() == 1
