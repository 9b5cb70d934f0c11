"""Send a plan through a model once, with instruments attached."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import torch

from critical_phase.errors import ConfigError
from critical_phase.probes.batches import Batch, Packer
from critical_phase.probes.collector import Arrays, Collector
from critical_phase.probes.scoring import Scorer
from critical_phase.probes.stem import Stem, new_cache


@runtime_checkable
class Listener(Protocol):
    """Anything that hangs on the model and is told about every batch."""

    def attached(self) -> contextlib.AbstractContextManager[object]:
        """Hang on the model."""

    def start(self, batch: Batch) -> None:
        """Be told where the next forward pass is read."""


@torch.no_grad()
def forward_all(
    model: Any,
    packer: Packer,
    scorer: Scorer,
    collectors: Sequence[Collector],
    arrays: Arrays,
) -> int:
    """Score and read every row.

    Args:
        model: The causal language model.
        packer: Gives the batches.
        scorer: Gets the logits of every batch.
        collectors: Fill their rows of `arrays`.
        arrays: One tensor per dataset.

    Returns:
        How often a batch had to be cut because it did not fit the memory.
    """
    with attached([scorer, *collectors]):
        stem = read_stem(model, packer)
        return in_batches(
            packer, lambda batch: one_pass(model, batch, scorer, collectors, arrays, stem)
        )


def in_batches(packer: Packer, run: Callable[[Batch], None]) -> int:
    """Run every batch; one that does not fit the memory is halved, down to a single line.

    Args:
        packer: Gives the batches.
        run: Does one; what it keeps of a batch, it keeps at its very end.

    Returns:
        How often a batch had to be cut.
    """
    cuts = 0
    waiting = list(reversed(range(len(packer))))
    queue: list[Batch] = []
    while waiting or queue:
        batch = queue.pop() if queue else packer.batch(waiting.pop())
        try:
            run(batch)
        except (RuntimeError, MemoryError) as error:
            parts = packer.halves(batch) if _out_of_memory(error) else []
            if not parts:
                raise
            queue += reversed(parts)
            cuts += 1
    return cuts


def one_pass(
    model: Any,
    batch: Batch,
    scorer: Scorer,
    collectors: Sequence[Collector],
    arrays: Arrays,
    stem: Stem | None = None,
) -> None:
    """Run one batch through a model whose instruments are attached.

    Args:
        model: The causal language model.
        batch: One pass, or two of which the second goes on from the first one's cache.
        scorer: Gets the logits.
        collectors: Fill their rows of `arrays`; they read batches of one pass.
        arrays: One tensor per dataset.
        stem: What the lines of the batch go on from.
    """
    for listener in collectors:
        listener.start(batch)
    continued = after_stem(stem, batch)
    cache: Any = continued.get("past_key_values")
    if cache is None and batch.then is not None:
        cache = new_cache(model, windowed=True)
        continued = {"past_key_values": cache, "use_cache": True}
    scorer.start(batch)
    parts = [scorer.read(model(**batch.inputs | continued).logits)]
    if batch.then is not None:
        cache.batch_select_indices(batch.then.parent)
        scorer.start(batch.then)
        parts.append(scorer.read(model(**batch.then.inputs | continued).logits))
    for collector in collectors:
        collector.store(arrays)
    scorer.add(*parts)  # last: sums would count a batch twice that is halved after it


def after_stem(stem: Stem | None, batch: Batch) -> dict[str, Any]:
    """Let a batch go on from a stem: what to add to its inputs, or to put in their place."""
    if stem is None:
        return {}
    return {"past_key_values": stem.cache(len(batch.inputs["input_ids"])), "use_cache": True}


def read_stem(model: Any, packer: Packer) -> Stem | None:
    """Run what all prompts of a packer share, under the adapter that the model holds now."""
    if not packer.shared:
        return None
    tokens = packer.plan.prompts[0][: packer.shared]
    return Stem.read(model, tokens, windowed=packer.layout == "cached")


@contextlib.contextmanager
def attached(listeners: Sequence[Listener]) -> Iterator[None]:
    """Attach every listener for the length of a block."""
    with contextlib.ExitStack() as stack:
        for listener in listeners:
            stack.enter_context(listener.attached())
        yield


def allocate(collectors: Sequence[Collector], sizes: dict[str, int]) -> Arrays:
    """Make room for every dataset of the collectors.

    Args:
        collectors: Declare their datasets.
        sizes: Length of each axis by name.
    """
    return {
        dataset.name: torch.zeros([sizes[dim] for dim in dataset.dims], dtype=dataset.dtype)
        for collector in collectors
        for dataset in collector.datasets
    }


def refuse_short_memory(error: BaseException) -> None:
    """Say that a gate did not fit the memory, which tells nothing about the model.

    Raises:
        ConfigError: The error is a lack of memory.
    """
    if _out_of_memory(error):
        raise ConfigError(
            "the few questions that prove how rows are read do not fit the memory",
            fix="use a device with more memory, or leave the longest questions out",
        ) from error


def _out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        "out of memory" in text or "can't allocate memory" in text
    )
