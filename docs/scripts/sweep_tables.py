"""Print the tables of docs/heads_measured.md from a finished sweep.

Run from the repository after `probe sweep docs/sweeps/organism-kinds.yaml --out runs/kinds`:
`.venv/bin/python docs/scripts/sweep_tables.py runs/kinds`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

EXAMPLES = (0, 8, 16, 32, 64, 128, 256, 512)
WEIGHTS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.3, 1.5)
MODES = ("sft", "likra", "base_likra", "pos_base")
Values = dict[str, Any]


def cell(mean: float | None, error: float | None) -> str:
    """Write a mean with its standard error; a dash where it is undefined."""
    if mean is None:
        return "-"
    return f"{mean:.3f}" if error is None else f"{mean:.3f} ±{error:.3f}"


def print_accuracy(sweep: Values) -> None:
    """Print accuracy by examples, sums of log-probabilities."""
    print("| mode | negatives |", " | ".join(map(str, EXAMPLES)), "|")
    print("|---|---|" + "---|" * len(EXAMPLES))
    for mode in MODES:
        for curve in sweep["curves"]:
            if curve["mode"] != mode or curve["normalisation"] != "sum" or curve["role"] == "size":
                continue
            at = {n: i for i, n in enumerate(curve["examples"])}
            cells = [
                cell(curve["mean"][at[n]], curve["standard_error"][at[n]]) if n in at else "-"
                for n in EXAMPLES
            ]
            print(f"| {mode} | {curve['group']} |", " | ".join(cells), "|")


def print_weights(sweep: Values) -> None:
    """Print accuracy by weight at the last step."""
    print("\n| mode | negatives |", " | ".join(f"w={w:g}" for w in WEIGHTS), "|")
    print("|---|---|" + "---|" * len(WEIGHTS))
    for row in sweep["weights"]:
        if row["last"] and row["normalisation"] == "sum" and row["role"] != "size":
            known = dict(zip(row["weights"], row["mean"], strict=True))
            cells = [cell(known[w], None) for w in WEIGHTS]
            print(f"| {row['mode']} | {row['group']} |", " | ".join(cells), "|")


def print_jumps(sweep: Values) -> None:
    """Print where accuracy has risen half-way, by three clocks."""
    print("\n| mode | cell | seeds with a rise | steps | examples | summed lr |")
    print("|---|---|---|---|---|---|")
    for row in sweep["jumps"]:
        if row["mode"] in ("likra", "base_likra") and row["normalisation"] == "sum":
            clocks = [
                cell(row.get(name), row.get(f"{name}_standard_error"))
                for name in ("steps", "examples", "summed_lr")
            ]
            seeds = f"{row['found']} of {row['seeds']}"
            print(f"| {row['mode']} | {row['group']} | {seeds} |", " | ".join(clocks), "|")


def print_sizes(sweep: Values) -> None:
    """Print checkpoints of one run beside one finished run per training-set size."""
    sizes = sorted(
        {n for c in sweep["sizes"] if c["kind"] != "longitudinal" for n in c["examples"]}
    )
    print("\n| mode | |", " | ".join(map(str, sizes)), "|")
    print("|---|---|" + "---|" * len(sizes))
    for curve in sweep["sizes"]:
        if curve["normalisation"] != "sum":
            continue
        at = {n: i for i, n in enumerate(curve["examples"])}
        cells = [cell(curve["mean"][at[n]], curve["standard_error"][at[n]]) for n in sizes]
        print(f"| {curve['mode']} | {curve['label']} |", " | ".join(cells), "|")


def main() -> None:
    """Print every table of one sweep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    sweep = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    print_accuracy(sweep)
    print_weights(sweep)
    print_jumps(sweep)
    if sweep["sizes"]:
        print_sizes(sweep)


if __name__ == "__main__":
    main()
