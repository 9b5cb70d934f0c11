"""Damaged files are found by name; a disk that is full, closed or shared loses nothing."""

import contextlib
import ctypes
import json
import multiprocessing
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from flipping import everything, flip, regions

from critical_phase.atomic import alone
from critical_phase.checkpoints import file_sha256
from critical_phase.errors import StoreError
from critical_phase.probes import CollectSettings, Plan, Unit, collect, unit_path, validate
from critical_phase.probes.manifest import Manifest

BASE = Unit("base", 0)
LEAN = CollectSettings(("residual",))
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def run(plan: Plan, make_model: Callable[..., Any], tmp_path: Path) -> Path:
    """A run with the base collected."""
    folder = tmp_path / "run"
    collect(folder, make_model("llama"), plan, (BASE,), settings=LEAN)
    return folder


def lines_of(run: Path) -> list[dict[str, Any]]:
    text = (run / "manifest.jsonl").read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines() if line]


@pytest.mark.parametrize("kind", ["activations", "scores"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.9999])
def test_a_truncated_file_is_found_by_name(kind: Any, share: float, run: Path) -> None:
    path = unit_path(run, kind, BASE)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(StoreError, match=r"damaged(.|\n)*step-00000000\.h5"):
        validate(path)


@pytest.mark.parametrize("region", ["values", "checksum", "header"])
def test_a_flipped_bit_never_gives_another_number_in_silence(
    region: str, run: Path, tmp_path: Path
) -> None:
    path, rng = unit_path(run, "activations", BASE), np.random.default_rng(1)
    places = rng.choice(np.flatnonzero(regions(path) == region), size=12)
    table = flip(path, places * 8 + rng.integers(0, 8, size=12), tmp_path / "flipped.h5")
    found = {kind for _, kind in table}
    if region != "header":
        assert found == {"refused"}
    # Headers carry no checksum of their own: there the hash in the manifest finds every flip.
    assert found <= {"refused", "changed nothing", "changed a value", "crashes"}


def test_reading_a_file_gives_the_same_twice(run: Path) -> None:
    path = unit_path(run, "activations", BASE)
    assert everything(path) == everything(path)


def _add_many(run: Path, number: int) -> None:
    manifest = Manifest(run / "manifest.jsonl")
    for step in range(40):
        path = run / f"file-{number}-{step}.h5"
        path.write_text(f"{number} {step}" * 400)
        manifest.add("scores", Unit(f"head-{number}", step), path, {"step": step})


