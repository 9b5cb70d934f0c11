"""Print the rows of a control in the tables of docs/heads.md: mean and error over seeds.

Run from the repository, after `probe control` and `probe collect --scores-only` of each
seed: `.venv/bin/python docs/scripts/control_table.py runs/random-*`.
"""

import argparse
from pathlib import Path

import numpy as np

from critical_phase.analysis.scores.curves import combine, top_hits
from critical_phase.cli.loading import StoredRun
from critical_phase.cli.run_folder import open_run

EXAMPLES = (0, 8, 16, 32, 64, 128, 256, 512)
MODES = ("likra", "base_likra")


def accuracies(run: Path, mode: str) -> list[float]:
    """Read the accuracy of one run at the chosen examples; NaN where all scores tie."""
    arrays = StoredRun(open_run(run))
    scores = combine(arrays, mode, 1.0)
    values = top_hits(arrays.rows, scores.values).value.mean(axis=1)
    known = dict(zip((scores.steps * arrays.batch_size).tolist(), values.tolist(), strict=True))
    return [known.get(examples, float("nan")) for examples in EXAMPLES]


def main() -> None:
    """Print one row per mode."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+")
    runs = parser.parse_args().runs
    print("| mode | seeds |", " | ".join(map(str, EXAMPLES)), "|")
    for mode in MODES:
        table = np.array([accuracies(run, mode) for run in runs])
        error = table.std(axis=0, ddof=1) / np.sqrt(len(table)) if len(table) > 1 else table * 0
        cells = [
            "-" if np.isnan(mean) else f"{mean:.3f} ± {one:.3f}"
            for mean, one in zip(table.mean(axis=0), error, strict=True)
        ]
        print(f"| {mode} | {len(table)} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
