"""`probe seeds`: several runs of one design that differ in their seed, analysed together."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from critical_phase.atomic import write_json, write_text
from critical_phase.cli.console import result, result_json, say
from critical_phase.cli.result_csv import measure_csv
from critical_phase.cli.run_folder import open_run, read_record
from critical_phase.cli.seeds_design import check_designs, short_names
from critical_phase.cli.settings import AnalyzeSettings, resolve

if TYPE_CHECKING:
    from critical_phase.analysis import MeasureResult, Table

SHOWN = ("run", "quantity", "verdict", "tau_step", "low", "high", "first", "last", "p_adjusted")
"""Columns of the table of seeds that are printed."""


def seeds_run(paths: Sequence[Path], out: Path, settings: AnalyzeSettings) -> dict[str, Any]:
    """Analyse runs that differ in nothing but their seed, and write JSON and CSV.

    Args:
        paths: Run folders, at least two, scored on the same questions.
        out: Folder for `seeds.json`, `seeds.csv` (every seed) and `curves.csv` (means).
        settings: Draws, weight, seed.

    Returns:
        The contents of `seeds.json`.

    Raises:
        InputError: There is no run, or its files are missing or damaged.
        ConfigError: The runs are of different designs; names the difference.
    """
    from critical_phase.analysis import AnalysisSettings, to_json  # these load much
    from critical_phase.analysis.many_runs.seeds import seeds
    from critical_phase.cli.loading import StoredRun

    runs = [open_run(path) for path in paths]
    names = short_names(paths)
    records = [read_record(run) for run in runs]
    check_designs(names, runs, records)
    chosen = AnalysisSettings(seed=settings.seed, draws=settings.draws, weight=settings.weight)
    arrays = dict(zip(names, map(StoredRun, runs), strict=True))
    found = seeds(arrays, chosen)
    value = to_json(found) | {
        "sentence": found.facts["sentence"],
        "abrupt": found.facts["abrupt"],
        "trained_with_seed": {
            name: record.get("seed") for name, record in zip(names, records, strict=True)
        },
    }
    write_json(out / "seeds.json", value)
    write_text(out / "seeds.csv", _csv(found.tables[0]))
    write_text(out / "curves.csv", measure_csv(value))
    _print(found)
    return value


def _csv(table: "Table") -> str:
    """Write one table; missing values are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column["key"] for column in table.columns])
    writer.writerows(table.rows)
    return text.getvalue()


def _print(found: "MeasureResult") -> None:
    """Show every seed on standard error, so that --json leaves standard output to JSON."""
    table = found.tables[0]
    keys = [column["key"] for column in table.columns]
    chosen = [keys.index(key) for key in SHOWN]
    lines = [list(SHOWN), *([_cell(row[at]) for at in chosen] for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        say("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    for text in found.warnings:
        say(f"note: {text}")


def _cell(value: object) -> str:
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


@click.command("seeds")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write to.")
@click.option("--draws", type=int, help="Bootstrap draws of seeds and questions (1000).")
@click.option("--weight", type=float, help="Weight of the subtracted term (1).")
@click.option("--seed", type=int, help="Seed of every random draw (0).")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file, section 'analyze'.")
@click.option("--json", "as_json", is_flag=True, help="Print seeds.json.")
def command(
    *, paths: tuple[Path, ...], out: Path, config: Path | None, as_json: bool, **given: object
) -> None:
    """Compare the runs at PATHS, which differ in nothing but their seed."""
    value = seeds_run(paths, out, resolve(AnalyzeSettings, "analyze", config, **given))
    if as_json:
        result_json(value)
        return
    result(str(value["sentence"]))
    result(str(out / "seeds.json"))
