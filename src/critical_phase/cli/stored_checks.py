"""Does all that is stored of a run belong together: one plan, and the adapters that are there?"""

from collections.abc import Callable, Mapping, Sequence

from critical_phase.checkpoints import Series
from critical_phase.cli.changed_adapters import remedy
from critical_phase.cli.run_folder import BASE, RunFolder
from critical_phase.cli.stored_contexts import StoredContexts, StoredEffects, check_adapters
from critical_phase.cli.stored_curvature import check_curvature
from critical_phase.cli.stored_llc import check_llc
from critical_phase.errors import StoreError
from critical_phase.probes import read_attrs


def check_stored(
    run: RunFolder,
    steps: Mapping[str, Sequence[int]],
    series: Mapping[str, Series],
    contexts: StoredContexts,
    effects: StoredEffects,
) -> None:
    """Refuse files of different plans, and files of adapters that are no longer there.

    Args:
        run: The run.
        steps: Steps that have scores, by head; the base among them.
        series: Saved adapters by head.
        contexts: Scores behind other texts.
        effects: Side effects.

    Raises:
        StoreError: A file belongs to another plan, or to other adapters.
    """
    plan = read_attrs(run.scores(BASE, 0))["plan_sha256"]
    for head in (name for name in steps if name != BASE and steps[name]):
        _check_plan(run, plan, head, steps[head])
        saved = {c.step: c.sha256 for c in series.get(head, Series((), ())).checkpoints}
        scores = {step: run.scores(head, step) for step in steps[head]}
        check_adapters(scores, saved, _remedy(run, head, _again(run)))
        for name in contexts.names:
            fix = f"probe collect {run.path} --contexts {name} --overwrite"
            check_adapters(contexts.files(name, head), saved, _remedy(run, head, fix))
        check_llc(run.path, head, saved)
        check_curvature(run.path, head, saved)
        fix = f"probe effects {run.path} --overwrite"
        check_adapters(effects.files(head), saved, _remedy(run, head, fix))


def failed_units(run: RunFolder) -> list[str]:
    """Name the units that failed and were not repaired, in one note; none without any."""
    names = sorted(path.stem for path in (run.path / "failed").glob("*.json"))
    return [f"failed and left out: {', '.join(names)}"] if names else []


def _check_plan(run: RunFolder, plan: str, head: str, steps: Sequence[int]) -> None:
    """Refuse scores that were made for another plan than those of the base."""
    for path in (run.scores(head, step) for step in steps):
        if read_attrs(path)["plan_sha256"] != plan:
            problem = "this file belongs to another plan than the base model's scores"
            raise StoreError(problem, where=str(path), fix=_again(run))


def _again(run: RunFolder) -> str:
    return f"delete this file and repeat the collect of {run.path} that run.json lists"


def _remedy(run: RunFolder, head: str, again: str) -> Callable[[int], str]:
    """Say, by step, how to get an adapter back that changed after collecting."""
    return lambda step: remedy(run, head, step, again)