def test_many_processes_append_to_one_manifest_and_no_line_is_lost(run: Path) -> None:
    workers = [FORK.Process(target=_add_many, args=(run, number)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    lines = lines_of(run)
    assert len(lines) == 2 + 160
    assert all(file_sha256(run / line["file"]) == line["sha256"] for line in lines)


def test_a_line_that_another_process_left_torn_costs_no_other_line(run: Path) -> None:
    ours = Manifest(run / "manifest.jsonl")  # it has looked at the file before the tear
    with (run / "manifest.jsonl").open("a") as file:
        file.write('{"file": "scores/torn')
    (run / "new.h5").write_text("new")
    ours.add("scores", Unit("base", 1), run / "new.h5", {})
    kept = [line for line in (run / "manifest.jsonl").read_text().splitlines() if "}" in line]
    assert [json.loads(line)["file"] for line in kept][-1] == "new.h5"
    assert len(kept) == 3


def test_two_processes_that_write_one_file_list_it_once_and_a_new_content_again(run: Path) -> None:
    first, second = (Manifest(run / "manifest.jsonl") for _ in range(2))
    (run / "new.h5").write_text("new")
    for manifest in (first, second):
        manifest.add("scores", Unit("base", 1), run / "new.h5", {})
    assert len(lines_of(run)) == 3
    (run / "new.h5").write_text("newer")
    first.add("scores", Unit("base", 1), run / "new.h5", {})
    assert lines_of(run)[-1]["sha256"] == file_sha256(run / "new.h5")


def test_a_deleted_manifest_is_written_again_from_the_files(
    run: Path, plan: Plan, make_model: Callable[..., Any]
) -> None:
    before = lines_of(run)
    (run / "manifest.jsonl").unlink()
    report = collect(run, make_model("llama"), plan, (BASE,), settings=LEAN)
    assert report.existing == (BASE,)
    assert sorted(map(str, lines_of(run))) == sorted(map(str, before))


def test_a_kill_between_a_file_and_its_line_leaves_no_file_unlisted(
    run: Path, plan: Plan, make_model: Callable[..., Any]
) -> None:
    before = lines_of(run)
    unit_path(run, "scores", BASE).unlink()
    (run / "manifest.jsonl").unlink()
    torn = run / f".tokens.jsonl.{os.uname().nodename}.999999999.tmp"
    torn.touch()
    report = collect(run, make_model("llama"), plan, (BASE,), settings=LEAN)
    assert report.done == (BASE,)
    assert sorted(map(str, lines_of(run))) == sorted(map(str, before))
    assert not torn.exists()


def test_damage_is_not_listed_as_sound_when_the_manifest_is_gone(
    run: Path, plan: Plan, make_model: Callable[..., Any]
) -> None:
    path = unit_path(run, "activations", BASE)
    content, at = bytearray(path.read_bytes()), int(np.flatnonzero(regions(path) == "values")[99])
    content[at] ^= 1
    path.write_bytes(content)
    (run / "manifest.jsonl").unlink()
    with pytest.raises(StoreError, match=r"damaged(.|\n)*activations"):
        collect(run, make_model("llama"), plan, (BASE,), settings=LEAN)


def copies_of(run: Path, count: int) -> tuple[Unit, ...]:
    """Put the files of the base under so many other names; they are as good as damaged there."""
    units = tuple(Unit("negative", step) for step in range(count))
    for unit in units:
        for kind in ("activations", "scores"):
            path = unit_path(run, kind, unit)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(unit_path(run, kind, BASE).read_bytes()[:2000])
    return units


@pytest.mark.parametrize("listed", [True, False])
def test_both_damaged_files_of_a_unit_are_named_in_one_error(
    listed: bool, run: Path, plan: Plan, make_model: Callable[..., Any]
) -> None:
    for kind in ("activations", "scores"):
        path = unit_path(run, kind, BASE)
        content, place = bytearray(path.read_bytes()), regions(path) == "values"
        content[int(np.flatnonzero(place)[9])] ^= 1
        path.write_bytes(content[: 2000 if listed else None])
    if not listed:  # only a file that nothing vouches for is read in full
        (run / "manifest.jsonl").unlink()
    with pytest.raises(StoreError, match="2 stored files are damaged:") as raised:
        collect(run, make_model("llama"), plan, (BASE,), settings=LEAN)
    assert "\n  activations/base/step-00000000.h5: " in str(raised.value)
    assert "\n  scores/base/step-00000000.h5: " in str(raised.value)
    assert raised.value.where == str(run)
    assert f"probe validate {run}" in raised.value.fix


def test_ten_damaged_files_of_a_run_are_named_and_the_rest_counted(
    run: Path, plan: Plan, make_model: Callable[..., Any]
) -> None:
    units = copies_of(run, 7)
    with pytest.raises(StoreError, match="14 stored files are damaged:") as raised:
        collect(run, make_model("llama"), plan, (BASE, *units), settings=LEAN)
    lines = str(raised.value).splitlines()
    assert sum("step-0000000" in line for line in lines) == 10
    assert "  and 4 more" in lines
    assert "delete them and repeat the command" in raised.value.fix


def test_a_file_that_does_not_say_how_it_was_made_is_damaged(
    run: Path, plan: Plan, make_model: Callable[..., Any]
) -> None:
    for kind, value in (("activations", "{"), ("scores", None)):
        with h5py.File(unit_path(run, kind, BASE), "r+") as file:
            del file.attrs["unit_key"]
            if value is not None:
                file.attrs["unit_key"] = value
    with pytest.raises(StoreError, match=r"2 stored (.|\n)*does not say how it was made"):
        collect(run, make_model("llama"), plan, (BASE,), settings=LEAN)


@contextlib.contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    """Let the system itself refuse every byte of a file beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size_bytes", [0, 5_000, 300_000])
def test_where_the_system_refuses_bytes_nothing_half_written_stays(
    size_bytes: int, plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    model, run = make_model("llama"), tmp_path / "run"
    with largest_file(size_bytes), pytest.raises(StoreError, match="could not write"):
        collect(run, model, plan, (BASE,))
    assert not list(run.rglob(".*.tmp"))
    for path in run.rglob("*.h5"):
        validate(path)
    report = collect(run, make_model("llama"), plan, (BASE,))
    assert report.done == (BASE,)
    assert len(lines_of(run)) == 2


class _Head(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("process", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inherited"))


@contextlib.contextmanager
def no_override() -> Iterator[None]:
    """Obey permissions as root too: give up the right to pass them, for a block."""
    if os.geteuid() != 0:
        yield
        return
    libc, head, before = ctypes.CDLL(None), _Head(0x20080522, 0), (_Sets * 2)()
    assert libc.capget(ctypes.byref(head), before) == 0
    less = (_Sets * 2).from_buffer_copy(before)
    less[0].effective &= ~0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert libc.capset(ctypes.byref(head), less) == 0
    try:
        yield
    finally:
        assert libc.capset(ctypes.byref(head), before) == 0


@pytest.mark.parametrize("folder", ["everything", "scores", "activations"])
def test_a_folder_that_cannot_be_written_is_named_and_keeps_what_it_has(
    folder: str, run: Path, plan: Plan, make_model: Callable[..., Any]
) -> None:
    closed = [run, *run.rglob("*")] if folder == "everything" else [run / folder]
    for path in closed:
        path.chmod(0o555)
    try:
        with no_override(), pytest.raises(StoreError, match=r"Permission denied(.|\n)*permissions"):
            collect(run, make_model("llama"), plan, (Unit("other", 0),), settings=LEAN)
    finally:
        for path in closed:
            path.chmod(0o755)
    assert not list(run.rglob(".*.tmp"))
    for path in run.rglob("*.h5"):
        validate(path)
    report = collect(run, make_model("llama"), plan, (BASE, Unit("other", 0)), settings=LEAN)
    assert len(report.failed) == 0


def test_a_reader_of_another_process_stops_nobody(
    run: Path, plan: Plan, make_model: Callable[..., Any]
) -> None:
    path = unit_path(run, "activations", BASE)
    code = "import h5py, sys; f = h5py.File(sys.argv[1]); print(); input(); f['residual'][...]"
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:
        reader.stdout.readline()  # type: ignore[union-attr]
        validate(path)
        other = CollectSettings(("residual",), store_dtype="float16")
        model = make_model("llama")
        report = collect(run, model, plan, (BASE,), settings=other, overwrite=True)
        reader.communicate(b"\n")
    assert (reader.returncode, report.done) == (0, (BASE,))


def test_a_reader_that_holds_a_file_open_keeps_its_values_and_stops_nobody(
    run: Path, plan: Plan, make_model: Callable[..., Any]
) -> None:
    path = unit_path(run, "activations", BASE)
    with h5py.File(path, "r") as held:  # with the lock that h5py takes by itself
        before = held["residual"][0]
        other = CollectSettings(("residual",), store_dtype="float16")
        model = make_model("llama")
        report = collect(run, model, plan, (BASE,), settings=other, overwrite=True)
        assert report.done == (BASE,)
        np.testing.assert_array_equal(held["residual"][0], before)
        assert held["residual"].dtype == np.float32
    with h5py.File(path, "r") as now:
        assert now["residual"].dtype == np.float16


def test_links_to_other_disks_and_odd_names_are_served_as_folders(
    plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    run, disk = tmp_path / "ein Lauf, größer 漢字", tmp_path / "other disk"
    (disk / "base").mkdir(parents=True)
    run.mkdir()
    (run / "activations").symlink_to(disk)
    torn = disk / "base" / f".step-00000000.h5.{os.uname().nodename}.999999999.tmp"
    torn.touch()
    collect(run, make_model("llama"), plan, (BASE,), settings=LEAN)
    assert not torn.exists()
    assert validate(disk / "base" / "step-00000000.h5").rows == plan.rows
    again = tmp_path / "link"
    again.symlink_to(run)
    assert collect(again, make_model("llama"), plan, (BASE,), settings=LEAN).existing == (BASE,)
    moved = run.rename(tmp_path / "moved")
    assert collect(moved, make_model("llama"), plan, (BASE,), settings=LEAN).existing == (BASE,)
    assert len(lines_of(moved)) == 2


def _count_up(folder: Path) -> None:
    for _ in range(50):
        with alone(folder):
            value = int((folder / "count").read_text())
            (folder / "count").write_text(str(value + 1))


def test_a_block_alone_in_a_folder_loses_no_change_and_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    workers = [FORK.Process(target=_count_up, args=(tmp_path,)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (tmp_path / "count").read_text() == "150"
    assert [path.name for path in tmp_path.iterdir()] == ["count"]
