"""Contexts change what stands before an answer, and nothing that is scored."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tiny_models import word_tokenizer

from critical_phase.checkpoints import PROMPTS, Question
from critical_phase.errors import ConfigError
from critical_phase.probes import (
    CONTEXTS,
    Plan,
    context_kind,
    context_plan,
    demonstrations,
    make_plan,
)
from critical_phase.probes.contexts import ContextRequest, adapter_scale, shuffled

NAMES = ["answer_only", "domain", "shuffled", "filler", "shots-2", "shots-2@7"]
CLOZE, PLAIN = PROMPTS["cloze"], PROMPTS["plain"]


def ask(*texts: str) -> tuple[Question, ...]:
    return tuple(Question(f"q{i}", text, ("a", "b c"), i % 2) for i, text in enumerate(texts))


ASKED = ask("Sky?", "What is two and two?", "Ice is", "Is it so?")
TRAIN = ask("One?", "Two?", "Three?", "Four?", "Five?")


def text_of(plan: Plan, question: int, tokenizer: Any) -> str:
    start, *rest = plan.prompts[question]
    assert start == tokenizer.bos_token_id
    return str(tokenizer.decode(rest)) if rest else ""


def plan_of(name: str, tokenizer: Any, style: Any = CLOZE, seed: int = 0) -> Plan:
    return context_plan(name, ASKED, TRAIN, tokenizer, style, seed)


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_those_of_the_main_plan(name: str, tokenizer: Any, plan: Plan) -> None:
    main, other = plan_of("shots-1", tokenizer), plan_of(name, tokenizer)
    assert (main.answers, main.texts, main.question_ids) == (
        other.answers,
        other.texts,
        other.question_ids,
    )
    np.testing.assert_array_equal(main.correct, other.correct)
    assert main.sha256 != other.sha256
    assert other.prompt_format == f"cloze/{name}"


def test_a_second_scoring_has_the_tokens_of_the_run(tokenizer: Any) -> None:
    main = make_plan(ASKED, tokenizer, CLOZE)
    for name in ("again", "scaled-2.5"):
        plan = plan_of(name, tokenizer)
        assert (plan.prompts, plan.sha256) == (main.prompts, main.sha256)
        assert plan.prompt_format == f"cloze/{name}"
    assert (adapter_scale("scaled-2.5"), adapter_scale("again")) == (2.5, 1.0)


def test_the_answer_alone_follows_the_first_token(tokenizer: Any) -> None:
    assert plan_of("answer_only", tokenizer).prompts == ((tokenizer.bos_token_id,),) * 4


def test_the_domain_premise_is_what_the_format_always_says(tokenizer: Any) -> None:
    assert text_of(plan_of("domain", tokenizer), 2, tokenizer) == "Answer:"
    assert text_of(plan_of("domain", tokenizer, PLAIN), 2, tokenizer) == ""
    own = context_plan("domain", ASKED, (), tokenizer, CLOZE, premise="the answer is:")
    assert text_of(own, 0, tokenizer) == "the answer is:"


def test_shuffled_questions_are_all_anothers(tokenizer: Any) -> None:
    plan = plan_of("shuffled", tokenizer)
    texts = [text_of(plan, q, tokenizer) for q in range(4)]
    assert sorted(texts) == sorted(CLOZE.prompt(q.question) for q in ASKED)
    assert all(text != CLOZE.prompt(q.question) for text, q in zip(texts, ASKED, strict=True))


@pytest.mark.parametrize("seed", range(40))
def test_no_text_meets_itself_where_that_is_possible(seed: int, tokenizer: Any) -> None:
    rng = np.random.default_rng(seed)
    texts = rng.choice(list("abcd"), size=rng.integers(2, 12)).tolist()
    request = ContextRequest("shuffled", ask(*texts), (), tokenizer, PLAIN, seed, None)
    if 2 * max(Counter(texts).values()) > len(texts):
        with pytest.raises(ConfigError, match="cannot all be given another's"):
            shuffled(request)
        return
    given_texts = shuffled(request)
    assert sorted(given_texts) == sorted(texts)
    assert all(a != b for a, b in zip(given_texts, texts, strict=True))


def test_the_seed_decides_the_shuffle(tokenizer: Any) -> None:
    hashes = {plan_of("shuffled", tokenizer, seed=seed).sha256 for seed in range(8)}
    assert len(hashes) > 1
    assert plan_of("shuffled", tokenizer, seed=3).sha256 in hashes


def test_filler_is_as_long_as_the_question(tokenizer: Any) -> None:
    plan, words = plan_of("filler", tokenizer), max(map(len, ("attention", "otherwise")))
    for number, question in enumerate(ASKED):
        length = len(CLOZE.prompt(question.question)) + 1  # one token per character
        assert abs(len(plan.prompts[number]) - length) <= words
        assert question.question not in text_of(plan, number, tokenizer)


def test_filler_of_unknown_words_is_refused() -> None:
    with pytest.raises(ConfigError, match="does not know the words"):
        context_plan("filler", ASKED, (), word_tokenizer(), CLOZE)


def test_shots_are_joined_by_a_blank_line(tokenizer: Any) -> None:
    assert text_of(plan_of("shots-2", tokenizer), 0, tokenizer) == (
        "Question: One?\nAnswer: a\n\nQuestion: Two?\nAnswer: b c\n\nQuestion: Sky?\nAnswer:"
    )


def test_drawn_shots_are_the_same_for_all_questions_and_another_draw_differs(
    tokenizer: Any,
) -> None:
    seven, eight = (demonstrations(f"shots-3@{seed}", TRAIN) for seed in (7, 8))
    assert len({q.id for q in seven}) == 3
    assert [q.id for q in seven] != [q.id for q in eight]
    plan = plan_of("shots-3@7", tokenizer)
    starts = {text_of(plan, q, tokenizer).rpartition("\n\n")[0] for q in range(4)}
    assert len(starts) == 1


@pytest.mark.parametrize(
    "name",
    ["shots", "shots-", "shots-2@", "answer", "shots-2@x", "scaled", "scaled-0.0", "scaled-x"],
)
def test_an_unknown_context_is_refused(name: str, tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match=f"no context '{name}'"):
        plan_of(name, tokenizer)


def test_a_demonstration_must_not_give_a_scored_answer_away(tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match="shows 1 of the questions that are scored"):
        context_plan("shots-2", ASKED, (TRAIN[0], ASKED[0]), tokenizer, PROMPTS["cloze"])


@pytest.mark.parametrize("name", ["shots-6", "shots-0", "shots-9@1"])
def test_more_shots_than_training_questions_are_refused(name: str, tokenizer: Any) -> None:
    with pytest.raises(ConfigError, match="demonstrations of 5 training questions"):
        plan_of(name, tokenizer)


@pytest.mark.parametrize(("name", "match"), [("shuffled", "another's"), ("filler", "no length")])
def test_questions_without_text_cannot_be_exchanged_or_filled(
    name: str, match: str, tokenizer: Any
) -> None:
    with pytest.raises(ConfigError, match=match):
        context_plan(name, ask("", ""), TRAIN, tokenizer, PLAIN)


@pytest.mark.parametrize(("name", "style"), [("answer_only", CLOZE), ("domain", PLAIN)])
def test_nothing_before_an_answer_needs_a_first_token(
    name: str, style: Any, make_tokenizer: Callable[..., Any]
) -> None:
    with pytest.raises(ConfigError, match="puts nothing before the answer"):
        context_plan(name, ASKED, TRAIN, make_tokenizer(bos=False), style)


def test_every_context_is_tested_here() -> None:
    assert {context_kind(name) for name in NAMES} | {"again", "scaled"} == set(CONTEXTS)
