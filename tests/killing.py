"""Kill `probe collect` at random moments and compare what resuming makes with one calm run.

`python tests/killing.py --kills 100` prints the table; the tests use a smaller number.
"""

import argparse
import collections
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from nursery import Nursery
from tiny_models import tiny_llama, word_tokenizer
from tiny_run import colour_questions, write_lines

from critical_phase.cli import main as probe
from critical_phase.probes import validate

IMPORTS = """
import transformers.models.llama.modeling_llama, peft, h5py, safetensors.torch
from critical_phase.cli import main
import critical_phase.cli.collect, critical_phase.cli.contexts
"""
COLLECT = 'os.dup2(0, 2); main(["collect", *words])'  # its bars and notes are not shown


def make_run(folder: Path, *, steps: int = 5, questions: int = 10) -> Path:
    """Train both heads of the tiny model."""
    tiny_llama().save_pretrained(folder / "model")
    word_tokenizer().save_pretrained(folder / "model")
    train = write_lines(folder / "train.jsonl", colour_questions(0, 60))
    asked = write_lines(folder / "eval.jsonl", colour_questions(60, questions))
    arguments = ["--out", folder / "run", "--model", folder / "model", "--questions", train]
    arguments += ["--eval-questions", asked, "--steps", steps, "--lr", 0.05]
    try:
        probe(["train", *map(str, arguments)])
    except SystemExit as stopped:
        if stopped.code:
            raise
    return folder / "run"


def collecting() -> Nursery:
    """Children that run `probe collect` with the words they are given."""
    return Nursery(IMPORTS, COLLECT)


def contents(run: Path) -> dict[str, bytes]:
    """Every file of a run; the manifest, whose order is that of the work, as sorted lines."""
    files = {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*") if p.is_file()}
    for name in [name for name in files if name.endswith("manifest.jsonl")]:
        files[name] = b"\n".join(sorted(set(whole_lines(run / name))))
    return files


def whole_lines(manifest: Path) -> Iterator[bytes]:
    """Lines that a kill did not cut."""
    for line in manifest.read_bytes().split(b"\n") if manifest.exists() else ():
        try:
            json.loads(line)
        except ValueError:
            continue
        yield line


def temporary_files(run: Path) -> set[Path]:
    return set(run.rglob(".*.tmp"))


def where_killed(run: Path, before: set[Path]) -> str:
    """Say from what lies there at which kind of moment a kill came."""
    if fresh := temporary_files(run) - before:
        kind = "activations or scores" if any(".h5." in path.name for path in fresh) else "other"
        return f"while a file was written ({kind})"
    files = {str(p.relative_to(run)) for p in run.rglob("step-*.h5")}
    listed = {json.loads(line)["file"] for line in whole_lines(run / "manifest.jsonl")}
    if files - listed:
        return "between a file and its line in the manifest"
    scores = sum(name.startswith("scores") for name in files)
    if not files:
        return "before the first file"
    if len(files) != 2 * scores:
        return "between the two files of a unit"
    return "between files: loading, forward pass, end"


@dataclass
class Table:
    """What the kills found."""

    kills: int = 0
    runs: int = 0
    moments: collections.Counter[str] = field(default_factory=collections.Counter)
    checked: int = 0
    """Final files that were read in full right after a kill."""
    different: list[str] = field(default_factory=list)
    """Files that differ from the calm run's; must stay empty."""


def kill_many(trained: Path, work: Path, kills: int, seed: int) -> Table:
    """Kill, check every final file, resume, and compare with a calm run, until enough kills."""
    rng, table = np.random.default_rng(seed), Table()
    with collecting() as nursery:
        calm = work / "calm" / "run"
        shutil.copytree(trained, calm)
        nursery.start(str(calm))  # answers once everything is imported
        begin = time.perf_counter()
        assert nursery.status() == 0
        seconds = time.perf_counter() - begin
        expected = contents(calm)
        while table.kills < kills:
            run = work / f"killed-{table.runs}" / "run"
            shutil.copytree(trained, run)
            while _killed(nursery, run, float(rng.uniform(0, 1.05 * seconds)), table, kills):
                pass
            found = contents(run)
            table.runs += 1
            table.different += [f"{run}: {name}" for name in expected.keys() | found.keys()
                                if expected.get(name) != found.get(name)]  # fmt: skip
    return table


def _killed(nursery: Nursery, run: Path, delay: float, table: Table, kills: int) -> bool:
    """Collect for a while; say whether a kill ended it before its own end."""
    before = temporary_files(run)
    if table.kills >= kills:
        nursery.start(str(run))
        assert nursery.status() == 0
        return False
    if not nursery.killed_after(delay, str(run)):
        return False
    table.kills += 1
    if table.kills % 10 == 0:
        sys.stderr.write(f"{table.kills} kills\n")
    table.moments[where_killed(run, before)] += 1
    for path in sorted(run.rglob("step-*.h5")):
        validate(path)
        table.checked += 1
    return True


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trained = make_run(Path(folder) / "trained")
        table = kill_many(trained, Path(folder), asked.kills, asked.seed)
    say(f"{table.kills} kills over {table.runs} runs")
    for moment, count in table.moments.most_common():
        say(f"{count:5} {moment}")
    say(f"{table.checked} final files read in full after a kill, none damaged")
    say(f"files that differ from the calm run: {len(table.different)}")
    for name in table.different:
        say(f"      {name}")
    sys.exit(bool(table.different))


if __name__ == "__main__":
    main()
