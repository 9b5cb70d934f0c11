"""What went not quite as meant in a collection that ended well, one line each."""

from collections.abc import Iterator
from pathlib import Path

from critical_phase.probes import CollectReport, non_finite_files, unit_path


def trouble_lines(run: Path, report: CollectReport) -> Iterator[str]:
    """Name batches that were cut, work done twice, and values that are not finite.

    Args:
        run: Run folder.
        report: What one call did; files that were there before are looked at too.
    """
    if report.cuts:
        yield (
            f"{report.cuts} batches did not fit the memory and were cut in half: values may differ "
            "in the last digits from whole batches; --batch-tokens N makes all of them smaller"
        )
    if report.twice:
        names = ", ".join(unit.name for unit in report.twice[:8])
        more = ", ..." if len(report.twice) > 8 else ""
        yield (
            f"{len(report.twice)} units were also measured by another process, which finished "
            f"first and whose files stay ({names}{more}); --shard i/n divides the work"
        )
    units = (*report.done, *report.existing)
    for found in non_finite_files([unit_path(run, "activations", unit) for unit in units]):
        name = f"{found.file.parent.name}-{found.file.stem}"
        yield f"{name}: {found.count} values are not finite, first in {found.first}"
