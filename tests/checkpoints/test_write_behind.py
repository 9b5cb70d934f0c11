import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_models import tiny_llama
from tiny_training import RECIPE, hashes, head_folder, random_examples, train

from critical_phase.checkpoints import list_series, read_log, train_head
from critical_phase.checkpoints.step_writer import _copied
from critical_phase.checkpoints.training_state import TrainingFolder
from critical_phase.checkpoints.write_behind import WriteBehind
from critical_phase.errors import StoreError


def fail() -> None:
    raise StoreError("the disk is full")


def put_all(jobs: list[Callable[[], None]], crash: type[BaseException] | None = None) -> None:
    with WriteBehind() as thread:
        for job in jobs:
            thread.put(job)
        if crash:
            raise crash


def test_jobs_run_in_order_on_one_other_thread() -> None:
    done: list[tuple[int, bool]] = []
    with WriteBehind() as thread:
        for i in range(20):
            thread.put(lambda i=i: done.append((i, threading.current_thread().name[0] == "w")))
    assert done == [(i, True) for i in range(20)]


def test_no_more_jobs_wait_than_agreed() -> None:
    gate, waiting = threading.Event(), []
    with WriteBehind(capacity=2) as thread:
        threading.Timer(0.2, gate.set).start()
        for i in range(5):
            thread.put(gate.wait)
            waiting.append((i, gate.is_set()))
    # One runs and two wait; the fourth had to wait for the gate.
    assert [opened for _, opened in waiting] == [False, False, False, True, True]


def test_after_an_error_nothing_more_is_written_and_it_is_raised_once() -> None:
    done: list[int] = []
    jobs = [fail, *(lambda i=i: done.append(i) for i in range(100))]
    with pytest.raises(StoreError, match="the disk is full"):
        put_all(jobs)
    assert done == []


def test_an_error_of_the_last_job_is_raised_at_the_end() -> None:
    with pytest.raises(StoreError), WriteBehind() as thread:
        thread.put(fail)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_crash_of_the_training_waits_for_what_was_put(error: type[BaseException]) -> None:
    done: list[int] = []
    with pytest.raises(error):
        put_all([lambda i=i: done.append(i) for i in range(4)], crash=error)
    assert done == [0, 1, 2, 3]


def test_ctrl_c_leaves_whole_checkpoints_and_the_training_goes_on(tmp_path: Path) -> None:
    train(tiny_llama(), tmp_path / "whole")
    steps: list[int] = []

    def interrupt(step: int) -> None:
        steps.append(step)
        if step == 7:
            raise KeyboardInterrupt

    folder = head_folder(tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        train_head(
            tiny_llama(), random_examples(24), RECIPE, range(13), folder, seed=5, pad_id=1,
            progress=interrupt,
        )  # fmt: skip
    assert list_series(tmp_path / "cut").steps == tuple(range(8))
    train(tiny_llama(), tmp_path / "cut")
    assert hashes(tmp_path / "cut") == hashes(tmp_path / "whole")


@pytest.mark.parametrize("name", ["checkpoint-4", "log.csv", "step-00000004.safetensors"])
def test_a_full_disk_is_one_error_and_a_repeat_gives_the_same_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny_llama(), tmp_path / "whole")
    write, kept = Path.write_bytes, Path.write_text

    def full_bytes(path: Path, data: bytes) -> int:
        if name in str(path) and "safetensors" in path.name:
            raise OSError(28, "No space left on device")
        return write(path, data)

    def full_text(path: Path, data: str, encoding: str | None = None) -> int:
        if name in path.name and len(data.splitlines()) > 4:
            raise OSError(28, "No space left on device")
        return kept(path, data, encoding)

    monkeypatch.setattr(Path, "write_bytes", full_bytes)
    monkeypatch.setattr(Path, "write_text", full_text)
    with pytest.raises(StoreError, match=f"the disk is full: could not write {name}"):
        train(tiny_llama(), tmp_path / "full")
    assert list_series(tmp_path / "full").steps == tuple(range(4 + (name != "checkpoint-4")))
    assert not list((tmp_path / "full").rglob(".*.tmp"))
    monkeypatch.undo()
    train(tiny_llama(), tmp_path / "full")
    assert hashes(tmp_path / "full") == hashes(tmp_path / "whole")
    assert read_log(tmp_path / "full" / "log.csv") == read_log(tmp_path / "whole" / "log.csv")


def test_powers_of_two_keep_their_states_and_files_never_hold_an_optimizer(
    tmp_path: Path,
) -> None:
    train(tiny_llama(), tmp_path)
    assert head_folder(tmp_path).states() == (0, 1, 2, 4, 8)
    for item in list_series(tmp_path).checkpoints:
        names = {path.name for path in item.path.iterdir()}
        assert names == {"adapter_config.json", "adapter_model.safetensors", "critical_phase.json"}


def test_only_the_newest_state_is_kept_between_powers_of_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("critical_phase.checkpoints.step_writer.STATE_EVERY_S", 0.0)
    monkeypatch.setattr("critical_phase.checkpoints.step_writer.STATE_SHARE", 1e9)
    seen: dict[int, tuple[int, ...]] = {}
    save_state = TrainingFolder.save_state

    def watched(folder: TrainingFolder, state: object) -> None:
        save_state(folder, state)  # type: ignore[arg-type]
        seen[state.step] = folder.states()  # type: ignore[attr-defined]

    monkeypatch.setattr(TrainingFolder, "save_state", watched)
    train(tiny_llama(), tmp_path)
    assert seen[11] == (0, 1, 2, 4, 8, 11)
    assert head_folder(tmp_path).states() == (0, 1, 2, 4, 8)


def test_copies_share_memory_between_files_and_never_within_one() -> None:
    weight, copies = torch.ones(3), {}
    adapter = _copied({"a": weight, "tied": weight}, copies)
    state = _copied({"parameter.a": weight}, copies)
    weight.zero_()
    assert adapter["a"].sum() == adapter["tied"].sum() == state["parameter.a"].sum() == 3
    assert adapter["a"].data_ptr() != adapter["tied"].data_ptr()
