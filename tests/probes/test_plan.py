"""The plan fixes rows, tokens and read positions."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from critical_phase.checkpoints import PROMPTS, Question
from critical_phase.errors import ConfigError, StoreError
from critical_phase.probes import Plan, check_fits, make_plan, read_plan, write_plan


def test_rows_of_one_question_are_neighbours_and_ends_point_at_tokens(plan: Plan) -> None:
    assert plan.rows == 11
    assert plan.question.tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 3]
    assert plan.correct.tolist() == [c in (0, 3, 6, 7) for c in range(11)]
    for row in range(plan.rows):
        tokens = plan.prompts[plan.question[row]] + plan.answers[row]
        assert plan.question_end[row] == len(plan.prompts[plan.question[row]]) - 1
        assert plan.answer_end[row] == len(tokens) - 1


def test_an_empty_question_is_the_first_token_alone(plan: Plan, tokenizer: Any) -> None:
    assert plan.prompts[2] == (tokenizer.bos_token_id,)
    assert plan.question_end[5] == 0


def test_an_empty_question_without_a_first_token_is_refused(
    make_tokenizer: Callable[..., Any], questions: tuple[Question, ...]
) -> None:
    with pytest.raises(ConfigError, match="'q2' is empty and the tokenizer has no begin-of"):
        make_plan(questions, make_tokenizer(bos=False), PROMPTS["cloze"])


def test_no_question_is_refused(tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match="no question"):
        make_plan((), tokenizer, PROMPTS["cloze"])


def test_every_change_of_content_changes_the_hash(
    plan: Plan, tokenizer: Any, questions: tuple[Question, ...]
) -> None:
    changed = [
        (replace(questions[0], answer=1), *questions[1:]),
        (replace(questions[0], group="other"), *questions[1:]),
        (replace(questions[0], question="Sea?"), *questions[1:]),
        questions[::-1],
    ]
    hashes = {make_plan(q, tokenizer, PROMPTS["cloze"]).sha256 for q in changed}
    hashes.add(make_plan(questions, tokenizer, PROMPTS["plain"]).sha256)
    assert len(hashes | {plan.sha256}) == 6
    assert make_plan(questions, tokenizer, PROMPTS["cloze"]).sha256 == plan.sha256


def test_a_row_longer_than_the_model_is_refused(plan: Plan) -> None:
    check_fits(plan, int(plan.key_length.max()))
    check_fits(plan, None)
    with pytest.raises(
        ConfigError, match=r"row 3 .question 'q1'. has \d+ tokens, but the model reads"
    ):
        check_fits(plan, int(plan.key_length.max()) - 1)


def test_plan_csv_round_trips(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "plan.csv"
    write_plan(plan, path)
    table = read_plan(path)
    for name in ("question", "candidate", "correct", "tokens", "characters", "bytes"):
        np.testing.assert_array_equal(getattr(table, name), getattr(plan, name))
    np.testing.assert_array_equal(table.answer_end, plan.answer_end)
    np.testing.assert_array_equal(table.question_end, plan.question_end)
    assert (table.question_ids, table.groups, table.texts) == (
        plan.question_ids,
        plan.groups,
        plan.texts,
    )


def test_texts_with_commas_quotes_and_line_breaks_round_trip(
    tokenizer: Any, tmp_path: Path
) -> None:
    texts = ('a, "b"', "c\nd", "é\u2028☃")
    plan = make_plan((Question("x,y", "?", texts, 0),), tokenizer, PROMPTS["cloze"])
    write_plan(plan, tmp_path / "plan.csv")
    table = read_plan(tmp_path / "plan.csv")
    assert table.texts == texts
    assert table.question_ids == ("x,y",)
    assert table.bytes.tolist() == [len(text.encode()) for text in texts]


def test_no_text_leaves_hashes_only(plan: Plan, tmp_path: Path) -> None:
    write_plan(plan, tmp_path / "plan.csv", no_text=True)
    content = (tmp_path / "plan.csv").read_text()
    assert "blue" not in content
    assert all(text.startswith("sha256:") for text in read_plan(tmp_path / "plan.csv").texts)


def test_another_plan_in_the_run_is_refused_and_left_alone(
    plan: Plan, tokenizer: Any, questions: tuple[Question, ...], tmp_path: Path
) -> None:
    path = tmp_path / "plan.csv"
    write_plan(plan, path)
    before = path.read_bytes()
    write_plan(plan, path)
    with pytest.raises(StoreError, match="already has another plan"):
        write_plan(make_plan(questions[1:], tokenizer, PROMPTS["cloze"]), path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [None, "", "a,b\n1,2\n", "row,question\n"])
def test_a_file_that_is_no_plan_is_an_error(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "plan.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(StoreError, match="cannot read the plan"):
        read_plan(path)
