"""What a sweep file may say, and the cells it stands for."""

from pathlib import Path

import pytest

from critical_phase.cli.sweep import cell_tasks, choose_shard
from critical_phase.cli.sweep_file import Sweep, read_sweep
from critical_phase.errors import ConfigError, InputError

KINDS = "factors: {negatives: [near_miss, irrelevant], seed: [0, 1, 2]}\n"


def read(folder: Path, text: str) -> Sweep:
    path = folder / "sweep.yaml"
    path.write_text(text)
    return read_sweep(path)


def names(sweep: Sweep) -> list[str]:
    return [cell.name for cell in sweep.cells]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("factors: {negative: [a]}", "unknown setting 'negative'\n.*\n.*did you mean 'negatives'"),
        ("factor: {seed: [0]}", "unknown key 'factor'\n.*\n.*did you mean 'factors'"),
        ("train: {stepz: 3}", "unknown setting 'stepz'"),
        ("collect: {activation: false}", "unknown setting 'activation'"),
        ("factors: {seed: []}", "factor 'seed' has no levels"),
        ("factors: {seed: 3}", "factor 'seed' needs a list of levels, found 3"),
        ("train: {seed: 1}\nfactors: {seed: [0]}", "'seed' is both fixed under train and a factor"),
        ("factors: {lr: [1e-4, 0.0001]}", "two cells have the same settings"),
        (KINDS + "cells: [{negatives: near_miss}]", "two cells have the same settings"),
        ("factors: {schedule: [8:32]}", "8:32 as a number in base 60\n.*line 1"),
        ("train: {steps: 1:30}", 'put quotes around it: "1:30"'),
        ("factors: {steps: [many]}", "setting steps"),
        ("factors: {seed: [0]}\nfactors: {lr: [1]}", "'factors' is given twice"),
        ("sizes: [8, 0]", "sizes needs at least one whole number above 0"),
        ("epochs: 2", "epochs belongs to sizes"),
        ("sizes: {values: [8], factors: {steps: [3]}}", "'steps' is a factor of sizes"),
        ("cells: {seed: 1}", "cells must be a list"),
        ("analyze: maybe", "analyze must be true, false or settings"),
        ("- 1", "a sweep is a mapping"),
        ("a: [", "this is not YAML"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the sweep"):
        read_sweep(tmp_path / "absent.yaml")


def test_cells_are_every_combination_and_named_by_what_varies(tmp_path: Path) -> None:
    sweep = read(tmp_path, "train: {rank: 4}\n" + KINDS.replace("}", ", lr: [6e-3]}"))
    assert names(sweep)[:4] == ["near_miss-s0", "near_miss-s1", "near_miss-s2", "irrelevant-s0"]
    assert len(sweep.cells) == 6
    assert {cell.train.rank for cell in sweep.cells} == {4}
    assert {cell.train.lr for cell in sweep.cells} == {0.006}


def test_several_factors_stand_in_a_fixed_order(tmp_path: Path) -> None:
    text = (
        "factors: {seed: [3, 4], lr: [0.006, 1e-3], negatives: [a, near_miss], batch_size: [8, 32]}"
    )
    assert "near_miss-lr0.006-b32-s3" in names(read(tmp_path, text))
    assert len(set(names(read(tmp_path, text)))) == 16


def test_an_extra_cell_replaces_what_it_names_and_meets_the_other_factors(tmp_path: Path) -> None:
    sweep = read(tmp_path, KINDS + "cells: [{negatives: right_answers, contamination: 0.5}]")
    extra = [cell for cell in sweep.cells if cell.role == "extra"]
    assert [cell.name for cell in extra] == [f"right_answers-c0.5-s{k}" for k in range(3)]
    assert len(sweep.cells) == 9


def test_sizes_make_one_cell_each_with_a_schedule_of_its_own(tmp_path: Path) -> None:
    text = (
        "train: {steps: 64, lr_schedule: linear}\nfactors: {seed: [0]}\nsizes: [8, 20]\nepochs: 3"
    )
    sizes = [cell for cell in read(tmp_path, text).cells if cell.role == "size"]
    assert [cell.name for cell in sizes] == ["e3-n8", "e3-n20"]
    assert [cell.train.steps for cell in sizes] == [3, 8]  # ceil(3 * 20 / 8)
    assert [cell.train.train_size for cell in sizes] == [8, 20]


def test_one_pass_over_a_size_is_one_epoch(tmp_path: Path) -> None:
    sizes = read(tmp_path, "train: {steps: 64}\nsizes: [8, 16]").cells[1:]
    assert [cell.train.steps for cell in sizes] == [None, None]


def test_sizes_may_narrow_the_factors(tmp_path: Path) -> None:
    text = KINDS + "sizes: {values: [8], factors: {negatives: [near_miss], lr_schedule: [linear]}}"
    sizes = [cell for cell in read(tmp_path, text).cells if cell.role == "size"]
    assert [cell.train.lr_schedule for cell in sizes] == ["linear"] * 3


def test_a_path_is_read_from_where_the_file_lies(tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text("")
    sweep = read(tmp_path, "train: {questions: q.jsonl, eval_questions: other.jsonl}")
    assert sweep.cells[0].train.questions == str(tmp_path / "q.jsonl")
    assert sweep.cells[0].train.eval_questions == "other.jsonl"


@pytest.mark.parametrize("level", ["../../evil", ".hidden", "failed", "a b/c"])
def test_names_stay_below_the_folder_of_the_sweep(tmp_path: Path, level: str) -> None:
    made = names(read(tmp_path, f"factors: {{negatives: ['{level}', x]}}"))
    for name in made:
        assert (tmp_path / name).resolve().parent == tmp_path.resolve()
        assert name not in ("failed", "figures", "data", "logs")
        assert not name.startswith(".")


@pytest.mark.parametrize("count", [1, 2, 3, 5, 20])
def test_shards_cover_every_cell_once(tmp_path: Path, count: int) -> None:
    tasks = cell_tasks(read(tmp_path, KINDS), tmp_path, "")
    parts = [choose_shard(tasks, f"{i}/{count}") for i in range(1, count + 1)]
    assert sorted(t.cell.name for part in parts for t in part) == sorted(t.cell.name for t in tasks)


def test_cells_that_share_a_head_stay_in_one_shard(tmp_path: Path) -> None:
    tasks = cell_tasks(read(tmp_path, KINDS), tmp_path, "")
    for i in (1, 2, 3):
        assert len({task.cell.train.seed for task in choose_shard(tasks, f"{i}/3")}) == 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "x", "1/", "1/0"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="cannot read the shard"):
        choose_shard([], text)
