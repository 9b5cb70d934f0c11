"""Ask a GPU for kernels that give the same bits again."""

import contextlib
import warnings
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Choose deterministic kernels on a GPU for the length of a block; a CPU needs nothing.

    The backward passes of fused attention add up in any order unless they are asked not
    to. What has no such kernel (sums of integers among them) is run as it is: a replay
    compares every step with the log, so a difference cannot pass unseen.
    """
    if device.type != "cuda":
        yield
        return
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="(?s).*deterministic")
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
