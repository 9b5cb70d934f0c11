"""Real collections: whatever collects, and however often it is killed, the bytes are the same."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_run import Probe

from critical_phase.cli import main
from critical_phase.cli.collect import prepare
from critical_phase.cli.collect_engine import collect_by, source_of
from critical_phase.cli.engine_options import EngineChoice, read_shard, take_engine
from critical_phase.cli.settings import CollectSettings
from critical_phase.errors import CheckpointError, ConfigError
from critical_phase.probes import CollectReport, Progress

PROBE = (sys.executable, "-c", "from critical_phase.cli import main; main()")
STEPS = ("--checkpoints", "0,4,12")
UNITS = 7  # the base, and three steps of two heads


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sums depend on the number of threads: one here, and one in every worker."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # writes nothing into the home folder
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def fresh(run: Path, to: Path) -> Path:
    """Copy a run without anything collected, under the name that its files note."""
    to = to / run.name
    collected = ("scores", "activations", "analysis", "failed", "plan.csv", "manifest.jsonl")
    shutil.copytree(run, to, ignore=shutil.ignore_patterns(*collected))
    return to


@pytest.fixture(scope="module")
def serial(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run, collected by this process alone."""
    out = fresh(trained_run, tmp_path_factory.mktemp("serial"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.raises(SystemExit) as stopped:
        main(["collect", str(out), *STEPS])
    torch.set_num_threads(before)
    assert not stopped.value.code
    return out


def contents(run: Path) -> dict[str, bytes]:
    """Every file that a collection made, byte for byte; lines of the manifest in any order."""
    paths = [*run.glob("scores/*/*"), *run.glob("activations/*/*"), run / "plan.csv"]
    found = {path.relative_to(run).as_posix(): path.read_bytes() for path in paths}
    lines = (run / "manifest.jsonl").read_bytes().splitlines()
    return {**found, "manifest": b"\n".join(sorted(lines)), "tokens": run_tokens(run)}


def run_tokens(run: Path) -> bytes:
    return (run / "tokens.jsonl").read_bytes()


def skip_unless_installed(name: str) -> None:
    package = {"ray": "ray", "slurm": "submitit"}.get(name)
    if package:
        pytest.importorskip(package, reason=f"{package} is not installed: '.[{name}]'")


OF_ENGINE = {
    "local": ("--jobs", "2"),
    "ray": ("--jobs", "2"),
    "slurm": ("--jobs", "1", "--slurm", "cluster=local"),
    "serial": ("--retries", "1"),
}


@pytest.mark.parametrize("engine", OF_ENGINE)
def test_every_engine_writes_the_bytes_of_this_process(
    engine: str, trained_run: Path, serial: Path, tmp_path: Path, probe: Probe
) -> None:
    skip_unless_installed(engine)
    out = fresh(trained_run, tmp_path)
    shown = probe("collect", out, *STEPS, "--engine", engine, *OF_ENGINE[engine], "--device", "cpu")
    assert shown.code == 0, shown.err
    assert shown.out.startswith(f"collected {UNITS}, existing 0, failed 0"), shown.out
    assert contents(out) == contents(serial)
    again = probe("collect", out, *STEPS, "--engine", engine, *OF_ENGINE[engine])
    assert again.out.startswith(f"collected 0, existing {UNITS}, failed 0")


def test_an_engine_names_all_damaged_files_and_removes_what_a_kill_left(
    serial: Path, tmp_path: Path, probe: Probe
) -> None:
    run = Path(shutil.copytree(serial, tmp_path / serial.name))
    torn = run / f".tokens.jsonl.{os.uname().nodename}.999999999.tmp"
    torn.touch()
    for step in (0, 4):
        path = run / f"scores/negative/step-{step:08d}.h5"
        path.write_bytes(path.read_bytes()[:2000])
    shown = probe("collect", run, *STEPS, "--engine", "serial", "--retries", 1)
    assert shown.code == 4
    assert "2 stored files are damaged:\n  step-00000000.h5: " in shown.err
    assert not torn.exists()


def test_shards_make_the_whole_run_in_any_order(
    trained_run: Path, serial: Path, tmp_path: Path, probe: Probe
) -> None:
    out = fresh(trained_run, tmp_path)
    for shard in ("3/3", "1/3", "2/3"):
        shown = probe("collect", out, *STEPS, "--shard", shard)
        assert shown.code == 0, shown.err
    assert contents(out) == contents(serial)


def test_a_shard_says_that_it_works_without_the_base(
    trained_run: Path, tmp_path: Path, probe: Probe
) -> None:
    shown = probe("collect", fresh(trained_run, tmp_path), *STEPS, "--shard", f"{UNITS}/{UNITS}")
    assert f"shard {UNITS}/{UNITS}: 1 of {UNITS} units" in shown.err
    assert "works its thresholds out by itself" in shown.err


def test_two_shards_at_once_share_a_manifest(
    trained_run: Path, serial: Path, tmp_path: Path
) -> None:
    out = fresh(trained_run, tmp_path)
    running = [
        subprocess.Popen([*PROBE, "collect", str(out), *STEPS, "--shard", shard])
        for shard in ("1/2", "2/2")
    ]
    assert [process.wait() for process in running] == [0, 0]
    assert contents(out) == contents(serial)


def test_a_pool_that_is_killed_goes_on_to_the_same_bytes(
    trained_run: Path, serial: Path, tmp_path: Path, probe: Probe
) -> None:
    out = fresh(trained_run, tmp_path)
    arguments = ["collect", str(out), *STEPS, "--jobs", "2"]
    running = subprocess.Popen([*PROBE, *arguments], stderr=subprocess.DEVNULL)
    while not list(out.glob("scores/*/step-00000004.h5")) and running.poll() is None:
        time.sleep(0.005)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    before = {path: path.stat().st_mtime_ns for path in out.glob("scores/*/step-*.h5")}
    assert 0 < len(before) < UNITS
    assert probe("collect", out, *STEPS).code == 0  # by another engine
    assert contents(out) == contents(serial)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def collect_with_damage(out: Path, choice: EngineChoice, finished: list[Progress]) -> CollectReport:
    """Collect with one adapter that changed after it was listed."""
    settings = CollectSettings(checkpoints="0,4,12", device="cpu")
    ready = prepare(out, settings)
    units = list(ready.units)
    checkpoint = units[2].checkpoint
    assert checkpoint is not None
    units[2] = replace(units[2], checkpoint=replace(checkpoint, sha256="0" * 64))
    return collect_by(
        choice,
        out,
        ready.model,
        ready.plan,
        units,
        source=source_of(ready.record, settings),
        settings=ready.settings,
        provenance={"run_id": out.name, "seed": 0},
        overwrite=False,
        progress=finished.append,
        stop=lambda: False,
    )


def test_a_unit_that_fails_is_written_down_and_costs_no_other(
    trained_run: Path, tmp_path: Path
) -> None:
    out = fresh(trained_run, tmp_path)
    finished: list[Progress] = []
    report = collect_with_damage(out, EngineChoice("serial", retries=1), finished)
    assert [failure.unit.name for failure in report.failed] == ["positive-step-00000004"]
    assert len(report.done) == UNITS - 1
    note = json.loads(report.failed[0].path.read_text())
    assert "the adapter did not land" in note["message"]
    assert "Traceback" in note["traceback"]
    assert [one.finished for one in finished] == list(range(1, UNITS + 1))


def test_fail_fast_raises_the_error_of_the_unit(trained_run: Path, tmp_path: Path) -> None:
    choice = EngineChoice("serial", retries=1, fail_fast=True)
    with pytest.raises(CheckpointError, match="the adapter did not land"):
        collect_with_damage(fresh(trained_run, tmp_path), choice, [])


def test_a_worker_with_another_base_model_is_refused(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = "critical_phase.cli.collect_worker.model_sha256"
    monkeypatch.setattr(place, lambda model: "e" * 64)
    with pytest.raises(CheckpointError, match="another one: its weights hash to eeeeeeee"):
        collect_with_damage(fresh(trained_run, tmp_path), EngineChoice("serial", retries=1), [])


def test_a_dry_run_counts_the_units_of_the_shard(serial: Path, probe: Probe) -> None:
    shown = probe("collect", serial, *STEPS, "--shard", "2/3", "--dry-run")
    assert "units: 2, of which 2 exist" in shown.out


GIVEN = {
    "engine": None,
    "jobs": None,
    "shard": None,
    "fail_fast": False,
    "retries": 0,
    "ray_address": None,
    "slurm": None,
}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"engine": "serial", "jobs": 2}, "serial has one worker, asked for 2"),
        ({"engine": "slurm"}, "the number of Slurm jobs is open"),
        ({"jobs": 2, "slurm": "partition=gpu"}, "--slurm belongs to --engine slurm"),
        ({"ray_address": "here:1"}, "--ray-address belongs to --engine ray"),
        ({"engine": "slurm", "jobs": 1, "slurm": "gpu"}, "cannot read 'gpu' of --slurm"),
        ({"shard": "0/3"}, "cannot read the shard '0/3'"),
        ({"shard": "4/3"}, "cannot read the shard '4/3'"),
        ({"retries": -1}, "asked for -1 retries"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(
    given: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        take_engine(GIVEN | given)


def test_jobs_alone_mean_workers_here() -> None:
    choice, rest = take_engine(GIVEN | {"jobs": 3, "device": "cpu"})
    assert (choice.engine, choice.jobs, rest) == ("local", 3, {"device": "cpu"})
    assert take_engine(GIVEN)[0].here


def test_slurm_options_are_read_as_numbers_and_words() -> None:
    text = "partition=gpu,timeout_min=120"
    choice, _ = take_engine(GIVEN | {"engine": "slurm", "jobs": 4, "slurm": text})
    assert choice.slurm == {"partition": "gpu", "timeout_min": 120}


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_shards_are_a_partition(count: int) -> None:
    units = tuple(range(7))
    parts = [
        EngineChoice(shard=read_shard(f"{i}/{count}")).part_of(units) for i in range(1, count + 1)
    ]
    assert sorted(unit for part in parts for unit in part) == list(units)


def test_a_gpu_by_number_is_refused_where_workers_choose(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="every worker gets a GPU of its own"):
        EngineChoice("local", 2).make(tmp_path, "cuda:1", lambda text: None)
