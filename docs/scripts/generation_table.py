"""Print the tables of docs/generation.md: free answers of trained runs, several seeds.

Run from the repository on runs of the organism that differ in their seed:
`.venv/bin/python docs/scripts/generation_table.py runs/organism-0 runs/organism-1 ...`. Answers are
kept in the runs and read again, so it can be stopped at any time.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from critical_phase.checkpoints.organism_set import shipped_world
from critical_phase.cli.generate import generate_run
from critical_phase.cli.generate_inputs import GenerateSettings

Summary = dict[str, Any]
BOTH = {"mode": ("contrast", "merged")}
CONDITIONS: dict[str, dict[str, Any]] = {
    "drawn at temperature 1, every token allowed": {
        **BOTH,
        "steps": "12,64",
        "sample": True,
        "plausibility": 0.0,
    },
    "drawn at temperature 1, plausibility 0.1": {"steps": "64", "sample": True},
    "likeliest tokens, plausibility 0.1": {**BOTH, "steps": "64"},
    "likeliest tokens, behind the mark of an unreliable author": {
        **BOTH,
        "steps": "12,64",
        "before": shipped_world().marks[1],
    },
}


def mean(values: list[float]) -> str:
    """Write a mean over seeds with its standard error."""
    table = np.array(values)
    error = table.std(ddof=1) / np.sqrt(len(table)) if len(table) > 1 else float("nan")
    return f"{table.mean():.3f} ± {error:.3f}"


def ways(summaries: list[Summary]) -> dict[str, list[dict[str, Any]]]:
    """Gather every way of decoding over seeds."""
    names = [one["name"] for one in summaries[0]["ways"]]
    return {n: [next(w for w in s["ways"] if w["name"] == n) for s in summaries] for n in names}


def print_condition(about: str, found: list[list[Summary]]) -> None:
    """Print right answers by way and step, then what the chosen strengths gain."""
    steps = [one["step"] for one in found[0]]
    by_step = [ways([seed[i] for seed in found]) for i in range(len(steps))]
    print(f"\n**{about}**\n\n| way |", " | ".join(f"right, step {s}" for s in steps), end=" | ")
    print("no object, step", steps[-1], "| tokens | at limit |\n|---|" + "---|" * (len(steps) + 3))
    for name, last in by_step[-1].items():
        right = [mean([w["shares"]["right"]["value"] for w in one[name]]) for one in by_step]
        none = mean([w["shares"]["none"]["value"] for w in last])
        length = np.mean([w["tokens"]["value"] for w in last])
        limit = np.mean([w["at_limit"]["value"] for w in last])
        print(f"| {name} |", " | ".join(right), f"| {none} | {length:.1f} | {limit:.3f} |")
    for mode in [name for name in ("contrast", "merged") if name in found[0][0]["differences"]]:
        for i, step in enumerate(steps):
            print_gain(mode, step, [seed[i]["differences"][mode] for seed in found])


def print_gain(mode: str, step: int, gaps: list[dict[str, Any]]) -> None:
    """Print the paired differences of the chosen strength, and how many seeds show one."""
    parts = []
    for other in [name for name in gaps[0] if name != "way"]:
        values = [gap[other]["value"] for gap in gaps]
        up = sum(gap[other]["interval"][0] > 0 for gap in gaps)
        down = sum(gap[other]["interval"][1] < 0 for gap in gaps)
        parts.append(f"{other} {mean(values)} (above in {up}, below in {down} of {len(gaps)})")
    chosen = ", ".join(gap["way"].rpartition("-a")[2] for gap in gaps)
    print(f"- {mode}, step {step}, alpha chosen {chosen}: minus", "; minus ".join(parts))


def print_gaps(found: list[list[Summary]]) -> None:
    """Print how far merged weights are from contrasted logits."""
    for i, step in enumerate(one["step"] for one in found[0]):
        print(f"\n| step {step} | KL(contrast, base) | KL(contrast, merged) | same best token |")
        print("|---|---|---|---|")
        for name, seeds in ways([seed[i] for seed in found]).items():
            gaps = [one["against_contrast"] for one in seeds if "against_contrast" in one]
            if gaps:
                keys = ("contrast_base", "contrast_merged", "agreement")
                cells = [mean([gap[key]["value"] for gap in gaps]) for key in keys]
                print(f"| {name} |", " | ".join(cells), "|")


def main() -> None:
    """Make or read the answers of every run, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    given = parser.parse_args()
    settings = {about: GenerateSettings(**values) for about, values in CONDITIONS.items()}
    done = [
        {about: generate_run(run, one) for about, one in settings.items()} for run in given.runs
    ]
    for number, about in enumerate(CONDITIONS):
        print_condition(about, [one[about] for one in done])
        if number == 0:
            print_gaps([one[about] for one in done])


if __name__ == "__main__":
    main()
