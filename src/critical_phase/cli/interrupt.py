"""What Ctrl-C and SIGTERM do: work that is cut into units ends between two of them."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from multiprocessing import parent_process

from critical_phase.cli.console import say


@contextlib.contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C or SIGTERM finish the unit in hand; the second stops at once."""
    asked: list[bool] = []

    def remember(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(True)
        again = "press Ctrl-C again" if number == signal.SIGINT else "send SIGTERM again"
        say(f"stopping after this unit; {again} to stop now")

    # A worker leaves SIGTERM as it is: its parent means it to end at once.
    ends = (signal.SIGINT, signal.SIGTERM)[: 1 if parent_process() else 2]
    try:
        before = {number: signal.signal(number, remember) for number in ends}
    except ValueError:  # not the main thread: the caller handles interrupts
        yield lambda: False
        return
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
