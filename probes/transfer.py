"""Bring what was read from the device to the host while the device goes on.

A plain `.cpu()` waits until the device has done all its work, and the device then waits for
the next pass. Inside a block of `Transfer` values are copied to pinned memory on a stream of
their own instead, and written to their rows once they are there. Where the model runs on the
CPU there is nothing to bring: values are written at once.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from critical_phase.errors import ConfigError

Write = Callable[[Tensor], object]
"""Gets the values on the host; they are gone when it returns, so what it keeps, it copies."""
RING_BYTES = 256 << 20
"""Pinned memory that holds values on their way."""
_ALIGNED = 64
"""Every value begins at a multiple of this many bytes, whatever its type."""


class Transfer:
    """Writes every value at once; the form for the CPU, and outside of blocks."""

    def __enter__(self) -> "Transfer":
        """Begin a run over many batches."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write all that is still on its way, or forget it where the run failed."""

    def send(self, values: Tensor, write: Write) -> None:
        """Hand values over; `write` gets them on the host, in the order of the calls."""
        write(values.cpu())


class Lane:
    """Copies values into a ring of host memory; the form for the CPU, for tests."""

    def ring(self, size: int) -> Tensor:
        """Make the host memory, in bytes."""
        return torch.empty(size, dtype=torch.uint8)

    def copy(self, values: Tensor, host: Tensor) -> Callable[[], object]:
        """Begin to copy; what is returned waits until the copy is there."""
        host.copy_(values)
        return lambda: None


class CudaLane(Lane):
    """Copies on a stream of its own, so that the model's stream never waits."""

    def __init__(self, device: torch.device) -> None:
        """Make the stream."""
        self._device = device
        self._stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def ring(self, size: int) -> Tensor:
        """Make the host memory, in bytes, pinned: other memory cannot be copied to beside work."""
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)

    def copy(self, values: Tensor, host: Tensor) -> Callable[[], object]:
        """Begin to copy once the model's stream has made the values."""
        values = values.contiguous()
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            host.copy_(values, non_blocking=True)
            done.record(self._stream)
        values.record_stream(self._stream)  # its memory is not given away before the copy ends
        return done.synchronize


@dataclass(frozen=True, eq=False)
class _OnItsWay:
    begin: int
    stop: int
    host: Tensor
    wait: Callable[[], object]
    write: Write


class Ring(Transfer):
    """Keeps values of the last passes in a ring of host memory and writes them later."""

    def __init__(self, lane: Lane, size: int = RING_BYTES) -> None:
        """Note how values are copied; the memory is made when the first value is sent.

        Args:
            lane: Copies them.
            size: Bytes of the ring; a larger value is written at once, after all before it.
        """
        self._lane, self._size = lane, size
        self._memory: Tensor | None = None
        self._waiting: deque[_OnItsWay] = deque()
        self._next = 0
        self._open = False

    def __enter__(self) -> "Ring":
        """Begin a run over many batches.

        Raises:
            RuntimeError: A run is going on.
        """
        if self._open:
            raise RuntimeError("values of another run are on their way; leave that block before")
        self._open = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write all that is still on its way, or forget it where the run failed."""
        self._open = False
        try:
            while self._waiting and error is None:
                self._land()
        finally:
            while self._waiting:  # a copy that still runs must not meet the next run's
                self._waiting.popleft().wait()

    def send(self, values: Tensor, write: Write) -> None:
        """Hand values over; `write` gets them on the host, in the order of the calls."""
        if not self._open or values.nbytes > self._size:
            while self._waiting:
                self._land()
            write(values.cpu())
            return
        begin = self._room(values.nbytes)
        stop = begin + values.nbytes
        if self._memory is None:
            self._memory = self._lane.ring(self._size)
        host = self._memory[begin:stop].view(values.dtype).view(values.shape)
        wait = self._lane.copy(values, host)
        self._waiting.append(_OnItsWay(begin, stop, host, wait, write))
        self._next = -(-stop // _ALIGNED) * _ALIGNED

    def _room(self, size: int) -> int:
        """Find where the next value goes; what lies there is written first."""
        begin = self._next if self._next + size <= self._size else 0
        while any(one.begin < begin + size and begin < one.stop for one in self._waiting):
            self._land()
        return begin

    def _land(self) -> None:
        oldest = self._waiting.popleft()
        oldest.wait()
        oldest.write(oldest.host)


def transfer_for(device: torch.device) -> Transfer:
    """Choose how values come from a device.

    Raises:
        ConfigError: The device is neither a CPU nor a GPU of CUDA's kind that torch can use.
    """
    if device.type != "cuda":
        return Transfer()
    if not torch.cuda.is_available():
        raise ConfigError(f"the model lies on {device}, which is not there", fix="use --device cpu")
    return Ring(CudaLane(device))
