"""Is an analysis, or a page, still of the files of its run? Read off the times of the files.

A copy that does not keep times mixes them up, so lines say where they are read from.
"""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from critical_phase.cli.run_folder import RunFolder

State = Literal["missing", "older", "unfinished", "done"]
SOURCES = ("scores", "activations", "contexts", "effects")
"""Folders of a run that an analysis reads."""


def analysis_state(run: RunFolder) -> tuple[State, Path | None]:
    """Say whether an analysis is there and was written after all stored files.

    Returns:
        `older`, with the newest of the stored files that were written later; `unfinished`,
        with a result that is newer than the findings, which are written last; else no file.
    """
    findings = run.analysis / "findings.json"
    if not findings.is_file():
        return "missing", None
    stored = (file for name in SOURCES for file in (run.path / name).rglob("step-*.h5"))
    if (later := _later(stored, findings)) is not None:
        return "older", later
    later = _later(run.analysis.glob("*.json"), findings)
    return ("done", None) if later is None else ("unfinished", later)


def report_state(run: RunFolder) -> State:
    """Say whether the page is there and was written after the analysis."""
    page, findings = run.path / "report" / "report.html", run.analysis / "findings.json"
    if not page.is_file():
        return "missing"
    return "done" if _later([findings], page) is None else "older"


def analysis_line(run: RunFolder) -> str:
    """Write the state of the analysis, and the command that mends it."""
    command = f"(probe analyze {shlex.quote(str(run.path))})"
    state, file = analysis_state(run)
    name = "" if file is None else file.relative_to(run.path)
    return "analysis: " + {
        "missing": f"missing {command}",
        "older": f"done, but by its time {name} was written later {command}",
        "unfinished": f"stopped half-way: by its time {name} is newer than the findings {command}",
        "done": "done",
    }.get(state, "")


def report_line(run: RunFolder) -> str:
    """Write the state of the page; empty where there is nothing to say before an analysis."""
    state = report_state(run)
    if state == "missing" and analysis_state(run)[0] == "missing":
        return ""
    command = f"(probe report {shlex.quote(str(run.path))})"
    words = {
        "missing": f"missing {command}",
        "older": f"by its time older than the analysis {command}",
    }
    return f"report: {words.get(state, 'done')}"


def _later(files: Iterable[Path], than: Path) -> Path | None:
    """Return the newest of some files if it was written after another."""
    times = {file: file.stat().st_mtime_ns for file in files if file.is_file()}
    if not times or not than.is_file():
        return None
    newest = max(times, key=lambda file: times[file])
    return newest if times[newest] > than.stat().st_mtime_ns else None
