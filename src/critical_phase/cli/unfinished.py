"""How far a training came that has not ended: it leaves checkpoints and no run.json yet."""

from pathlib import Path

from critical_phase.errors import InputError


def unfinished_training(path: Path) -> InputError | None:
    """Say at which step the training in a folder stopped; None where none was begun."""
    heads = sorted(folder for folder in (path / "heads").glob("*") if folder.is_dir())
    if not heads or (path / "run.json").is_file():
        return None
    steps = ", ".join(f"{head.name} head: {_reached(head)}" for head in heads)
    return InputError(
        f"no run here yet: training stopped, or is still running ({steps})",
        where=str(path),
        fix="repeat probe train as it was typed: it goes on from there",
    )


def _reached(head: Path) -> str:
    # These load torch, which `probe report` of a finished run does without.
    from critical_phase.checkpoints import adapter_identity
    from critical_phase.checkpoints.training_state import DONE, TrainingFolder

    folder = TrainingFolder(head, {})
    saved = folder.saved()
    last = max((*saved, *folder.states()), default=None)
    if last is None:
        return "before step 0"
    recipe = (
        (adapter_identity(folder.checkpoint(saved[0])) or {}).get("recipe", {}) if saved else {}
    )
    of = f" of {recipe['steps']}" if "steps" in recipe else ""
    return f"{'finished at ' if (head / DONE).is_file() else ''}step {last}{of}"
