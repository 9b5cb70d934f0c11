"""Print the tables of docs/what_the_tool_says.md: the whole analysis, several seeds, two models.

Run from the repository with CRITICAL_PHASE_SHARED naming the folder that holds the pretrained
model and its questions: `.venv/bin/python docs/scripts/what_the_tool_says.py --seeds 5`. Runs
are kept in --out and continued, so it can be stopped at any time.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

Findings = dict[str, Any]


def probe(*arguments: object) -> None:
    """Run one command of the tool."""
    call = [sys.executable, "-c", "from critical_phase.cli import main; main()"]
    subprocess.run([*call, *map(str, arguments)], check=True, stdout=sys.stderr)


def organism(run: Path, seed: int, shared: Path) -> None:
    """The embedded model, near misses, the settings of `probe demo`."""
    probe("train", "--out", run, "--seed", seed)
    probe("collect", run)
    _again(run)


def blimp(run: Path, seed: int, shared: Path) -> None:
    """BLiMP pairs on the pretrained Llama, every second step, 400 of the test pairs."""
    probe(
        *("train", "--out", run, "--model", shared / "models/stories260k"),
        *("--questions", shared / "data/blimp_train.jsonl"),
        *("--eval-questions", shared / "data/blimp_test.jsonl"),
        *("--equal-candidates", "drop", "--lr", "1e-3", "--seed", seed, "--steps", 64),
    )
    steps = ",".join(str(step) for step in range(0, 65, 2))
    probe("collect", run, "--limit", 400, "--checkpoints", steps)
    _again(run, "--limit", 400)


def _again(run: Path, *limit: object, steps: int = 64) -> None:
    """Score some checkpoints a second time, and without the question, the last one too."""
    few = ",".join(str(2**power) for power in range(1, 7) if 2**power <= steps)
    probe("collect", run, "--contexts", "again", "--checkpoints", few, *limit)
    probe("collect", run, "--contexts", "answer_only,domain", "--checkpoints", few, *limit)


MODELS = {"organism": organism, "blimp": blimp}


def findings(name: str, seed: int, out: Path, shared: Path) -> Findings:
    """Make one run, or go on with it, and read what the tool says of it."""
    run = out / f"{name}-{seed}"
    path = run / "analysis/findings.json"
    if not path.is_file():
        MODELS[name](run, seed, shared)
        probe("analyze", run)
        probe("report", run)
    found: Findings = json.loads(path.read_text("utf-8"))
    return found


def sentences(seeds: list[Findings]) -> None:
    """Print the headline of every seed with what is below it."""
    print("| seed | what the tool says | abrupt changes | first of them | failed |")
    print("|---|---|---|---|---|")
    for seed, found in enumerate(seeds):
        placed = [one for one in found["changes"] if one["lead_steps"] is not None]
        first = min(placed, key=lambda one: one["lead_steps"], default=None)
        text = "none"
        if first is not None:
            low, high = first["lead_interval"]
            where = "" if first["layer"] is None else f" layer {first['layer']}"
            text = f"{first['quantity']}{where}: {first['lead_steps']:.1f} [{low:.1f}, {high:.1f}]"
        failed = ", ".join(one["measure"] for one in found["failed"]) or "none"
        print(f"| {seed} | {found['sentence']} | {len(found['changes'])} | {text} | {failed} |")


def verdicts(seeds: list[Findings]) -> None:
    """Print how often each verdict was given."""
    print("| hypothesis | verdicts over seeds | evidence of seed 0 |")
    print("|---|---|---|")
    for at, one in enumerate(seeds[0]["verdicts"]):
        count = Counter(found["verdicts"][at]["verdict"] for found in seeds)
        text = "; ".join(f"{kind} {n}" for kind, n in count.most_common())
        print(f"| {one['hypothesis']} | {text} | {'; '.join(one['evidence'][:2])} |")


def main() -> None:
    """Make what is missing and print both tables of both models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/what_the_tool_says"))
    parser.add_argument("--models", default=",".join(MODELS))
    options = parser.parse_args()
    shared = Path(os.environ.get("CRITICAL_PHASE_SHARED", "../shared")).resolve()
    for name in options.models.split(","):
        found = [findings(name, seed, options.out, shared) for seed in range(options.seeds)]
        print(f"\n## {name}\n")
        sentences(found)
        print()
        verdicts(found)


if __name__ == "__main__":
    main()
