"""Processes that are killed at random moments, forked from one that has imported everything."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

CODE = """
import os, sys
sys.path[:0] = {paths!r}
import torch; torch.set_num_threads(1)
{imports}
for line in sys.stdin:
    words = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1):
            os.dup2(null, stream)
        try:
            {call}
        except SystemExit as stopped:
            os._exit(stopped.code or 0)
        os._exit(0)
    print(child, flush=True)
    sys.stdin.readline()  # until then its number is not given to another process
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Nursery:
    """Imports once, then forks a fresh child for every start: a kill costs no import."""

    def __init__(self, imports: str, call: str, folder: Path | None = None) -> None:
        """Say what children do.

        Args:
            imports: Lines that are run once, before any child.
            call: What a child runs, on one line; `words` are the arguments of `start`.
            folder: Where modules to import lie, beside the helpers of the tests.
        """
        paths = [str(path) for path in (Path(__file__).parent, folder) if path is not None]
        self._code = CODE.format(paths=paths, imports=imports, call=call)

    def __enter__(self) -> "Nursery":
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def start(self, *words: str) -> int:
        """Begin a child and return its process id."""
        self._say("\t".join(words))
        return int(self._line())

    def status(self) -> int:
        """Wait for its end: 0, or minus the signal, or the exit code."""
        self._say("wait")
        return os.waitstatus_to_exitcode(int(self._line()))

    def killed_after(self, delay: float, *words: str) -> bool:
        """Let a child work for so many seconds; say whether a kill came before its own end."""
        process = self.start(*words)
        time.sleep(delay)
        os.kill(process, signal.SIGKILL)  # harmless where it has ended: nobody waits for it yet
        status = self.status()
        assert status in (0, -signal.SIGKILL), status
        return status != 0

    def kills(self, delays: Iterable[float], *words: str) -> int:
        """Start the same work again after every kill until it ends by itself; count the kills."""
        kills = 0
        for delay in delays:
            if not self.killed_after(float(delay), *words):
                break
            kills += 1
        return kills

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()
