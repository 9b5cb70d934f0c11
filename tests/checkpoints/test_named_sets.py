import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hub_cache import download, prepare
from planted_sets import ARC_CHALLENGE, ARC_EASY, PLANTED, Planted

from critical_phase.checkpoints import NAMED_SETS, NamedSet, read_named_set, read_questions
from critical_phase.checkpoints.hub_reach import hub_reachable
from critical_phase.checkpoints.named_sets import hub
from critical_phase.checkpoints.named_sets.named_set import Part, mixed
from critical_phase.checkpoints.named_sets.reader import read_set
from critical_phase.checkpoints.prompts import PROMPTS
from critical_phase.errors import QuestionError

BY_NAME = {planted.name: planted for planted in PLANTED}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from the network."""
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like HF_HOME in which every planted dataset was loaded before."""
    home = tmp_path_factory.mktemp("home")
    for planted in PLANTED:
        prepare(home, planted.hub, planted.config, planted.splits)
    return home


def known(name: str) -> NamedSet:
    """A set as it is, except that BLiMP has one paradigm here instead of 67."""
    found = NAMED_SETS[name]
    return replace(found, train=found.train[:1], eval=found.eval[:1]) if name == "blimp" else found


def test_every_named_set_has_planted_rows() -> None:
    assert {*BY_NAME, "arc"} == set(NAMED_SETS)
    assert all(found.name == name for name, found in NAMED_SETS.items())
    assert all(found.prompt in PROMPTS for found in NAMED_SETS.values())


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("split", ["train", "eval"])
def test_planted_rows_become_the_questions_written_out(home: Path, name: str, split: Any) -> None:
    expected = BY_NAME[name].train if split == "train" else BY_NAME[name].eval
    if (name, split) == ("truthfulqa", "train"):
        with pytest.raises(QuestionError, match="truthfulqa has no training split"):
            read_set(known(name), split, home=home)
        return
    assert expected
    assert read_set(known(name), split, home=home).questions == expected


@pytest.mark.parametrize("name", BY_NAME)
def test_files_that_were_downloaded_but_never_loaded_do_as_well(tmp_path: Path, name: str) -> None:
    planted = BY_NAME[name]
    download(tmp_path, planted.hub, {planted.config or "default": planted.splits})
    assert read_set(known(name), "eval", home=tmp_path).questions == planted.eval


def test_arc_is_composed_as_the_paper_splits_it(home: Path) -> None:
    read = read_named_set("arc", "train", home=home)
    assert [q.id for q in read.questions] == ["C1", "C2", "C3", "E1", "E2", "E3"]
    evaluated = read_named_set("arc", "eval", home=home)
    assert evaluated.questions == ARC_CHALLENGE.eval
    assert evaluated.notes == ("arc: 2 questions in its eval split, 1172 are published",)


def test_arc_has_the_papers_counts_and_says_nothing_of_them(tmp_path: Path) -> None:
    sizes = {
        "ARC-Challenge": {"train": 1119, "validation": 299, "test": 1172},
        "ARC-Easy": {"train": 2251, "validation": 570, "test": 2376},
    }
    for config, splits in sizes.items():
        rows = {s: [_arc_row(f"{config}-{s}-{i}") for i in range(n)] for s, n in splits.items()}
        prepare(tmp_path, "allenai/ai2_arc", config, rows)
    train = read_named_set("arc", "train", home=tmp_path)
    assert (len(train.questions), train.notes) == (6615, ())
    evaluated = read_named_set("arc", "eval", home=tmp_path)
    assert (len(evaluated.questions), evaluated.notes) == (1172, ())
    assert not {q.id for q in train.questions} & {q.id for q in evaluated.questions}


@pytest.mark.real
@pytest.mark.parametrize("name", ["arc_challenge", "arc_easy"])
@pytest.mark.parametrize(("split", "hub_split"), [("train", "train"), ("eval", "test")])
def test_real_questions_in_the_hubs_columns_come_back_the_same(
    shared: Path, tmp_path: Path, name: str, split: Any, hub_split: str
) -> None:
    questions = read_questions(shared / "data" / f"{name}_{hub_split}.jsonl")
    rows = [
        {
            "id": q.id,
            "question": q.question,
            "choices": {"text": list(q.candidates), "label": list("ABCDE"[: len(q.candidates)])},
            "answerKey": "ABCDE"[q.answer],
        }
        for q in questions
    ]
    prepare(tmp_path, "allenai/ai2_arc", str(BY_NAME[name].config), {hub_split: rows})
    read = read_named_set(name, split, home=tmp_path)
    assert (read.questions, read.notes) == (questions, ())
    assert {len(q.candidates) for q in read.questions} == {3, 4, 5}


