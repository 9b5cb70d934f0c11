"""One run on disk: where its files are, and what run.json says about it."""

import datetime
import importlib.metadata
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critical_phase import __version__
from critical_phase.atomic import write_json
from critical_phase.errors import InputError, StoreError

HEADS = ("positive", "negative")
BASE = "base"
RECORDED = (
    "torch",
    "transformers",
    "peft",
    "transformer-lens",
    "h5py",
    "numpy",
    "scipy",
    "scikit-learn",
)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of one run; interface.md section 5."""

    path: Path

    @property
    def record(self) -> Path:
        """The file that describes the run."""
        return self.path / "run.json"

    @property
    def config(self) -> Path:
        """Resolved settings."""
        return self.path / "config.yaml"

    @property
    def plan(self) -> Path:
        """Rows and read positions."""
        return self.path / "plan.csv"

    @property
    def tokens(self) -> Path:
        """Tokens of every row, readable."""
        return self.path / "tokens.jsonl"

    def questions(self, split: str) -> Path:
        """The run's own copy of the questions of a split, `train` or `eval`."""
        return self.path / "questions" / f"{split}.jsonl"

    def head(self, name: str) -> Path:
        """Checkpoints, log and state of one head."""
        return self.path / "heads" / name

    def scores(self, head: str, step: int) -> Path:
        """Likelihoods of one checkpoint."""
        return self.path / "scores" / head / f"step-{step:08d}.h5"

    def activations(self, head: str, step: int) -> Path:
        """Activations of one checkpoint."""
        return self.path / "activations" / head / f"step-{step:08d}.h5"

    @property
    def analysis(self) -> Path:
        """Results that the report reads."""
        return self.path / "analysis"

    def trained_heads(self) -> tuple[str, ...]:
        """Heads that have a folder of checkpoints."""
        return tuple(head for head in HEADS if self.head(head).is_dir())


def open_run(path: Path) -> RunFolder:
    """Open an existing run.

    Raises:
        InputError: There is no run at this path.
    """
    run = RunFolder(path)
    if not run.record.is_file():
        several = any(path.glob("*/run.json"))
        fix = (
            "name one of the runs in it, or use --index"
            if several
            else (f"probe train --out {path} ...")
        )
        raise InputError("no run here", where=str(path), fix=fix)
    return run


def read_record(run: RunFolder) -> dict[str, Any]:
    """Read run.json.

    Raises:
        StoreError: The file is damaged.
    """
    try:
        value = json.loads(run.record.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"cannot read run.json: {error}", where=str(run.record)) from error
    if not isinstance(value, dict):
        raise StoreError("run.json holds no JSON object", where=str(run.record))
    return value


def update_record(run: RunFolder, command: str, **values: object) -> dict[str, Any]:
    """Change entries of run.json, made new where it is missing, and note the command."""
    record = read_record(run) if run.record.is_file() else _new_record(run)
    record.update(values)
    if command and command not in record["commands"]:
        record["commands"].append(command)
    write_json(run.record, record)
    return record


def _new_record(run: RunFolder) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    versions = {name: importlib.metadata.version(name) for name in RECORDED}
    return {
        "schema_version": 1,
        "name": run.path.resolve().name,
        "created_utc": now.isoformat().replace("+00:00", "Z"),
        "commands": [],
        "headline": "",
        "versions": {
            **versions,
            "critical-phase": __version__,
            "python": platform.python_version(),
        },
    }
