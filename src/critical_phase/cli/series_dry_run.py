"""What `probe collect --series ... --dry-run` says: the series, then rows, units and bytes."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from critical_phase.checkpoints import ORGANISM
from critical_phase.cli.collect import prepare
from critical_phase.cli.collect_lines import plan_lines
from critical_phase.cli.contexts import plan_contexts
from critical_phase.cli.engine_options import EngineChoice
from critical_phase.cli.run_folder import RunFolder
from critical_phase.cli.series_run import SeriesPlan, make_series_run, plan_series_lines
from critical_phase.cli.settings import CollectSettings


def series_lines(
    out: Path,
    series: SeriesPlan,
    settings: CollectSettings,
    contexts: Sequence[str],
    choice: EngineChoice,
) -> Iterator[str]:
    """Describe a run of a series and what would be collected into it, without making it.

    Args:
        out: Folder of the run that is not made.
        series: Series, base and questions.
        settings: Which checkpoints, what to store.
        contexts: Other texts before the answers.
        choice: Who would collect.

    Yields:
        Lines; without rows and bytes where the base is not on this disk, which is said.
    """
    yield from plan_series_lines(series, contexts)
    base = str(series.record["model"])
    if base != ORGANISM and not Path(base).expanduser().is_dir():
        yield "rows and bytes: known once the base is a folder on this disk; nothing is fetched"
        return
    with TemporaryDirectory() as folder:
        made = make_series_run(Path(folder) / out.name, series)
        ready = prepare(made.path, choice.planning(settings), fetch=False)
        ready = replace(ready, run=RunFolder(out), units=choice.part_of(ready.units))
        beside = plan_contexts(ready, contexts, settings)
        yield "to collect:"
        yield from plan_lines(ready, beside, overwrite=True)
