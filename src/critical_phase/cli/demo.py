"""`probe demo`: the whole way on the embedded model."""

import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml

from critical_phase.cli.analyze import analyze_run, say_failures
from critical_phase.cli.console import result, result_json, say
from critical_phase.cli.run_folder import RunFolder, open_run, update_record
from critical_phase.cli.settings import (
    AnalyzeSettings,
    CollectSettings,
    TrainSettings,
    command_line,
)
from critical_phase.differences import apart
from critical_phase.errors import CheckpointError

Made = TypeVar("Made")

SCORED_TWICE = "log:8"
"""Steps that are scored a second time, for the noise floor."""


class Stages:
    """Runs stages one after another and remembers what each one took."""

    def __init__(self) -> None:
        """Start with none."""
        self.rows: list[dict[str, Any]] = []

    def run(self, name: str, work: Callable[[], Made]) -> Made:
        """Do one stage and note its wall time, processor time and peak memory."""
        wall, cpu = time.perf_counter(), time.process_time()
        made = work()
        row = {
            "stage": name,
            "seconds": round(time.perf_counter() - wall, 1),
            "cpu_seconds": round(time.process_time() - cpu, 1),
            "peak_mb": round(peak_bytes() / 1e6),
        }
        self.rows.append(row)
        say(
            f"{name}: {row['seconds']} s ({row['cpu_seconds']} s of processor time), "
            f"peak memory so far {row['peak_mb']} MB"
        )
        return made


def peak_bytes() -> int:
    """Return the largest memory this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def run_demo(out: Path, *, seed: int = 0, command: str = "probe demo") -> dict[str, Any]:
    """Train, collect, analyse and report on the embedded model.

    Args:
        out: Run folder; what it holds is continued.
        seed: Seed of the fine-tuning; the model itself is fixed.
        command: The command line to note in the run.

    Returns:
        Findings, stages with their cost, and the path of the report.

    Raises:
        CheckpointError: The folder holds another run.
    """
    from critical_phase.cli.collect import collect_run  # these load all there is
    from critical_phase.cli.contexts import collect_with
    from critical_phase.cli.train import train_run
    from critical_phase.probes.contexts import AGAIN
    from critical_phase.reports import write_index, write_report

    _refuse_another(RunFolder(out), seed)
    stages = Stages()
    run = stages.run("train", lambda: train_run(out, TrainSettings(seed=seed), command=command))
    stages.run("collect", lambda: collect_run(out, CollectSettings(seed=seed)))
    twice = CollectSettings(seed=seed, checkpoints=SCORED_TWICE)
    stages.run("score again", lambda: collect_with(out, (AGAIN,), twice))
    findings = stages.run("analyze", lambda: analyze_run(out, AnalyzeSettings()))
    update_record(run, "", kind="demo")
    report = stages.run("report", lambda: write_report(out))
    write_index(out.resolve().parent)
    return {"findings": findings, "stages": stages.rows, "report": str(report)}


def _refuse_another(run: RunFolder, seed: int) -> None:
    """Refuse a folder that holds a training of other settings, and name the first of them."""
    from critical_phase.cli.train import with_defaults

    there = _trained_with(run)
    wanted = with_defaults(TrainSettings(seed=seed)).model_dump(mode="json")
    differing = [key for key in ("seed", *wanted) if there.get(key, wanted[key]) != wanted[key]]
    if differing:
        key = differing[0]
        found, asked = apart(there.get(key), wanted[key])
        own = f", or --seed {there.get(key)} to go on with this one" if key == "seed" else ""
        raise CheckpointError(
            f"this folder holds a run with {key} {found}; asked for a demo with {key} {asked}",
            where=str(run.path),
            fix=f"give --out another folder{own}",
        )


def _trained_with(run: RunFolder) -> Mapping[str, Any]:
    """Read the settings of a finished training, or what a stopped one noted beside adapters."""
    if run.config.is_file():
        there: Mapping[str, Any] = yaml.safe_load(run.config.read_text(encoding="utf-8"))["train"]
        return there
    from critical_phase.checkpoints import adapter_identity

    saved = next(run.path.glob("heads/*/checkpoint-*"), None)
    return {} if saved is None else adapter_identity(saved) or {}


@click.command("demo")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/demo"), help="Folder.")
@click.option("--seed", type=int, default=0, help="Seed of the fine-tuning.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(*, out: Path, seed: int, as_json: bool) -> int:
    """Show a real jump on the embedded model: train, collect, analyse, report."""
    done = run_demo(out, seed=seed, command=command_line())
    if as_json:
        result_json({"schema_version": 1, **done})
    else:
        total = sum(row["seconds"] for row in done["stages"])
        say(f"total: {total:.1f} s, peak memory {peak_bytes() / 1e6:.0f} MB")
        result("")
        result(str(done["findings"].get("sentence", "")))
        result(f"report: {done['report']}")
    return say_failures(open_run(out), done["findings"])
