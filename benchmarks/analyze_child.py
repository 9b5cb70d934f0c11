"""Run `probe analyze RUN` in this process, and print time and peak memory of every measure.

Imports nothing that the command does not import itself. The peak of a measure is the most this
process held while it ran, everything that was there before included.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def status(field: str) -> float:
    """Read one line of this process' status, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(field))


class Notes:
    """What was used between two moments, by name."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._begin()

    def _begin(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # forgets the last peak
        self._cpu, self._wall, self._start = (
            time.process_time(),
            time.perf_counter(),
            status("VmRSS"),
        )

    def end(self, name: str) -> None:
        """Note everything since the last call."""
        self.rows.append(
            {
                "part": name,
                "cpu_s": time.process_time() - self._cpu,
                "wall_s": time.perf_counter() - self._wall,
                "peak_mib": status("VmHWM"),
                "before_mib": self._start,
            }
        )
        self._begin()


def main() -> None:
    notes = Notes()
    from critical_phase.analysis import MEASURES
    from critical_phase.cli.analyze import command

    notes.end("imports")

    def noted(name: str, measure: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            if len(notes.rows) == 1:
                notes.end("opening the run")
            found = measure(*given)
            notes.end(name)
            return found

        return run

    for name, measure in list(MEASURES.items()):
        MEASURES[name] = noted(name, measure)
    run = sys.argv[1]
    command.main([run], standalone_mode=False)
    notes.end("findings and files")
    failed = [path.name for path in Path(run, "failed").glob("analyze-*.json")]
    used = resource.getrusage(resource.RUSAGE_SELF)
    whole = {"cpu_s": used.ru_utime + used.ru_stime, "failed": failed, "parts": notes.rows}
    print(json.dumps(whole))


if __name__ == "__main__":
    main()
