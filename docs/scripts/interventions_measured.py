"""Print the tables of docs/interventions_measured.md from runs that were intervened in.

Run from the repository after `probe intervene` on every run, and `probe intervene FIRST --also ...`
on the first: `.venv/bin/python docs/scripts/interventions_measured.py runs/seed0 runs/seed1 ...`.
It reads `interventions/*.json` and changes nothing.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Values = dict[str, Any]
MET = {True: "met", False: "not met", None: "open"}


def answers(run: Path, plan: str) -> Iterator[Values]:
    """Read the answers of one plan, those of which the table of cells is in the file first."""
    for file in sorted((run / "interventions").glob(f"{plan}-*.json")):
        found = json.loads(file.read_text(encoding="utf-8"))
        if found.get("share") is not None and found.get("points"):
            yield found


def band(share: float, interval: Sequence[float]) -> str:
    """Write a share with its interval."""
    return f"{share:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def effect(one: Values | None, *, lost: bool) -> str:
    """Write what a cell brings, or takes away; shares count from the early model."""
    if one is None:
        return "none"
    (low, high), value = one["interval"], one["share"]
    return band(1 - value, (1 - high, 1 - low)) if lost else band(value, (low, high))


def print_answers(runs: Sequence[Path], plan: str) -> None:
    """Print one line per answer."""
    print(f"\n**{plan}**\n")
    print(
        "| run | between steps | margin | about | brings or takes away | control | one more draw"
        " | other direction | points met |\n|---|---|---|---|---|---|---|---|---|"
    )
    for run in runs:
        for one in answers(run, plan):
            early, late = (one["ends"][end]["margin"] for end in ("early", "late"))
            another = one.get("control_another")
            cells = [
                run.name,
                f"{one['from'].rpartition('@')[2]}, {one['to'].rpartition('@')[2]}",
                f"{early:.2f} to {late:.2f}",
                one["about"],
                band(one["share"], one["interval"]),
                band(one["control_share"], one["control_interval"]),
                "" if another is None else f"{another[0]:.2f} to {another[1]:.2f}",
                effect(one["opposite"], lost=not one["lost"]),
                ", ".join(str(p["number"]) for p in one["points"] if p["met"]) or "none",
            ]
            print("|", " | ".join(cells), "|")


def print_layers(runs: Sequence[Path]) -> None:
    """Print what each layer brings alone, and all layers but one."""
    print("\n**by layer**\n\n| run | layer | alone | all others |")
    print("|---|---|---|---|")
    for run in runs:
        for one in answers(run, "graft"):
            rows = {row["name"]: row for row in one.get("cells", ())}
            for name in [n for n in rows if n.startswith("denoise/single/")]:
                layer = name.rpartition("/")[2]
                pair = [rows[name], rows[f"denoise/leave_one_out/{layer}"]]
                shown = [band(row["share"], row["interval"]) for row in pair]
                print(f"| {run.name} | {layer} |", " | ".join(shown), "|")


def print_points(run: Path, plan: str) -> None:
    """Print what the seven points of the first run say after other runs were held beside it."""
    for one in answers(run, plan):
        print(f"\n**{run.name}, {one['plan']}**: {one['sentence']}\n")
        for point in one["points"]:
            print(f"{point['number']}. {point['asks']}: {MET[point['met']]} ({point['found']})")
        for other in one.get("repeats", {}).get("runs", ()):
            size = "no share" if other["share"] is None else band(other["share"], other["interval"])
            found = "found" if other["found"] else "not found"
            print(f"- {other['run']} ({other['dataset']}): {size}, {found} {other['why']}")


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "runs", type=Path, nargs="+", help="the one that others are held beside first"
    )
    parser.add_argument("--plan", default="graft")
    given = parser.parse_args()
    print_answers(given.runs, given.plan)
    if given.plan == "graft":
        print_layers(given.runs)
    print_points(given.runs[0], given.plan)


if __name__ == "__main__":
    main()
