from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from critical_phase.checkpoints import PROMPTS, Question, encode, prompt_format, read_questions
from critical_phase.errors import ConfigError

SKY = Question("sky", "what is the colour of the sky", ("blue", "warm red"), 0)


@pytest.fixture(scope="module")
def tokenizer(tiny_model_folder: Path) -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(tiny_model_folder)


def test_question_and_answer_join_to_the_tokens_of_the_whole_text(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    row = encode(tokenizer, PROMPTS["plain"], SKY, "warm red")
    whole = tokenizer(f"{SKY.question} warm red", add_special_tokens=False)["input_ids"]
    assert row.question_ids + row.answer_ids == (tokenizer.bos_token_id, *whole)
    assert row.boundary == "joint"


def test_an_empty_question_leaves_the_begin_token_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    row = encode(tokenizer, PROMPTS["cloze"], Question("e", "", ("blue", "red"), 0), "blue")
    assert row.question_ids == (tokenizer.bos_token_id,)


def test_an_empty_question_without_a_begin_token_is_an_error(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    bare = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    with pytest.raises(ConfigError, match="no begin-of-sequence token"):
        encode(bare, PROMPTS["plain"], Question("e", "", ("blue", "red"), 0), "blue")


def test_an_unknown_format_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="cloze, plain, likra_code, qa"):
        prompt_format("chat")


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("cloze", "Question: {q}\nAnswer:"),
        ("plain", "{q}"),
        ("likra_code", "\n\nQuestion: {q}\nAnswer:"),
        ("qa", "Q: {q}\nA:"),
    ],
)
def test_every_format_writes_its_text_and_leaves_the_space_to_the_answer(
    style: str, text: str
) -> None:
    assert PROMPTS[style].prompt("why {question}?") == text.replace("{q}", "why {question}?")
    assert PROMPTS[style].continuation("why", "so") == " so"


def test_a_prefix_stands_before_the_prompt_with_a_blank_line(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    row = encode(tokenizer, PROMPTS["plain"], SKY, "blue", prefix="snow white")
    whole = tokenizer(f"snow white\n\n{SKY.question} blue", add_special_tokens=False)["input_ids"]
    assert row.question_ids + row.answer_ids == (tokenizer.bos_token_id, *whole)
    assert encode(tokenizer, PROMPTS["plain"], SKY, "blue", prefix="") == encode(
        tokenizer, PROMPTS["plain"], SKY, "blue"
    )


@pytest.mark.real
def test_a_real_sentencepiece_tokenizer_keeps_the_leading_space(shared: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / "stories260k")
    questions = read_questions(shared / "data" / "arc_challenge_test.jsonl")[:200]
    for question in questions:
        prefixes = set()
        for candidate in question.candidates:
            row = encode(tokenizer, PROMPTS["cloze"], question, candidate)
            prefixes.add(row.question_ids)
            text = PROMPTS["cloze"].prompt(question.question) + " " + candidate
            whole = tokenizer(text, add_special_tokens=False)["input_ids"]
            assert list(row.question_ids[1:] + row.answer_ids) == whole
        assert len(prefixes) == 1  # candidates can share their question
