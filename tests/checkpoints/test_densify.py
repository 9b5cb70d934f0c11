import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_models import tiny_llama
from tiny_training import RECIPE, hashes, head_folder, random_examples, train

from critical_phase.checkpoints import Example, densify
from critical_phase.errors import CheckpointError, ConfigError, StoreError


def add(
    out: Path,
    steps: list[int] | range,
    *,
    examples: list[Example] | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[int, ...]:
    given = examples or random_examples(24)
    folder = head_folder(out)
    return densify(tiny_llama(), given, RECIPE, steps, folder, seed=5, pad_id=1, progress=progress)


def test_added_steps_have_the_bits_of_a_dense_training(tmp_path: Path) -> None:
    train(tiny_llama(), tmp_path / "dense")
    train(tiny_llama(), tmp_path / "sparse", save_at=[0, 6, 12])
    assert add(tmp_path / "sparse", range(5, 12)) == (5, 7, 8, 9, 10, 11)
    dense, sparse = hashes(tmp_path / "dense"), hashes(tmp_path / "sparse")
    assert sorted(sparse) == [0, 5, 6, 7, 8, 9, 10, 11, 12]
    assert all(dense[step] == sparse[step] for step in sparse)


def test_only_what_lies_between_a_state_and_the_window_is_trained_again(tmp_path: Path) -> None:
    train(tiny_llama(), tmp_path, save_at=[0, 12])
    steps: list[int] = []
    assert add(tmp_path, [3, 9, 10], progress=steps.append) == (3, 9, 10)
    assert steps == [3, 9, 10]


def test_what_is_saved_costs_nothing_and_the_same_call_can_be_repeated(tmp_path: Path) -> None:
    train(tiny_llama(), tmp_path, save_at=[0, 12])
    assert add(tmp_path, [2, 3]) == (2, 3)
    steps: list[int] = []
    assert add(tmp_path, [2, 3, 12], progress=steps.append) == ()
    assert steps == []


def test_a_denser_schedule_of_the_same_training_adds_what_is_missing(tmp_path: Path) -> None:
    train(tiny_llama(), tmp_path / "dense", save_at=range(13))
    train(tiny_llama(), tmp_path / "sparse", save_at=[0, 12])
    train(tiny_llama(), tmp_path / "sparse", save_at=range(13))
    assert hashes(tmp_path / "sparse") == hashes(tmp_path / "dense")


def test_an_interrupted_densify_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tiny_llama(), tmp_path / "dense")
    train(tiny_llama(), tmp_path / "sparse", save_at=[0, 12])
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if "checkpoint-9" in str(path):
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreError, match="could not write checkpoint-9"):
        add(tmp_path / "sparse", range(13))
    monkeypatch.undo()
    assert add(tmp_path / "sparse", range(13)) == (9, 10, 11)
    assert hashes(tmp_path / "sparse") == hashes(tmp_path / "dense")


def test_a_saved_adapter_that_does_not_come_out_again_is_named(tmp_path: Path) -> None:
    train(tiny_llama(), tmp_path, save_at=[0, 6, 12])
    other = tmp_path.parent / f"{tmp_path.name}-other"
    train(tiny_llama(), other, save_at=[0, 5, 12])
    weights = "adapter_model.safetensors"
    wrong = (other / "checkpoint-5" / weights).read_bytes()
    (tmp_path / "checkpoint-6" / weights).write_bytes(wrong)
    with pytest.raises(CheckpointError, match="replay of step 6 differs from the saved adapter"):
        add(tmp_path, [5, 7])
    assert not (tmp_path / "checkpoint-7").exists()


def test_a_replay_that_leaves_the_log_is_named_and_saves_nothing(tmp_path: Path) -> None:
    train(tiny_llama(), tmp_path, save_at=[0, 12])
    before = hashes(tmp_path)
    with pytest.raises(CheckpointError, match=r"replay of step 5 differs: .* log has loss"):
        add(tmp_path, [5], examples=random_examples(24, seed=1))
    assert hashes(tmp_path) == before


def test_a_head_that_is_not_finished_is_not_made_denser(tmp_path: Path) -> None:
    train(tiny_llama(), tmp_path, save_at=[0, 12])
    (tmp_path / "done.json").unlink()
    with pytest.raises(CheckpointError, match="not trained to its last step"):
        add(tmp_path, [5])


def test_steps_that_were_never_trained_are_refused(tmp_path: Path) -> None:
    train(tiny_llama(), tmp_path, save_at=[0, 12])
    with pytest.raises(ConfigError, match=r"save step 40, but training has steps 0\.\.12"):
        add(tmp_path, [5, 40])


def test_without_states_there_is_nothing_to_replay_from(tmp_path: Path) -> None:
    train(tiny_llama(), tmp_path, save_at=[0, 12])
    for state in (tmp_path / "states").iterdir():
        state.unlink()
    with pytest.raises(CheckpointError, match="no state to replay step 5 from"):
        add(tmp_path, [5])


def test_which_steps_were_saved_does_not_tell_trainings_apart(tmp_path: Path) -> None:
    train(tiny_llama(), tmp_path, save_at=[0, 12])
    note = json.loads((tmp_path / "done.json").read_text())
    (tmp_path / "done.json").write_text(json.dumps({**note, "save_at": [0, 12]}))
    assert head_folder(tmp_path).finished
    assert head_folder(tmp_path).missing([0, 3, 12, 5]) == (3, 5)


@pytest.mark.gpu
def test_a_replay_on_a_gpu_gives_the_same_bits(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    train(tiny_llama().to("cuda"), tmp_path, save_at=[0, 7, 12])
    folder, model = head_folder(tmp_path), tiny_llama().to("cuda")
    given = random_examples(24)
    assert densify(model, given, RECIPE, [5, 6, 11], folder, seed=5, pad_id=1) == (5, 6, 11)
