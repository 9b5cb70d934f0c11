"""One thread that writes while training goes on.

Jobs run in the order given. After a job failed the rest are dropped, so that nothing
lies beyond a gap, and the error is raised where the next job is put or the block ends.
"""

import queue
import threading
from collections.abc import Callable
from types import TracebackType

CAPACITY = 4
"""Jobs that may wait, each with its copy of an adapter; putting another one waits."""


class WriteBehind:
    """A writer thread for the length of a `with` block.

    The block ends, whether well, by an error or by Ctrl-C, when everything put is written.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        """Prepare a thread; entering the block starts it."""
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(capacity)
        self._error: BaseException | None = None
        # A daemon: a second Ctrl-C ends the program even while a disk hangs.
        self._thread = threading.Thread(target=self._run, name="write-behind", daemon=True)

    def put(self, job: Callable[[], None]) -> None:
        """Queue a job.

        Raises:
            StoreError: An earlier job failed; the error it failed with.
        """
        self._raise()
        self._jobs.put(job)

    def __enter__(self) -> "WriteBehind":
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for what is queued, and raise its error unless another is on its way."""
        self._jobs.put(None)
        self._thread.join()
        if error is None:
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._error is not None:
                continue
            try:
                job()
            except BaseException as error:  # handed to the training thread
                self._error = error
