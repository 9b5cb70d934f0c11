"""Run a script that dies while it writes a file."""

import signal
import subprocess
import sys
from pathlib import Path

DYING = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import critical_phase.atomic as atomic
sync, written = atomic.sync_file, []
def sync_or_die(path):
    written.append(path)
    if len(written) == {write}:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(path)
atomic.sync_file = sync_or_die
"""


def run_killed_at_write(write: int, script: str) -> None:
    """Run a script in a process of its own that kills itself at its n-th file.

    Args:
        write: The file at which it dies, counted from 1; it is written, but not in place.
        script: Python; it imports helpers of the tests by their names.
    """
    code = DYING.format(tests=str(Path(__file__).parent), write=write) + script
    result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert result.returncode == -signal.SIGKILL, result.stderr.decode()
