"""`probe analyze`: turn stored arrays into curves, change points and findings."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from critical_phase.atomic import write_json, write_text
from critical_phase.cli.console import bar, result, result_json, say
from critical_phase.cli.origin import mode_names, origin
from critical_phase.cli.result_csv import measure_csv
from critical_phase.cli.run_argument import run_argument
from critical_phase.cli.run_folder import RunFolder, open_run, read_record, update_record
from critical_phase.cli.settings import AnalyzeSettings, command_line, resolve

if TYPE_CHECKING:
    from critical_phase.analysis import FailedMeasure, MeasureResult
    from critical_phase.cli.loading import StoredRun

_LARGE = 1 << 21
"""Numbers of one layer at one checkpoint from which linear algebra gains by more threads."""


def analyze_run(
    path: Path,
    settings: AnalyzeSettings,
    *,
    controls: Sequence[Path] = (),
    command: str = "",
) -> dict[str, Any]:
    """Analyse a collected run and write `analysis/`.

    Args:
        path: Run folder.
        settings: Draws, permutations, weight, seed.
        controls: Runs that differ from this one in one planned thing.
        command: The command line to note in the run.

    Returns:
        The findings, as in `analysis/findings.json`.

    Raises:
        InputError: There is no run, or its files are missing or damaged.
        ConfigError: A run given as a control controls nothing of this one.
    """
    from threadpoolctl import threadpool_limits  # these load much, which --help does without

    from critical_phase.analysis import AnalysisSettings, analyze, to_json
    from critical_phase.cli.loading import StoredRun
    from critical_phase.cli.run_controls import read_controls

    run = open_run(path)
    arrays = StoredRun(run)
    arrays.take_controls(read_controls(run, arrays, controls))
    chosen = AnalysisSettings(
        seed=settings.seed,
        draws=settings.draws,
        permutations=settings.permutations,
        weight=settings.weight,
        run=run.path.resolve().name,
        made=origin(read_record(run)),
        names=mode_names(read_record(run)),
    )
    with bar("analyze", number_of_measures()) as progress, threadpool_limits(_threads(arrays)):
        done = analyze(arrays, chosen, progress=_counted(progress))
    for name, measure in done.measures.items():
        _write_measure(run, name, measure)
    _note_failures(run, done.failed)
    findings: dict[str, Any] = to_json(done)["findings"]
    write_json(run.analysis / "findings.json", findings)
    update_record(run, command, headline=done.headline, **_controls_of(run, arrays, controls))
    return findings


def _controls_of(run: RunFolder, arrays: "StoredRun", paths: Sequence[Path]) -> dict[str, Any]:
    """Return what run.json says of the controls of the last analysis; nothing without any."""
    if not paths and "control_runs" not in read_record(run):
        return {}
    pairs = zip(arrays.controls, paths, strict=True)
    return {"control_runs": [one.noted | {"path": str(path.resolve())} for one, path in pairs]}


def _threads(arrays: "StoredRun") -> int | None:
    """Use one thread for small matrices, which two divide at a loss; None: as many as there are."""
    if not (arrays.layers and arrays.positions):
        return 1
    states = arrays.base_residual(arrays.layers[0], arrays.positions[0])
    return 1 if states.size < _LARGE else None


def number_of_measures() -> int:
    """Count the measures that an analysis runs."""
    from critical_phase.analysis import MEASURES

    return len(MEASURES)


def _counted(progress: Callable[[int], None]) -> Callable[[str], None]:
    """Turn calls that name a finished measure into a count."""
    done: list[str] = []

    def report(name: str) -> None:
        done.append(name)
        progress(len(done))

    return report


def _write_measure(run: RunFolder, name: str, measure: "MeasureResult") -> None:
    from critical_phase.analysis import to_json

    write_json(run.analysis / f"{name}.json", to_json(measure))
    write_text(run.analysis / f"{name}.csv", measure_csv(to_json(measure)))


def failed_path(run: RunFolder, measure: str) -> Path:
    """Return where the traceback of a failed measure lies."""
    return run.path / "failed" / f"analyze-{measure}.json"


def _note_failures(run: RunFolder, failed: "tuple[FailedMeasure, ...]") -> None:
    """Write what failed, and take back the notes of measures that work now."""
    from critical_phase.analysis import MEASURES

    for name in MEASURES:
        failed_path(run, name).unlink(missing_ok=True)
    for one in failed:
        note = {"schema_version": 1, "command": "analyze", "traceback": one.traceback}
        write_json(failed_path(run, one.measure), note | one.finding)


@click.command("analyze")
@run_argument
@click.option("--draws", type=int, help="Question-bootstrap draws (1000).")
@click.option("--permutations", type=int, help="Permutations of the right answer (200).")
@click.option("--weight", type=float, help="Weight of the subtracted term (1).")
@click.option("--seed", type=int, help="Seed of every random draw (0).")
@click.option(
    "--control",
    "controls",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A collected run that differs in its negatives or learning rate alone; repeatable.",
)
@click.option("--config", type=click.Path(path_type=Path), help="YAML file, section 'analyze'.")
@click.option("--json", "as_json", is_flag=True, help="Print findings.json.")
def command(
    *,
    path: Path,
    controls: tuple[Path, ...],
    config: Path | None,
    as_json: bool,
    **given: object,
) -> int:
    """Locate the jump of the run at PATH and what moved with it."""
    settings = resolve(AnalyzeSettings, "analyze", config, **given)
    findings = analyze_run(path, settings, controls=controls, command=command_line())
    if as_json:
        result_json(findings)
    else:
        result(str(findings.get("sentence", "")))
        result(str(path / "analysis" / "findings.json"))
        result(f"next: probe report {shlex.quote(str(path))}")
    return say_failures(open_run(path), findings)


def say_failures(run: RunFolder, findings: dict[str, Any]) -> int:
    """Name every measure that failed; return the exit code."""
    for one in findings["failed"]:
        where = failed_path(run, one["measure"])
        say(f"failed {one['measure']}: {one['error']}: {one['message']} ({where})")
    return 3 if findings["failed"] else 0
