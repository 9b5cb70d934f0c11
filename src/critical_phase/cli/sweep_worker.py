"""A worker of a sweep: makes the cells it is given, with its output in the cell's log.

This module loads nothing heavy by itself, so that the environment of the worker is set
before torch is imported.
"""

import contextlib
from multiprocessing.connection import Connection
from pathlib import Path


def work(link: Connection) -> None:
    """Make cells until None comes; answer each with a status and a message."""
    from critical_phase.cli.interrupt import stop_on_interrupt
    from critical_phase.cli.sweep_cell import make_cell, note_failure

    while True:
        try:
            task = link.recv()
        except (EOFError, KeyboardInterrupt):
            return
        if task is None:
            return
        log: Path = task.folder / "logs" / f"{task.cell.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        answer = ("done", "")
        with log.open("a", encoding="utf-8") as file, contextlib.redirect_stderr(file):
            try:
                with stop_on_interrupt() as stop:
                    make_cell(task, stop)
            except KeyboardInterrupt:
                answer = ("left", "")
            except Exception as error:
                note_failure(task, error, str(error))
                answer = ("failed", str(error))
        link.send(answer)
