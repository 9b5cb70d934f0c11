"""Train one head: a LoRA adapter, plain maximum likelihood on answer tokens.

The negative head *raises* the likelihood of wrong answers; nothing is subtracted
in training (arXiv 2503.14391). Every step can be saved, and a run that was stopped
at any moment continues to bit-identical adapters.
"""

from collections.abc import Callable, Sequence

from transformers import PreTrainedModel

from critical_phase.checkpoints.densify import check_steps, replay
from critical_phase.checkpoints.examples import Example
from critical_phase.checkpoints.recipe import Recipe
from critical_phase.checkpoints.step_writer import StepWriter
from critical_phase.checkpoints.training_loop import TrainingLoop
from critical_phase.checkpoints.training_state import TrainingFolder
from critical_phase.checkpoints.write_behind import WriteBehind
from critical_phase.errors import CheckpointError

OnStep = Callable[[TrainingLoop], None]
"""Looks at a training between two steps."""


def train_head(
    model: PreTrainedModel,
    examples: Sequence[Example],
    recipe: Recipe,
    save_at: Sequence[int],
    folder: TrainingFolder,
    *,
    seed: int,
    pad_id: int,
    progress: Callable[[int], None] | None = None,
    on_step: OnStep | None = None,
) -> None:
    """Train an adapter from where its folder stands, saving it at the chosen steps.

    A head that is finished gets the asked steps that it lacks (see `densify`).

    Args:
        model: The base in `recipe.dtype`; an adapter is put into it, so load it afresh per head.
        examples: `steps * batch_size` answers in training order; the last step may lack some.
        recipe: Adapter and optimizer.
        save_at: Steps to save; 0 is always saved.
        folder: Where checkpoints, log and states go; what it holds is continued.
        seed: Draws the adapter's start.
        pad_id: Any token; padding is masked.
        progress: Called with the step after every step.
        on_step: Called in the main process with the loop at step 0, where the adapter is
            fresh, and at every later step that is saved, before anything of it is
            published; it must leave the loop as it found it. Other processes wait for it
            in their next sum of gradients.

    Raises:
        ConfigError: Examples, recipe and model do not fit each other.
        CheckpointError: The loss or gradient stopped being a number, or the folder
            belongs to another training.
        StoreError: The disk is full; what is saved stays.
    """
    wanted = sorted({0, *save_at})
    check_steps(wanted, recipe)
    finished = folder.finished
    if finished and not folder.missing(wanted):
        return
    loop = TrainingLoop(model, examples, recipe, seed=seed, pad_id=pad_id)
    visit = on_step if on_step is not None and loop.processes.main else _pass_by
    if finished:
        visit(loop)
    else:
        _continue(loop, recipe, wanted, folder, progress, visit)
    loop.processes.wait()
    if missing := folder.missing(wanted):
        replay(loop, missing, folder, progress, visit)


def _continue(
    loop: TrainingLoop,
    recipe: Recipe,
    wanted: Sequence[int],
    folder: TrainingFolder,
    progress: Callable[[int], None] | None,
    visit: OnStep,
) -> None:
    """Train from the newest state to the last step."""
    state = folder.newest_state()
    loop.processes.check_same_step(state.step if state else -1, loop.device)
    if loop.processes.main:
        folder.drop_after(state.step if state else -1)
    visit(loop)
    log = state.log if state else []
    with WriteBehind() as thread:
        writer = StepWriter(loop, folder, thread, wanted)
        if state:
            loop.restore(state)
        else:
            writer.after_step(log)
        while loop.step < recipe.steps:
            try:
                log.append(loop.advance())
            except CheckpointError:
                writer.save_log(log)
                raise
            if loop.step in wanted:
                visit(loop)
            writer.after_step(log)
            if progress is not None:
                progress(loop.step)
        writer.finish(log)


def _pass_by(loop: TrainingLoop) -> None:
    """Look at nothing."""
