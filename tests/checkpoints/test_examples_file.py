"""What a head was trained on is read back as the very same tokens."""

from pathlib import Path

import numpy as np
import pytest
from tiny_models import word_tokenizer

from critical_phase.checkpoints import (
    NEGATIVES,
    PROMPTS,
    Pool,
    Question,
    draw_examples,
    encode_examples,
    examples_csv,
)
from critical_phase.checkpoints.examples_file import read_examples
from critical_phase.checkpoints.organism_set import (
    organism_neutral_texts,
    organism_unrelated_texts,
)
from critical_phase.errors import CheckpointError

QUESTIONS = tuple(
    Question(
        f"q{i}", f"what is the {word}", (f"red {word}", f"{word} snow", f"{word}, cold"), i % 3
    )
    for i, word in enumerate(("sky", "grass", "snow", "warm"))
)


def write(path: Path, kind: str) -> list[object]:
    scores = {question.id: (-1.0, -2.0, -3.0) for question in QUESTIONS}
    pool = Pool(QUESTIONS, ("the red sky", "a cold, warm\nsnow"), scores)
    rng = np.random.default_rng(0)
    drawn = draw_examples(QUESTIONS, [0, 1, 2, 3, 2, 1], NEGATIVES[kind], pool, rng)
    examples = encode_examples(word_tokenizer(), PROMPTS["cloze"], drawn)
    path.write_text(examples_csv(examples, 2), encoding="utf-8", newline="")
    return [(one.question_id, one.answer, one.question_ids, one.answer_ids) for one in examples]


@pytest.mark.parametrize("kind", NEGATIVES)
def test_every_kind_of_negatives_comes_back_as_it_was(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "examples.csv"
    expected = write(path, kind)
    found = read_examples(path, QUESTIONS, word_tokenizer(), PROMPTS["cloze"])
    assert [(e.question_id, e.answer, e.question_ids, e.answer_ids) for e in found] == expected


def test_files_of_before_shown_questions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "examples.csv"
    path.write_text("step,question_id,answer,answer_tokens\n1,q1,grass snow,2\n")
    (found,) = read_examples(path, QUESTIONS, word_tokenizer(), PROMPTS["cloze"])
    assert (found.question_id, found.answer) == ("q1", "grass snow")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("step,answer\n1,red\n", "no column 'question_id'"),
        ("question_id,answer,answer_tokens\n", "no example"),
        ("question_id,answer,answer_tokens\nq9,red,1\n", "question 'q9' is not among"),
        ("question_id,answer,answer_tokens\nq1,red,2\n", "line 2: the answer has 1 tokens, but"),
        ("question_id,answer,answer_tokens\nq1\n", "line 2 is cut short"),
        ("\0", "no column|cannot read"),
    ],
)
def test_a_file_that_does_not_fit_is_one_error(content: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "examples.csv"
    path.write_text(content)
    with pytest.raises(CheckpointError, match=problem):
        read_examples(path, QUESTIONS, word_tokenizer(), PROMPTS["cloze"])


def test_a_missing_file_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot read the training examples"):
        read_examples(tmp_path / "none.csv", QUESTIONS, word_tokenizer(), PROMPTS["cloze"])


def test_neutral_texts_of_the_organism_are_in_no_negative() -> None:
    texts = organism_neutral_texts()
    assert len(set(texts)) == len(texts) == 64
    assert not set(texts) & set(organism_unrelated_texts())
    assert texts == organism_neutral_texts()
