"""Steps that were not saved, added afterwards by repeating the training in between.

A replay starts at the nearest state that was kept. It is no new training: every step
must give the very numbers that the log has, and every saved adapter on the way must
come out again bit by bit.
"""

from collections.abc import Callable, Sequence

import torch
from transformers import PreTrainedModel

from critical_phase.checkpoints.examples import Example
from critical_phase.checkpoints.recipe import Recipe
from critical_phase.checkpoints.step_writer import StepWriter
from critical_phase.checkpoints.training_log import LogRow
from critical_phase.checkpoints.training_loop import TrainingLoop
from critical_phase.checkpoints.training_state import TrainingFolder
from critical_phase.checkpoints.write_behind import WriteBehind
from critical_phase.errors import CheckpointError, ConfigError

_FIX = (
    "replay on the machine, versions, device and numbers of threads and processes that "
    "trained it, or train anew with a denser --schedule and --overwrite"
)


def densify(
    model: PreTrainedModel,
    examples: Sequence[Example],
    recipe: Recipe,
    steps: Sequence[int],
    folder: TrainingFolder,
    *,
    seed: int,
    pad_id: int,
    progress: Callable[[int], None] | None = None,
) -> tuple[int, ...]:
    """Save more steps of a finished head, by replay from the states it kept.

    Saved steps are never written again, so an interrupted call is repeated as it was.

    Args:
        model: The base, loaded afresh; an adapter is put into it.
        examples: The very examples of the training.
        recipe: The recipe of the training.
        steps: Steps that shall be saved afterwards; those that are saved cost nothing.
        folder: The finished head, opened with the identity of its training.
        seed: The seed of the training.
        pad_id: Any token; padding is masked.
        progress: Called with the step after every replayed step.

    Returns:
        The steps that were missing and are saved now.

    Raises:
        ConfigError: A step was never trained, or the examples do not fit the recipe.
        CheckpointError: The head is not finished, or a replayed step differs.
        StoreError: The disk is full; what is saved stays.
    """
    check_steps(steps, recipe)
    if not folder.finished:
        raise CheckpointError(
            "this head is not trained to its last step",
            where=str(folder.path),
            fix="finish it with probe train, then add steps",
        )
    missing = folder.missing(steps)
    if missing:
        loop = TrainingLoop(model, examples, recipe, seed=seed, pad_id=pad_id)
        replay(loop, missing, folder, progress)
    return missing


def replay(
    loop: TrainingLoop,
    missing: Sequence[int],
    folder: TrainingFolder,
    progress: Callable[[int], None] | None = None,
    visit: Callable[[TrainingLoop], None] | None = None,
) -> None:
    """Bring a loop to one missing step after the other and save each.

    Args:
        loop: Anywhere; it is restored from states.
        missing: Steps to save, ascending.
        folder: The finished head.
        progress: Called with the step after every replayed step.
        visit: Called with the loop at every missing step, before it is saved.

    Raises:
        CheckpointError: A step differs from its line in the log or from its saved adapter.
        StoreError: The disk is full.
    """
    log = {row.step: row for row in folder.log()}
    saved = set(folder.saved())
    loop.processes.wait()
    started = False
    with WriteBehind() as thread:
        writer = StepWriter(loop, folder, thread, missing, states=False)
        for step in missing:
            nearest = max((s for s in folder.states() if s <= step), default=None)
            if nearest is None:
                raise CheckpointError(
                    f"no state to replay step {step} from", where=str(folder.path), fix=_FIX
                )
            if not started or nearest > loop.step:
                loop.restore(folder.state(nearest))
                started = True
                _check_adapter(loop, folder, saved)
            while loop.step < step:
                _check_row(loop.advance(), log)
                _check_adapter(loop, folder, saved)
                if progress is not None:
                    progress(loop.step)
            if visit is not None:
                visit(loop)
            writer.after_step(())
    loop.processes.wait()


def check_steps(steps: Sequence[int], recipe: Recipe) -> None:
    """Refuse to save steps that are never trained.

    Raises:
        ConfigError: Names the first of them.
    """
    if odd := [step for step in steps if not 0 <= step <= recipe.steps]:
        raise ConfigError(f"asked to save step {odd[0]}, but training has steps 0..{recipe.steps}")


def _check_row(row: LogRow, log: dict[int, LogRow]) -> None:
    """The log of a step holds its loss and the norms of its gradient and update."""
    noted = log.get(row.step)
    if noted != row:
        there = f"loss {noted.loss!r}" if noted else "no line"
        raise CheckpointError(
            f"the replay of step {row.step} differs: loss {row.loss!r}, the log has {there}",
            fix=_FIX,
        )


def _check_adapter(loop: TrainingLoop, folder: TrainingFolder, saved: set[int]) -> None:
    if loop.step not in saved or not loop.processes.main:
        return
    there = folder.adapter(loop.step)
    live = {name: tensor.cpu() for name, tensor in loop.tensors().items()}
    if live.keys() != there.keys() or not all(torch.equal(live[n], there[n]) for n in live):
        raise CheckpointError(
            f"the replay of step {loop.step} differs from the saved adapter",
            where=str(folder.checkpoint(loop.step)),
            fix=_FIX,
        )
