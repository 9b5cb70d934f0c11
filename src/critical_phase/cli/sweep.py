"""`probe sweep`: a factorial of training settings, each cell an ordinary run."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from critical_phase.cli.collect import PARTIAL
from critical_phase.cli.console import result, result_json, say
from critical_phase.cli.interrupt import stop_on_interrupt
from critical_phase.cli.settings import command_line
from critical_phase.cli.sweep_cell import CellTask, is_finished
from critical_phase.cli.sweep_file import Sweep, read_sweep
from critical_phase.cli.sweep_pool import Outcome, run_pool, run_serial
from critical_phase.cli.sweep_reuse import head_settings
from critical_phase.cli.sweep_summary import summarise
from critical_phase.cli.train import check_names, with_defaults
from critical_phase.errors import ConfigError

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What one call of a sweep did."""

    outcome: Outcome
    summary: Values
    """Contents of `sweep.json`."""


def sweep_run(
    file: Path, out: Path, *, jobs: int = 1, shard: str | None = None, command: str = ""
) -> SweepReport:
    """Make every cell of a sweep that is not finished, and write what was found.

    Args:
        file: The sweep, as YAML.
        out: Folder of the sweep; every cell is a run below it.
        jobs: Workers on this machine; 1 works in this process.
        shard: `i/n`: only this part of the cells, counted from 1.
        command: The command line to note in every cell.

    Raises:
        InputError: The file cannot be read.
        ConfigError: The file asks for something that cannot be made.
    """
    if jobs < 1:
        raise ConfigError(f"asked for {jobs} jobs", fix="give --jobs a positive number")
    sweep = read_sweep(file)
    every = cell_tasks(sweep, out, command)
    check_cells(every)
    chosen = choose_shard(every, shard)
    with stop_on_interrupt() as stop:
        outcome = run_serial(chosen, stop) if jobs == 1 else run_pool(chosen, jobs, stop)
    return SweepReport(outcome, summarise(out, sweep.name, every))


def cell_tasks(sweep: Sweep, out: Path, command: str) -> list[CellTask]:
    """Turn the cells of a sweep into work."""
    return [
        CellTask(out, sweep.name, cell, sweep.collect, sweep.analyze, command)
        for cell in sweep.cells
    ]


def check_cells(tasks: Sequence[CellTask]) -> None:
    """Refuse before the first cell what would only be found at the last.

    Raises:
        ConfigError: A cell names negatives or a prompt that do not exist, or has no questions
            to be evaluated on; names the cell.
    """
    for task in tasks:
        try:
            check_names(with_defaults(task.cell.train))
        except ConfigError as error:
            where = f"cell {task.cell.name}"
            raise ConfigError(str(error.args[0]), where=where, fix=error.fix) from error


def choose_shard(tasks: Sequence[CellTask], shard: str | None) -> list[CellTask]:
    """Choose one of n parts of the cells; cells that share a head stay together if they can.

    Raises:
        ConfigError: The shard is not `i/n` with i from 1 to n.
    """
    if shard is None:
        return list(tasks)
    number, _, count = shard.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ConfigError(f"cannot read the shard {shard!r}", fix="write i/n, from 1/n to n/n")
    i, n = int(number), int(count)
    order = _by_shared_head(tasks)
    mine = order[len(order) * (i - 1) // n : len(order) * i // n]
    return [task for task in tasks if task in mine]


def _by_shared_head(tasks: Sequence[CellTask]) -> list[CellTask]:
    """Sort cells so that those with the same positive head are neighbours."""
    heads = [head_settings(task.cell.train.model_dump(mode="json"), "positive") for task in tasks]
    return sorted(tasks, key=lambda task: heads.index(heads[tasks.index(task)]))


def plan_lines(tasks: Sequence[CellTask], chosen: Sequence[CellTask]) -> list[str]:
    """Describe what a sweep would do."""
    lines = [f"{len(tasks)} cells, {len(chosen)} in this shard"]
    for task in chosen:
        state = "finished" if is_finished(task) else "to do"
        varied = ", ".join(f"{k}={v}" for k, v in task.cell.varied if v is not None)
        lines.append(f"{state:8} {task.cell.name}  ({task.cell.role}: {varied})")
    return lines


def sweep_command(
    ctx: click.Context,
    /,
    *,
    file: Path,
    out: Path,
    jobs: int,
    shard: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make, resume or list a sweep, as `HELP` says."""
    if dry_run:
        tasks = cell_tasks(read_sweep(file), out, "")
        check_cells(tasks)
        for line in plan_lines(tasks, choose_shard(tasks, shard)):
            result(line)
        return
    report = sweep_run(file, out, jobs=jobs, shard=shard, command=command_line())
    outcome = report.outcome
    if as_json:
        result_json({**report.summary, "outcome": asdict(outcome)})
    else:
        _print(report, out)
    if outcome.left:
        raise KeyboardInterrupt
    if outcome.failed:
        ctx.exit(PARTIAL)


def _print(report: SweepReport, out: Path) -> None:
    outcome = report.outcome
    result(
        f"made {len(outcome.done)}, existing {len(outcome.existing)}, "
        f"failed {len(outcome.failed)}, left {len(outcome.left)}: {out}"
    )
    for name in outcome.failed:
        result(f"failed {name}: {out / 'failed' / f'{name}.json'}")
    missing = sum(cell["state"] != "finished" for cell in report.summary["cells"])
    if missing:
        say(f"{missing} of {len(report.summary['cells'])} cells are not finished")
    result(str(out / "table.md"))
    result(str(out / "index.html"))
