"""Read the saved results of a run: `run.json` and `analysis/*.json`, nothing else."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critical_phase.errors import StoreError
from critical_phase.reports.causes_shapes import Causes
from critical_phase.reports.elements import Measure, measure_from_json

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Results:
    """Everything a page is made of."""

    run: Json
    """Contents of `run.json`."""
    findings: Json
    """Contents of `analysis/findings.json`."""
    measures: dict[str, Measure]
    """Measure name -> its numbers, for every file found."""
    causes: Causes | None = None
    """What interventions found, where `with_causes` has read them."""


def load_results(run: Path) -> Results:
    """Read one run.

    Raises:
        StoreError: No run or no analysis there, or a file that cannot be understood.
    """
    if not (run / "run.json").is_file():
        raise StoreError(
            "no run here: run.json is missing",
            where=str(run),
            fix="give the folder that probe train, probe collect or probe demo wrote",
        )
    analysis = run / "analysis"
    if not (analysis / "findings.json").is_file():
        raise StoreError("no analysis to report", where=str(analysis), fix=f"probe analyze {run}")
    files = [path for path in sorted(analysis.glob("*.json")) if path.stem != "findings"]
    return Results(
        read_json(run / "run.json"),
        _findings(analysis / "findings.json"),
        {path.stem: measure_from_json(read_json(path), str(path)) for path in files},
    )


def read_json(path: Path) -> Json:
    """Read one JSON object.

    Raises:
        StoreError: The file cannot be read, is not JSON, holds NaN, or is not an object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path.name} is not readable JSON: {error}",
            where=str(path),
            fix="write it again: probe analyze RUN",
        ) from error
    if not isinstance(value, dict):
        raise StoreError(f"{path.name} must hold one JSON object", where=str(path))
    return value


def report_address(run: Path) -> Path:
    """Give the path of a run's report.

    Raises:
        StoreError: The report has not been written.
    """
    path = run / "report" / "report.html"
    if not path.is_file():
        raise StoreError("no report yet", where=str(run), fix=f"probe report {run}")
    return path


def _findings(path: Path) -> Json:
    findings = read_json(path)
    for key, kind in (("accuracy", dict), ("changes", list), ("verdicts", list)):
        if not isinstance(findings.get(key, kind()), kind):
            raise StoreError(f"field {key}: expected a {kind.__name__}", where=str(path))
    if not isinstance(findings.get("jump"), dict | None):
        raise StoreError("field jump: expected an object or null", where=str(path))
    return findings


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON; write null")