def test_equal_candidates_are_refused_or_dropped_as_in_files(tmp_path: Path) -> None:
    rows = [_arc_row("twice", ["a", "a", "b"]), _arc_row("empty", ["a", " ", "b"]), _arc_row("ok")]
    prepare(tmp_path, "allenai/ai2_arc", "ARC-Easy", {"train": rows})
    with pytest.raises(QuestionError, match="'a' is listed twice") as caught:
        read_named_set("arc_easy", "train", home=tmp_path)
    assert caught.value.where == "arc_easy, allenai/ai2_arc (ARC-Easy, train) row 1"
    read = read_named_set("arc_easy", "train", equal_candidates="drop", home=tmp_path)
    assert ([q.id for q in read.questions], read.dropped) == (["ok"], ("twice", "empty"))
    assert read.notes == ("arc_easy: 3 questions in its train split, 2251 are published",)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"answerKey": "E"}, "right answer 'E' is none of the labels A, B, C"),
        ({"answerKey": ""}, "right answer '' is none of the labels"),
        ({"question": None}, "field question: expected a string, found None"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, row: Any, message: str) -> None:
    rows = [_arc_row("good"), {**_arc_row("bad"), **row}]
    prepare(tmp_path, "allenai/ai2_arc", "ARC-Easy", {"train": rows})
    with pytest.raises(QuestionError, match=message) as caught:
        read_named_set("arc_easy", "train", home=tmp_path)
    assert caught.value.where.endswith("(ARC-Easy, train) row 2")


def test_a_dataset_with_other_columns_is_an_error(tmp_path: Path) -> None:
    prepare(tmp_path, "allenai/ai2_arc", "ARC-Easy", {"train": [{"id": "a", "text": "b"}]})
    with pytest.raises(QuestionError, match="no column 'question'; columns: id, text"):
        read_named_set("arc_easy", "train", home=tmp_path)


def test_an_id_in_two_parts_is_an_error(tmp_path: Path) -> None:
    rows = {"train": [_arc_row("a")], "validation": [_arc_row("b")], "test": [_arc_row("a")]}
    prepare(tmp_path, "allenai/ai2_arc", "ARC-Challenge", rows)
    prepare(tmp_path, "allenai/ai2_arc", "ARC-Easy", rows)
    with pytest.raises(
        QuestionError, match=r"'a' was already used on .*ARC-Challenge, train\) row"
    ):
        read_named_set("arc", "train", home=tmp_path)


def test_an_unknown_name_points_to_the_nearest() -> None:
    with pytest.raises(QuestionError, match="did you mean 'hellaswag'"):
        read_named_set("helaswag", "eval")


@pytest.mark.parametrize("present", [(), (ARC_EASY,)])
def test_a_set_that_is_not_at_hand_says_how_to_get_it(
    tmp_path: Path, present: tuple[Planted, ...]
) -> None:
    for planted in present:
        prepare(tmp_path, planted.hub, planted.config, planted.splits)
    begin = time.perf_counter()
    with pytest.raises(QuestionError, match="hub cannot be reached and no cache has it") as caught:
        read_named_set("arc_challenge", "train", home=tmp_path)
    assert time.perf_counter() - begin < 5
    assert "allenai/ai2_arc (ARC-Challenge, train)" in str(caught.value)
    assert "hf download --repo-type dataset allenai/ai2_arc" in caught.value.fix
    assert caught.value.where == str(tmp_path)


def test_a_hub_that_cannot_be_reached_costs_no_retries(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without HF_HUB_OFFLINE a load alone would try for half a minute."""
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("critical_phase.checkpoints.named_sets.hub._reachable", lambda: False)
    begin = time.perf_counter()
    with pytest.raises(QuestionError, match="cannot be reached"):
        read_named_set("arc_challenge", "train", home=tmp_path)
    fresh = replace(NAMED_SETS["arc_easy"], train=(Part("allenai/ai2_arc", "ARC-Easy", "test"),))
    assert read_set(fresh, "train", home=home).questions == ARC_EASY.eval
    assert time.perf_counter() - begin < 5


def test_a_hub_that_does_not_answer_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError("name or service not known")

    monkeypatch.setattr("huggingface_hub.utils.get_session", refuse)
    monkeypatch.setattr(hub, "hub_reachable", hub_reachable.__wrapped__)
    with pytest.warns(UserWarning, match="hub cannot be reached: question sets are read from the"):
        assert not hub._reachable.__wrapped__()


@pytest.mark.slow
def test_a_fresh_process_finds_the_caches_of_hf_home(home: Path) -> None:
    code = (
        "import json, sys, critical_phase.checkpoints as c\n"
        "assert 'datasets' not in sys.modules and 'pyarrow.parquet' not in sys.modules\n"
        "print(json.dumps([q.id for q in c.read_named_set('arc', 'train').questions]))\n"
        "c.read_named_set('blimp', 'eval')\n"
    )
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    for name in ("HF_DATASETS_CACHE", "HF_HUB_CACHE", "HF_DATASETS_OFFLINE"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert json.loads(done.stdout) == ["C1", "C2", "C3", "E1", "E2", "E3"]
    assert "nyu-mll/blimp (anaphor_gender_agreement, train) is not at hand" in done.stderr


def test_the_mixed_order_hangs_on_key_and_texts_alone() -> None:
    texts = ["right", "wrong", "worse"]
    orders = {tuple(mixed(texts, 0, f"k{i}")[0]) for i in range(200)}
    places = [mixed(texts, 0, f"k{i}")[1] for i in range(600)]
    assert len(orders) == 6
    assert all(abs(places.count(place) - 200) < 60 for place in range(3))  # 5 sigma of 11.5
    again, right = mixed(texts[::-1], 2, "k1")
    assert (again, again[right]) == (mixed(texts, 0, "k1")[0], "right")


def _arc_row(name: str, texts: list[str] | None = None) -> dict[str, Any]:
    texts = texts or ["a", "b", "c"]
    choices = {"text": texts, "label": list("ABC")}
    return {"id": name, "question": f"Of {name}?", "choices": choices, "answerKey": "B"}
