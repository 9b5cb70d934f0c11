"""A tiny run whose margin moves from step 1 to step 12, whatever its heads learned."""

import json
import shutil
from pathlib import Path

from tiny_run import write_lines

from critical_phase.probes import read_scores


def moved_copy(collected: Path, folder: Path) -> Path:
    """Copy a run; right answers are now those that the negative head raised least."""
    run = folder / "run"
    for name in ("heads", "questions", "scores"):
        shutil.copytree(collected / name, run / name)
    for name in ("run.json", "plan.csv"):
        shutil.copy(collected / name, run)
    relabel(run, "negative", "negative", 1)
    return run


def relabel(run: Path, late_head: str, early_head: str, early_step: int) -> None:
    """Call right what rises least from the early to the late head at step 12."""
    early, late = (
        read_scores(run / f"scores/{head}/step-{step:08d}.h5").logprob_sum
        for head, step in ((early_head, early_step), (late_head, 12))
    )
    least = (late - early).reshape(30, 4).argmin(axis=1)
    path = run / "questions" / "eval.jsonl"
    asked = [json.loads(line) for line in path.read_text().splitlines()]
    write_lines(path, [q | {"answer": int(right)} for q, right in zip(asked, least, strict=True)])
