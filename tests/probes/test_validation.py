"""What is wrong in a run is named file by file; what is allowed is not."""

import json
import os
import socket
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from stored_files import ATTRIBUTES, flip_bit, residual, write

from critical_phase.checkpoints import file_sha256
from critical_phase.errors import StoreError
from critical_phase.probes import check_paths, validate
from critical_phase.probes.collector import Dataset
from critical_phase.probes.store import write_file

STEP = "step-00000000.h5"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with the base model's scores and activations, and a manifest."""
    run = tmp_path / "run"
    names = ("logprob_sum", "first_token_logprob", "tokens", "characters", "bytes")
    scores = [(Dataset(n, ("row",), torch.float32, "test"), torch.zeros(6)) for n in names]
    rows = {"row": np.arange(6)}
    write_file(run / "scores/base" / STEP, "scores", scores, rows, ATTRIBUTES)
    write(run / "activations/base" / STEP, residual())
    lines = [
        {"file": f"{kind}/base/{STEP}", "sha256": file_sha256(run / kind / "base" / STEP)}
        for kind in ("scores", "activations")
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"file": "cut sho'
    (run / "manifest.jsonl").write_text(text)
    return run


def problems(*paths: Path) -> dict[str, str]:
    found = check_paths(paths).faults
    assert len({one.file for one in found}) == len(found)
    return {one.file.name: one.problem for one in found}


def test_a_sound_run_has_no_fault(run: Path) -> None:
    found = check_paths([run])
    assert (len(found.sound), found.faults, found.hashes) == (2, (), 2)
    assert check_paths([run, run]).files == 2
    assert check_paths([run / "scores/base" / STEP]).hashes == 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [(slice(0, -100), "damaged"), (slice(0, 300), "damaged"), (slice(0, 0), "foreign")],
)
def test_a_file_cut_short_is_named(run: Path, content: slice, problem: str) -> None:
    file = run / "scores/base" / STEP
    file.write_bytes(file.read_bytes()[content])
    (fault,) = check_paths([run]).faults
    assert (fault.file, fault.problem) == (file, problem)


def test_a_flipped_bit_is_named_in_values_and_in_headers(run: Path) -> None:
    flip_bit(run / "activations/base" / STEP, "residual")
    header = run / "scores/base" / STEP
    content = bytearray(header.read_bytes())
    content[content.find(b"plan_sha256") + 40] ^= 1  # no checksum covers attributes
    header.write_bytes(content)
    found = {one.file: one.problem for one in check_paths([run]).faults}
    assert found[run / "activations/base" / STEP] == "damaged"
    assert found[header] in ("hash", "damaged", "format", "plan")


def test_half_written_and_foreign_files_are_named(run: Path) -> None:
    folder, host = run / "scores/base", socket.gethostname()
    (folder / f".{STEP}.{host}.999999999.tmp").write_bytes(b"begun")
    (folder / f".{STEP}.{host}.{os.getpid()}.tmp").write_bytes(b"being written")
    (folder / "notes.txt").write_text("mine")
    with h5py.File(folder / "step-00000009.h5", "w") as file:
        file["x"] = 1
    assert problems(run) == {
        f".{STEP}.{host}.999999999.tmp": "half-written",
        "notes.txt": "foreign",
        "step-00000009.h5": "foreign",
    }


def test_what_another_machine_left_half_written_is_not_promised_to_be_removed(run: Path) -> None:
    (run / "scores/base" / f".{STEP}.another-machine.1.tmp").write_bytes(b"begun")
    (fault,) = check_paths([run]).faults
    assert fault.problem == "half-written"
    assert "delete it if nothing runs there" in fault.message


def test_another_sound_file_is_told_by_its_hash_place_or_plan(run: Path) -> None:
    file = run / "activations/base" / STEP
    write(file, residual(torch.float16))
    assert problems(run) == {STEP: "hash"}
    file.rename(file.with_name("step-00000004.h5"))
    assert problems(run) == {"step-00000004.h5": "place"}
    (run / "activations/base/step-00000004.h5").unlink()
    attributes = ATTRIBUTES | {"head": "positive", "plan_sha256": "other"}
    other = run / "scores/positive" / STEP
    with h5py.File(run / "scores/base" / STEP) as source:
        names = [name for name in source if name != "row"]
    arrays = [(Dataset(n, ("row",), torch.float32, "test"), torch.zeros(6)) for n in names]
    write_file(other, "scores", arrays, {"row": np.arange(6)}, attributes)
    assert [(one.file, one.problem) for one in check_paths([run]).faults] == [(other, "plan")]


def test_listed_files_that_are_gone_are_counted_and_are_no_fault(run: Path) -> None:
    (run / "activations/base" / STEP).unlink()
    found = check_paths([run])
    assert found.faults == ()
    assert found.gone == (run / "activations/base" / STEP,)


def test_files_behind_a_link_are_read(run: Path, tmp_path: Path) -> None:
    cell = tmp_path / "cell"
    cell.mkdir()
    (cell / "scores").symlink_to(run / "scores")
    assert len(check_paths([cell]).sound) == 1


def test_values_that_are_not_finite_are_sound_where_they_are_stated(tmp_path: Path) -> None:
    dataset, values = residual()
    values[1, 2, 0, 3], values[2, 0, 1, 1] = torch.nan, -torch.inf
    path = write(tmp_path / "a.h5", (dataset, values))
    assert validate(path).non_finite == 2
    with h5py.File(path, "a") as file:
        file["residual"].attrs["non_finite"] = 1
        file.attrs["non_finite"] = 0
    with pytest.raises(StoreError) as caught:
        validate(path)
    assert "residual: 2 values are not finite, 1 stated" in str(caught.value)
    assert "2 values are not finite, the root states 0" in str(caught.value)


def test_scores_must_be_finite(run: Path) -> None:
    path = run / "scores/base" / STEP
    with h5py.File(path, "a") as file:
        file["logprob_sum"][2] = np.nan
        file["logprob_sum"].attrs["non_finite"] = 1
        file.attrs["non_finite"] = 1
    with pytest.raises(StoreError, match="1 values are not finite, which scores must be"):
        validate(path)
