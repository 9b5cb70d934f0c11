"""What a collection would do, as lines for `probe collect --dry-run`."""

from collections.abc import Iterator, Mapping

from critical_phase.cli.collect import Prepared
from critical_phase.cli.console import brief_steps
from critical_phase.cli.contexts import FOLDER
from critical_phase.cli.run_folder import RunFolder
from critical_phase.probes import Plan, check_plan, estimate, unit_path


def plan_lines(
    ready: Prepared, contexts: Mapping[str, Plan], *, overwrite: bool = False
) -> Iterator[str]:
    """Describe a prepared collection and its contexts, without doing it.

    Args:
        ready: From `prepare`.
        contexts: Rows of every context that is asked for.
        overwrite: Whether another plan may be replaced.

    Raises:
        StoreError: The run, or one of its contexts, holds another plan.
    """
    if not overwrite:
        check_plan(ready.plan, ready.run.plan, no_text=ready.settings.no_text)
        for name, plan in contexts.items():
            check_plan(plan, RunFolder(ready.run.path / FOLDER / name).plan)
    guess = estimate(
        ready.run.path,
        ready.model.config,
        ready.plan,
        ready.units,
        settings=ready.settings,
        model=ready.model,
    )
    steps: dict[str, list[int]] = {}
    for unit in ready.units:
        steps.setdefault(unit.head, []).append(unit.step)
    for head, saved in steps.items():
        yield f"{head}: {len(saved)} checkpoints: {brief_steps(saved)}"
    asked = f"{len(ready.questions)} questions ({ready.available} available)"
    yield f"rows: {ready.plan.rows} of {asked}"
    yield f"units: {len(guess.units)}, of which {len(guess.existing)} exist"
    for name, plan in contexts.items():
        folder = ready.run.path / FOLDER / name
        there = sum(unit_path(folder, "scores", unit).exists() for unit in ready.units)
        yield (
            f"context {name}: {plan.rows} rows, {int(plan.key_length.sum())} tokens, "
            f"{len(ready.units)} units, of which {there} exist"
        )
    yield (
        f"to write: {guess.bytes_needed / 1e6:.1f} MB; "
        f"free on the disk: {guess.bytes_free / 1e9:.1f} GB"
    )
