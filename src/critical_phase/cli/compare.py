"""`probe compare`: runs side by side, on the questions that all of them were asked."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from critical_phase.analysis import AnalysisSettings, to_json
from critical_phase.analysis.many_runs.comparison import comparison
from critical_phase.analysis.results import Table, column
from critical_phase.atomic import write_json
from critical_phase.cli.console import result, result_json, say
from critical_phase.cli.loading import StoredRun
from critical_phase.cli.run_folder import RunFolder, open_run, read_record
from critical_phase.cli.seeds_design import short_names
from critical_phase.cli.settings import AnalyzeSettings, resolve
from critical_phase.differences import in_words
from critical_phase.errors import ConfigError
from critical_phase.reports.compare import write_compare_page
from critical_phase.reports.text import scrub

Values = Mapping[str, Any]

TOLD = ("model", "model_sha256", "dtype", "heads", "questions", "question_set_sha256", "seed")
"""Entries of run.json that the table of settings compares, beside the recipe."""


def compare_runs(paths: Sequence[Path], out: Path, settings: AnalyzeSettings) -> dict[str, Any]:
    """Compare runs and write `compare.json` and the page.

    Args:
        paths: Two to eight run folders; others are held against the first.
        out: Folder to write to.
        settings: Draws, weight, seed.

    Returns:
        The contents of `compare.json`.

    Raises:
        InputError: There is no run, or its files are missing or damaged.
        ConfigError: Nothing that can be compared; says why.
    """
    runs = [open_run(path) for path in paths]
    names = short_names(paths)
    if len(set(names)) < len(names):
        raise ConfigError("a run is named twice", fix="name each run once")
    records = dict(zip(names, map(read_record, runs), strict=True))
    arrays = dict(zip(names, map(StoredRun, runs), strict=True))
    chosen = AnalysisSettings(seed=settings.seed, draws=settings.draws, weight=settings.weight)
    found = comparison(arrays, chosen)
    found = replace(found, tables=(settings_table(records), *found.tables))
    notes = [f"{name}: {note}" for name, one in arrays.items() for note in one.notes]
    value = to_json(found)
    value["warnings"] = [*value["warnings"], *map(scrub, notes)]
    value |= {
        "sentence": found.facts["sentence"],
        "runs": [
            {"name": name, "report": _report(run, out), "headline": record.get("headline", "")}
            for run, (name, record) in zip(runs, records.items(), strict=True)
        ],
    }
    write_json(out / "compare.json", value)
    for note in value["warnings"]:
        say(f"note: {note}")
    return value


def settings_table(records: Mapping[str, Values]) -> Table:
    """List every setting, those that differ first; a setting that all lack is left out."""
    names = list(records)
    told = {name: _settings(record) for name, record in records.items()}
    keys = list(dict.fromkeys(key for one in told.values() for key in one))
    rows = []
    for key in keys:
        values = [in_words(told[name].get(key)) for name in names]
        differ = len({repr(told[name].get(key)) for name in names}) > 1
        rows.append([key, "yes" if differ else "no", *map(scrub, values)])
    rows.sort(key=lambda row: row[1] == "no")
    columns = [column("setting", "setting", kind="text"), column("differs", "differs", kind="text")]
    columns += [column(f"run_{at}", f"in {name}", kind="text") for at, name in enumerate(names)]
    count = sum(row[1] == "yes" for row in rows)
    caption = f"{count} settings differ; they come first. From run.json of each run."
    return Table("settings", "What differs between the runs", caption, columns, rows)


def _settings(record: Values) -> dict[str, Any]:
    """Flatten what a run was made with."""
    recipe = record.get("recipe") or {}
    found = {key: record[key] for key in TOLD if record.get(key) is not None}
    if isinstance(recipe.get("targets"), list):
        recipe = {**recipe, "targets": sorted(recipe["targets"])}  # a set: its order says nothing
    return found | {f"recipe: {key}": value for key, value in recipe.items()}


def _report(run: RunFolder, out: Path) -> str:
    """Address a run's own report from the page; empty where there is none."""
    report = run.path.resolve() / "report" / "report.html"
    if not report.is_file():
        return ""
    return Path(os.path.relpath(report, out.resolve())).as_posix()


def compare_command(
    *, paths: tuple[Path, ...], out: Path, config: Path | None, as_json: bool, **given: object
) -> None:
    """Hold the runs at PATHS against the first of them, and write a page."""
    value = compare_runs(paths, out, resolve(AnalyzeSettings, "analyze", config, **given))
    page = write_compare_page(out)
    if as_json:
        result_json(value)
        return
    result(str(value["sentence"]))
    result(str(page))
