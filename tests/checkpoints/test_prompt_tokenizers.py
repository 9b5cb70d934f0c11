"""The same text in training and scoring, whatever the tokenizer does with spaces."""

from pathlib import Path

import pytest
from tiny_tokenizers import BUILDERS
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from critical_phase.checkpoints import PROMPTS, Encoded, Question, encode
from critical_phase.errors import ConfigError

WATER = Question("w", "what is water made of?", ("solid", "a solid", "yes. A solid"), 0)
PAIR = Question("p", "", ("Who has questioned Richard?", "no"), 0)
SHOTS = "Question: why\nAnswer: a solid\n\nQuestion: was it?\nAnswer: no"
# Tokens of these reach over a space, so an answer may have to be cut off before the merge.
ACROSS = ("byte_level_across", "sentencepiece_legacy")


@pytest.fixture(
    scope="module", params=[*BUILDERS, pytest.param("stories260k", marks=pytest.mark.real)]
)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    if request.param == "stories260k":
        folder = request.getfixturevalue("shared") / "models" / "stories260k"
        return AutoTokenizer.from_pretrained(folder)
    return BUILDERS[request.param]()


@pytest.fixture(scope="module", params=[name for name in BUILDERS if name not in ACROSS])
def usual(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return BUILDERS[request.param]()


@pytest.fixture(scope="module", params=ACROSS)
def across(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return BUILDERS[request.param]()


def read(tokenizer: PreTrainedTokenizerFast, row: Encoded) -> str:
    ids = row.question_ids + row.answer_ids
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.eos_token_id not in ids
    return tokenizer.decode(list(ids[1:]), clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("style", PROMPTS)
@pytest.mark.parametrize("prefix", ["", SHOTS])
def test_tokens_read_back_as_the_text(
    tokenizer: PreTrainedTokenizerFast, style: str, prefix: str
) -> None:
    before = f"{prefix}\n\n" if prefix else ""
    for candidate in WATER.candidates:
        row = encode(tokenizer, PROMPTS[style], WATER, candidate, prefix=prefix)
        prompt = PROMPTS[style].prompt(WATER.question)
        assert read(tokenizer, row) == f"{before}{prompt} {candidate}"
    for candidate in PAIR.candidates:
        row = encode(tokenizer, PROMPTS[style], PAIR, candidate, prefix=prefix)
        assert read(tokenizer, row) == f"{before}{candidate}"


@pytest.mark.parametrize("style", PROMPTS)
def test_the_answers_first_token_carries_the_one_space(
    tokenizer: PreTrainedTokenizerFast, style: str
) -> None:
    for candidate in WATER.candidates:
        row = encode(tokenizer, PROMPTS[style], WATER, candidate)
        first = str(tokenizer.convert_ids_to_tokens(row.answer_ids[0]))
        assert first.startswith(("Ġ", "▁"))
        assert not first.startswith(("ĠĠ", "▁▁"))


def test_joint_tokens_are_the_tokens_of_the_whole_text(usual: PreTrainedTokenizerFast) -> None:
    for candidate in WATER.candidates:
        row = encode(usual, PROMPTS["cloze"], WATER, candidate)
        whole = f"Question: {WATER.question}\nAnswer: {candidate}"
        assert row.boundary == "joint"
        ids = usual(whole, add_special_tokens=False)["input_ids"]
        assert list(row.question_ids[1:] + row.answer_ids) == ids


def test_candidates_share_their_question_where_merges_cross_it(
    across: PreTrainedTokenizerFast,
) -> None:
    rows = [encode(across, PROMPTS["cloze"], WATER, text) for text in WATER.candidates]
    assert {row.boundary for row in rows} >= {"separate"}
    assert len({row.question_ids for row in rows}) == 1
    alone = across(f"Question: {WATER.question}\nAnswer:", add_special_tokens=False)["input_ids"]
    assert list(rows[0].question_ids[1:]) == alone


def test_an_answer_cut_off_before_a_merge_has_one_space_not_two() -> None:
    """Alone, SentencePiece reads " solid" as two spaces and the word."""
    tokenizer = BUILDERS["sentencepiece_legacy"]()
    row = encode(tokenizer, PROMPTS["cloze"], WATER, "solid")
    assert row.boundary == "separate"
    assert tokenizer.convert_ids_to_tokens(list(row.answer_ids)) == ["▁solid"]
    doubled = tokenizer(" solid", add_special_tokens=False)["input_ids"]
    assert len(doubled) > len(row.answer_ids)


def test_demonstrations_without_a_prompt_end_with_their_blank_line() -> None:
    tokenizer = BUILDERS["byte_level"]()
    row = encode(tokenizer, PROMPTS["plain"], PAIR, "no", prefix="Who has questioned?")
    blank = tokenizer("Who has questioned?\n\n", add_special_tokens=False)["input_ids"]
    assert list(row.question_ids[1:]) == blank
    assert tokenizer.decode(list(row.answer_ids)) == "no"


def test_an_answer_cut_off_at_the_start_of_a_line_has_no_space() -> None:
    tokenizer = BUILDERS["sentencepiece_legacy"]()
    text = "Q: was it?"
    question = Question("p", "", (text, "no"), 0)
    row = encode(tokenizer, PROMPTS["plain"], question, text, prefix="Q: is it?\nA: no. solid")
    assert row.boundary == "separate"
    assert read(tokenizer, row) == "Q: is it?\nA: no. solid\n\nQ: was it?"


@pytest.mark.parametrize("name", BUILDERS)
def test_without_a_begin_token_only_an_empty_question_is_an_error(name: str) -> None:
    bare = PreTrainedTokenizerFast(tokenizer_object=BUILDERS[name]().backend_tokenizer)
    row = encode(bare, PROMPTS["cloze"], WATER, "solid")
    assert bare.decode(list(row.question_ids)).startswith("Question:")
    assert encode(bare, PROMPTS["cloze"], PAIR, "no", prefix=SHOTS).answer_ids
    with pytest.raises(ConfigError, match="'p' is empty and the tokenizer has no begin-of-seq"):
        encode(bare, PROMPTS["cloze"], PAIR, "no")


@pytest.mark.real
def test_blimp_sentences_read_back_on_a_real_tokenizer(shared: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / "stories260k")
    text = "Who has the library praised while appreciating Andrew?"
    row = encode(tokenizer, PROMPTS["plain"], Question("b", "", (text, "no"), 0), text)
    assert row.question_ids == (tokenizer.bos_token_id,)
    assert read(tokenizer, row) == text
