"""One run on disk: where its files are, and what run.json says about it."""

import datetime
import importlib.metadata
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from critical_phase import __version__
from critical_phase.atomic import alone, write_json
from critical_phase.cli.unfinished import unfinished_training
from critical_phase.errors import InputError, StoreError

if TYPE_CHECKING:
    from critical_phase.checkpoints import Series

HEADS = ("positive", "negative")
BASE = "base"
MOST_NAMED = 6
"""Runs that an error names, of those beside a path without one."""
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

    @property
    def series_file(self) -> Path:
        """Where checkpoints made elsewhere are; absent where all heads were trained here."""
        return self.path / "series.json"

    def trained_heads(self) -> tuple[str, ...]:
        """Heads that have a folder of checkpoints."""
        return tuple(head for head in HEADS if self.head(head).is_dir())

    def known_heads(self) -> tuple[str, ...]:
        """Heads with checkpoints, trained here or made elsewhere."""
        elsewhere = elsewhere_of(self)
        return tuple(h for h in HEADS if self.head(h).is_dir() or h in elsewhere)

    def log(self, head: str) -> Path:
        """The training log of a head in our form; it need not exist."""
        elsewhere = elsewhere_of(self)
        if self.head(head).is_dir() or head not in elsewhere:
            return self.head(head) / "log.csv"
        return Path(elsewhere[head]["location"]) / "log.csv"

    def series(self, head: str) -> "Series":
        """Hash the checkpoints of a head, in its folder or where series.json says.

        Raises:
            CheckpointError: The checkpoints are gone or damaged.
        """
        from critical_phase.cli.series_files import known_series  # loads torch

        return known_series(self, head)


def elsewhere_of(run: RunFolder) -> dict[str, dict[str, Any]]:
    """Read where the checkpoints of heads made elsewhere are; empty where there are none.

    Raises:
        StoreError: series.json is damaged.
    """
    if not run.series_file.is_file():
        return {}
    try:
        heads = json.loads(run.series_file.read_text(encoding="utf-8"))["heads"]
        return {head: {**entry, "location": entry["location"]} for head, entry in heads.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"cannot read series.json: {error!r}",
            where=str(run.series_file),
            fix="repeat probe collect --series ... --out with --overwrite",
        ) from error


def open_run(path: Path) -> RunFolder:
    """Open an existing run.

    Raises:
        InputError: There is no run at this path, or its training has not ended.
    """
    run = RunFolder(path)
    if not run.record.is_file():
        if (stopped := unfinished_training(path)) is not None:
            raise stopped
        raise InputError("no run here", where=str(path), fix=_instead(path))
    return run


def _instead(path: Path) -> str:
    """Say what to name instead of a path without a run: runs in it or beside it, or a new one."""
    if any(path.glob("*/run.json")):
        return "name one of the runs in it, or use --index"
    beside = sorted(record.parent.name for record in path.parent.glob("*/run.json"))
    if beside:
        more = f" and {len(beside) - MOST_NAMED} more" if len(beside) > MOST_NAMED else ""
        return f"runs in {path.parent}: {', '.join(beside[:MOST_NAMED])}{more}"
    return f"probe train --out {path} ..."


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
    with alone(run.path):
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
