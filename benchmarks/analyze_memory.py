"""Memory and time of `probe analyze` on a run as large as those of real models, by layers stored.

A synthetic run (`synthetic_run.py`) is written to disk for every number of layers asked for: 65
checkpoints, 2,000 rows (500 questions of 4 candidates), width 4,096 in bfloat16, 32 attention
heads with 128 keys in float32, sparsity, adapters of rank 16 on all seven linear maps of the
layers stored. `probe analyze` then reads it in a fresh process with its own defaults; the page
cache is warm. Runs are deleted before the next is made.

peak_mib   most memory the process held (VmHWM, so mapped files count), imports included
parts      the same and process CPU seconds for every measure, in the order in which they run

From two numbers of layers or more, `extrapolated` draws a line through the first and the last for
every part and reads it at --of-layers: the peak is the largest of the parts, the time their sum.
It is no measurement. What grows with layers but not with width or keys can be measured at all
layers by narrow runs (--layers 32 --width 64 --keys 8), what grows with adapters alone by
--layers 1 --adapter-layers 32. --quick writes small runs, to see that it works.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from synthetic_run import make_run
from synthetic_size import Size
from timing import about_machine, parser, report, settle

from critical_phase.probes import check_paths

PROMISE_MIB = 8 * 1024
QUICK = Size(0, checkpoints=12, rows=240, width=256, attention_heads=8, keys=32, rank=4)
HEADS = {1: ("negative",), 2: ("positive", "negative")}


def main() -> None:
    asked = parser(__doc__, quick="small runs of 1 and 2 layers")
    asked.add_argument("--layers", default="1,2,4", help="blocks stored, one run for each")
    asked.add_argument("--checkpoints", type=int, default=65)
    asked.add_argument("--rows", type=int, default=2000)
    asked.add_argument("--width", type=int, default=4096)
    asked.add_argument("--keys", type=int, default=128, help="tokens of the longest row")
    asked.add_argument("--attention-heads", type=int, default=32)
    asked.add_argument("--heads-trained", type=int, default=1, choices=(1, 2))
    asked.add_argument("--adapter-layers", type=int, help="if not those stored")
    asked.add_argument("--adapter-dtype", default="float32", choices=("float32", "bfloat16"))
    asked.add_argument("--base-weights", action="store_true", help="for intruder dimensions")
    asked.add_argument("--of-layers", type=int, default=32, help="extrapolate to so many")
    asked.add_argument("--folder", type=Path, help="where runs are written and deleted")
    asked.add_argument("--validate", action="store_true", help="check every file first")
    arguments = asked.parse_args()
    settle()
    report(measure(arguments), line, as_json=arguments.json)


def line(row: dict[str, Any]) -> str:
    where = f"{row['layers']:>3} layers  {row['part']:22}"
    return f"{where} {row['peak_mib']:8.0f} MiB {row['cpu_s']:8.1f} s CPU {row['wall_s']:8.1f} s"


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    size = asked_size(arguments)
    layers = [1, 2] if arguments.quick else [int(one) for one in arguments.layers.split(",")]
    rows: list[dict[str, Any]] = []
    for count in layers:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            rows += one_run(Path(folder) / "run", replace(size, layers=count), arguments.validate)
    whole = {row["layers"]: row for row in rows if row["part"] == "whole"}
    ratios = {"share_of_8_gib": max(row["peak_mib"] for row in whole.values()) / PROMISE_MIB}
    if len(layers) > 1:
        found = extrapolated(rows, arguments.of_layers)
        rows += found
        ratios["share_of_8_gib_extrapolated"] = found[-1]["peak_mib"] / PROMISE_MIB
        ratios["hours_extrapolated"] = found[-1]["cpu_s"] / 3600
    return {
        "schema_version": 1,
        "name": "analyze_memory",
        "ratios": ratios,
        "rows": rows,
        "shape": {k: v for k, v in vars(size).items() if isinstance(v, int)},
        "heads": list(size.heads),
        "dtypes": {"residual": str(size.store_dtype), "adapters": str(size.adapter_dtype)},
        "page_cache": "warm",
        **about_machine(),
        "quick": arguments.quick,
    }


def asked_size(arguments: argparse.Namespace) -> Size:
    heads = HEADS[arguments.heads_trained]
    if arguments.quick:
        return replace(QUICK, heads=heads)
    return Size(
        0,
        checkpoints=arguments.checkpoints,
        rows=arguments.rows,
        width=arguments.width,
        heads=heads,
        attention_heads=arguments.attention_heads,
        keys=arguments.keys,
        adapted_layers=arguments.adapter_layers,
        adapter_dtype=getattr(torch, arguments.adapter_dtype),
        base_weights=arguments.base_weights,
    )


def one_run(path: Path, size: Size, validate: bool) -> list[dict[str, Any]]:
    """Write a run, analyse it in a fresh process, and give one row per part and one for all."""
    began = time.perf_counter()
    make_run(path, size)
    written = time.perf_counter() - began
    if validate and (faults := check_paths([path]).faults):
        raise SystemExit(f"{faults[0].file}: {faults[0].message}")
    size_bytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    child = Path(__file__).with_name("analyze_child.py")
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, str(child), str(path)], stdout=subprocess.PIPE)
    output = process.communicate()[0].decode()
    if process.returncode:
        raise SystemExit(f"the analysis ended with code {process.returncode}")
    found = json.loads(output.splitlines()[-1])
    rows = [{"layers": size.layers, **part} for part in found["parts"]]
    whole = {
        "layers": size.layers,
        "part": "whole",
        "cpu_s": found["cpu_s"],
        "wall_s": time.perf_counter() - began,
        "peak_mib": max(part["peak_mib"] for part in rows),
        "bytes_on_disk": size_bytes,
        "seconds_to_write": written,
        "failed": found["failed"],
    }
    return [*rows, whole]


def extrapolated(rows: list[dict[str, Any]], layers: int) -> list[dict[str, Any]]:
    """Draw a line through the first and the last number of layers, part by part."""
    least, most = (pick(row["layers"] for row in rows) for pick in (min, max))
    first = {row["part"]: row for row in rows if row["layers"] == least}
    last = {row["part"]: row for row in rows if row["layers"] == most}
    made: list[dict[str, Any]] = []
    for part in (one for one in last if one in first and one != "whole"):
        here: dict[str, Any] = {"layers": layers, "part": part}
        for name in ("cpu_s", "wall_s", "peak_mib"):
            slope = (last[part][name] - first[part][name]) / (most - least)
            slope *= part != "imports"
            here[name] = max(last[part][name], last[part][name] + slope * (layers - most))
        made.append(here)
    whole = {
        "layers": layers,
        "part": "whole, extrapolated",
        "cpu_s": sum(row["cpu_s"] for row in made),
        "wall_s": sum(row["wall_s"] for row in made),
        "peak_mib": max(row["peak_mib"] for row in made),
    }
    return [*({**row, "part": f"{row['part']}, extrapolated"} for row in made), whole]


if __name__ == "__main__":
    main()
