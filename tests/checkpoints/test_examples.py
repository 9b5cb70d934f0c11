"""The record of every example says what was shown, and contamination is nested."""

import csv
import io

import numpy as np
import pytest
from tiny_models import word_tokenizer

from critical_phase.checkpoints import (
    NEGATIVES,
    NO_QUESTION,
    RIGHT_ANSWERS,
    Drawn,
    Example,
    NegativeKind,
    Pool,
    Question,
    base_margins,
    draw_examples,
    encode_examples,
    examples_csv,
    prompt_format,
)
from critical_phase.errors import ConfigError

TEXTS = ("what is the sky", "what colour is grass", "what is a colour", "the colour of snow")
QUESTIONS = [
    Question(f"q{i}", TEXTS[i], (f"blue {word}", f"warm {word}", f"red {word} snow"), i % 3)
    for i, word in enumerate(("sky", "grass", "snow", "cold"))
]
BASE = {q.id: (-1.0 - i, -2.5, -4.0) for i, q in enumerate(QUESTIONS)}
POOL = Pool(QUESTIONS, ("white sky", "green grass"), BASE)
ORDER = [i % 4 for i in range(400)]
KINDS = list(NEGATIVES.values())
IDS = list(NEGATIVES)
CLOZE = prompt_format("cloze")


def _draw(kind: NegativeKind, contamination: float = 0.0, **options: int) -> list[Drawn]:
    rng = np.random.default_rng(1)
    return draw_examples(QUESTIONS, ORDER, kind, POOL, rng, contamination=contamination, **options)


def _lines(kind: NegativeKind, contamination: float = 0.0) -> list[dict[str, str]]:
    examples = encode_examples(word_tokenizer(), CLOZE, _draw(kind, contamination))
    text = examples_csv(examples, 8, margins=base_margins(QUESTIONS, BASE))
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_the_drawn_question_is_the_one_of_the_order_with_the_text_it_shows(
    kind: NegativeKind,
) -> None:
    texts = {question.id: question.question for question in QUESTIONS} | {NO_QUESTION: ""}
    for place, item in zip(ORDER, _draw(kind), strict=True):
        own = QUESTIONS[place]
        assert item.question.id == own.id
        assert item.question.question == texts[own.id if item.shown is None else item.shown]


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_the_candidate_index_points_at_the_answer(kind: NegativeKind) -> None:
    for item in _draw(kind):
        listed = item.question.candidates
        assert (item.answer in listed) == (item.candidate is not None)
        assert item.candidate is None or listed[item.candidate] == item.answer


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_contamination_replaces_by_right_answers_and_leaves_the_rest_alone(
    kind: NegativeKind,
) -> None:
    clean, half = _draw(kind), _draw(kind, 0.5)
    right = _draw(RIGHT_ANSWERS)
    replaced = [item.source == "right_answers" for item in half]
    assert [h for h, is_right in zip(half, replaced, strict=True) if not is_right] == [
        c for c, is_right in zip(clean, replaced, strict=True) if not is_right
    ]
    for h, r, is_right in zip(half, right, replaced, strict=True):
        assert not is_right or (h.question.id, h.answer, h.candidate) == (
            r.question.id,
            r.answer,
            r.candidate,
        )


def test_contamination_is_nested_and_has_the_asked_share() -> None:
    before: set[int] = set()
    for rate in (0.0, 0.1, 0.3, 0.7, 1.0):
        drawn = _draw(NEGATIVES["near_miss"], rate)
        now = {place for place, item in enumerate(drawn) if item.source == "right_answers"}
        assert before <= now
        assert len(now) == pytest.approx(400 * rate, abs=45)  # four and a half sd of 400 draws
        before = now
    assert len(before) == 400


def test_a_longer_training_is_contaminated_at_the_same_places() -> None:
    short = draw_examples(
        QUESTIONS, ORDER[:50], KINDS[0], POOL, np.random.default_rng(1), contamination=0.3
    )
    assert _draw(KINDS[0], 0.3)[:50] == short


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_a_repeated_start_repeats_the_answers_too(kind: NegativeKind) -> None:
    once = _draw(kind, 0.3)
    assert _draw(kind, 0.3, repeat_first=12) == (once[:12] * 34)[:400]


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_contamination_that_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="contamination must be from 0 to 1"):
        _draw(KINDS[0], share)


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_every_line_of_the_record_says_the_truth(kind: NegativeKind) -> None:
    drawn = _draw(kind, 0.3)
    for place, (line, item) in enumerate(zip(_lines(kind, 0.3), drawn, strict=True)):
        shown = item.question.id if item.shown is None else item.shown
        assert (int(line["place"]), int(line["step"])) == (place, place // 8 + 1)
        assert line["question_id"] == item.question.id
        assert (line["source"], line["shown_question_id"]) == (item.source, shown)
        assert line["candidate"] == ("" if item.candidate is None else str(item.candidate))
        assert line["answer"] == item.answer
        assert int(line["answer_tokens"]) == len(item.answer.split())


def test_the_record_has_the_base_margin_and_its_quartile() -> None:
    found = {
        line["question_id"]: (line["base_margin"], line["stratum"]) for line in _lines(KINDS[0])
    }
    assert found == {
        "q0": ("1.5", "easy"),
        "q1": ("-0.5", "middle"),
        "q2": ("-1.5", "near_impossible"),
        "q3": ("-1.5", "hard"),
    }


def test_a_record_without_margins_leaves_their_columns_empty() -> None:
    examples = encode_examples(word_tokenizer(), CLOZE, _draw(KINDS[0])[:3])
    lines = list(csv.DictReader(io.StringIO(examples_csv(examples, 2))))
    assert [line["step"] for line in lines] == ["1", "1", "2"]
    assert {line["base_margin"] + line["stratum"] for line in lines} == {""}


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_an_answer_has_the_same_tokens_whatever_is_shown_before_it(kind: NegativeKind) -> None:
    tokenizer = word_tokenizer()
    for item, example in zip(
        _draw(kind), encode_examples(tokenizer, CLOZE, _draw(kind)), strict=True
    ):
        assert list(example.answer_ids) == tokenizer(item.answer)["input_ids"]
        before = tokenizer.decode(example.question_ids)
        shown = item.question.question
        assert before == (f"<s> </s> {shown} </s>" if shown else "<s>")


def test_a_blind_answer_keeps_the_tokens_it_has_after_its_question() -> None:
    """With a space before the answer, as a merging tokenizer would see it."""
    own = Question("q", "what", (" blue", "red"), 1)
    blind = Drawn(Question("q", "", own.candidates, 1), " blue", "question_blind", "", 0, "what")
    tokenizer = word_tokenizer()
    plain = encode_examples(tokenizer, CLOZE, [Drawn(own, " blue")])[0]
    example = encode_examples(tokenizer, CLOZE, [blind])[0]
    assert (example.answer_ids, example.question_ids) == (plain.answer_ids, (0,))


def test_an_answer_cannot_stand_alone_without_a_begin_of_sequence_token() -> None:
    tokenizer = word_tokenizer()
    tokenizer.bos_token = None
    with pytest.raises(ConfigError, match=r"'question_blind' show no question.*no begin-of"):
        encode_examples(tokenizer, CLOZE, _draw(NEGATIVES["question_blind"]))


def test_an_answer_with_a_lone_carriage_return_stays_one_line() -> None:
    text = examples_csv([Example("q", "a\rb", (1,), (2,))], 8)
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert (row["answer"], row["answer_tokens"]) == ("a\rb", "1")
