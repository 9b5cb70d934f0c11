"""Every kind of negatives keeps its word, and says beforehand where it cannot."""

import numpy as np
import pytest

from critical_phase.checkpoints import (
    NEGATIVES,
    NO_QUESTION,
    Choice,
    NegativeKind,
    Pool,
    Question,
    check_supply,
    negative_kind,
)
from critical_phase.errors import ConfigError

QUESTIONS = [Question(str(i), f"q{i}", (f"v{i}", f"r{i}", f"w{i}", f"u{i}"), 1) for i in range(6)]
BASE = {str(i): (-5.0, -1.0, -2.0, -9.0) for i in range(6)}
POOL = Pool(QUESTIONS, ("far", "away"), BASE)
KINDS = list(NEGATIVES.values())
WITH_WRONG = [kind for kind in KINDS if "wrong_candidates" in kind.needs]


def _choices(kind: NegativeKind, question: Question = QUESTIONS[0]) -> list[Choice]:
    rng = np.random.default_rng(0)
    return [kind.choose(question, POOL, rng) for _ in range(600)]


def _answers(name: str) -> list[str]:
    return [choice.answer for choice in _choices(NEGATIVES[name])]


@pytest.mark.parametrize("name", NEGATIVES)
def test_every_kind_is_listed_under_its_name_and_signs_its_choices(name: str) -> None:
    assert NEGATIVES[name].name == name
    assert {choice.source for choice in _choices(NEGATIVES[name])} == {name}


@pytest.mark.parametrize("kind", KINDS, ids=NEGATIVES)
def test_only_the_control_of_right_answers_gives_the_right_answer(kind: NegativeKind) -> None:
    right = {choice.answer == "r0" for choice in _choices(kind)}
    assert right == {kind.name == "right_answers"}


@pytest.mark.parametrize("kind", WITH_WRONG, ids=lambda kind: kind.name)
def test_kinds_that_need_wrong_candidates_give_one_of_the_own_question(kind: NegativeKind) -> None:
    for question in QUESTIONS:
        assert {choice.answer for choice in _choices(kind, question)} <= set(question.wrong)


@pytest.mark.parametrize("kind", KINDS, ids=NEGATIVES)
def test_only_shuffled_and_blind_answers_stand_behind_another_text(kind: NegativeKind) -> None:
    shown = {choice.shown for choice in _choices(kind)}
    known = {"shuffled_question": set("12345"), "question_blind": {NO_QUESTION}}
    assert shown == known.get(kind.name, {None})


@pytest.mark.parametrize("kind", KINDS, ids=NEGATIVES)
def test_a_seed_gives_the_same_choices_again(kind: NegativeKind) -> None:
    assert _choices(kind) == _choices(kind)


@pytest.mark.parametrize("name", ["near_miss", "shuffled_question", "question_blind"])
def test_wrong_candidates_are_drawn_evenly(name: str) -> None:
    drawn = _answers(name)
    assert set(drawn) == {"v0", "w0", "u0"}
    assert min(drawn.count(text) for text in set(drawn)) > 150  # 200 expected, sd 12


def test_a_random_near_miss_costs_one_draw_as_it_always_did() -> None:
    """Runs of a seed keep their negatives: the slow formula, written out."""
    rng, reference = np.random.default_rng(3), np.random.default_rng(3)
    for question in QUESTIONS * 20:
        expected = question.wrong[int(reference.integers(3))]
        assert NEGATIVES["near_miss"].choose(question, POOL, rng).answer == expected


def test_an_irrelevant_answer_costs_one_draw_as_it_always_did() -> None:
    rng, reference = np.random.default_rng(3), np.random.default_rng(3)
    for question in QUESTIONS * 20:
        while (other := QUESTIONS[int(reference.integers(6))].right) in question.candidates:
            pass
        assert NEGATIVES["irrelevant"].choose(question, POOL, rng).answer == other


def test_first_hardest_and_easiest_are_where_they_were_planted() -> None:
    assert set(_answers("near_miss_first")) == {"v0"}
    assert set(_answers("near_miss_hardest")) == {"w0"}
    assert set(_answers("near_miss_easiest")) == {"u0"}


@pytest.mark.parametrize("name", ["near_miss_hardest", "near_miss_easiest"])
def test_equally_likely_near_misses_are_drawn_evenly(name: str) -> None:
    pool = Pool(QUESTIONS, base_scores={"0": (-2.0, -1.0, -2.0, -2.0)})
    rng = np.random.default_rng(0)
    drawn = [NEGATIVES[name].choose(QUESTIONS[0], pool, rng).answer for _ in range(600)]
    assert min(drawn.count(text) for text in ("v0", "w0", "u0")) > 150


def test_an_irrelevant_answer_is_right_for_another_question() -> None:
    assert set(_answers("irrelevant")) == {f"r{i}" for i in range(1, 6)}


def test_unrelated_text_comes_from_the_given_texts() -> None:
    assert set(_answers("unrelated")) == {"far", "away"}


def test_the_only_fitting_question_is_found_among_thousands() -> None:
    """Trying at random would miss it: all others have the text of the question itself."""
    same = [Question(f"s{i}", "one text", ("a", "b"), 0) for i in range(5000)]
    odd = Question("odd", "another", ("c", "d"), 0)
    pool, rng = Pool([*same, odd]), np.random.default_rng(0)
    assert NEGATIVES["shuffled_question"].choose(same[0], pool, rng).shown == "odd"
    assert NEGATIVES["irrelevant"].choose(same[0], pool, rng).answer == "c"


@pytest.mark.parametrize("kind", KINDS, ids=NEGATIVES)
def test_a_full_pool_supplies_every_kind(kind: NegativeKind) -> None:
    check_supply(kind, POOL)


@pytest.mark.parametrize("kind", WITH_WRONG, ids=lambda kind: kind.name)
def test_a_question_without_a_wrong_candidate_is_refused(kind: NegativeKind) -> None:
    lonely = Question("lonely", "q", ("r",), 0)
    with pytest.raises(ConfigError, match="wrong candidates: 1 of 7 questions have none, first 'l"):
        check_supply(kind, Pool([*QUESTIONS, lonely], base_scores=BASE))


def test_unrelated_negatives_without_texts_are_refused() -> None:
    with pytest.raises(ConfigError, match="--unrelated FILE"):
        check_supply(NEGATIVES["unrelated"], Pool(QUESTIONS))


def test_shuffled_questions_without_a_text_are_counted() -> None:
    pairs = [Question("pair", "", ("a", "b"), 0), Question("pear", "", ("c", "d"), 0)]
    with pytest.raises(ConfigError, match="with a text: 2 of 8 questions have none, first 'pair'"):
        check_supply(NEGATIVES["shuffled_question"], Pool([*QUESTIONS, *pairs]))


def test_one_text_cannot_be_shuffled() -> None:
    same = [Question(str(i), "q", (f"a{i}", f"b{i}"), 0) for i in range(3)]
    with pytest.raises(ConfigError, match="two different question texts, found 1"):
        check_supply(NEGATIVES["shuffled_question"], Pool(same))


def test_shuffling_among_questions_that_list_the_answer_too_is_refused() -> None:
    """With yes and no everywhere, a shuffled wrong answer is right half of the time."""
    binary = [Question(str(i), f"q{i}", ("yes", "no"), i % 2) for i in range(4)]
    with pytest.raises(ConfigError, match=r"lists its wrong answer too \(4 such questions\)"):
        check_supply(NEGATIVES["shuffled_question"], Pool(binary))


def test_an_irrelevant_answer_that_does_not_exist_is_found_before_training() -> None:
    twins = [Question("a", "q", ("x", "y"), 0), Question("b", "p", ("y", "x"), 0)]
    message = r"question 'a': no other question has an answer unlike its candidates \(2 such"
    with pytest.raises(ConfigError, match=message):
        check_supply(NEGATIVES["irrelevant"], Pool(twins))


@pytest.mark.parametrize("name", ["irrelevant", "shuffled_question"])
def test_what_the_check_lets_pass_can_be_drawn_and_the_rest_cannot(name: str) -> None:
    """The check counts, the draw searches: they agree on random small sets."""
    kind, agreed = NEGATIVES[name], {True: 0, False: 0}
    for seed in range(200):
        rng = np.random.default_rng(seed)
        questions = [
            Question(str(i), f"q{rng.integers(3)}", tuple(rng.permutation(list("abcd"))[:2]), 0)
            for i in range(4)
        ]
        pool = Pool(questions)
        agreed[_supplies(kind, pool)] += 1
        assert _supplies(kind, pool) == _draws_every_answer(kind, pool)
    assert min(agreed.values()) > 10


def _supplies(kind: NegativeKind, pool: Pool) -> bool:
    try:
        kind.check(pool)
    except ConfigError:
        return False
    return True


def _draws_every_answer(kind: NegativeKind, pool: Pool) -> bool:
    """One wrong candidate each, so one draw says it."""
    try:
        for question in pool.questions:
            kind.choose(question, pool, np.random.default_rng(0))
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize("name", ["near_miss_hardest", "near_miss_easiest"])
@pytest.mark.parametrize("scores", [None, (-1.0, -2.0), (-1.0, -2.0, float("nan"), -3.0)])
def test_missing_base_scores_are_refused(name: str, scores: tuple[float, ...] | None) -> None:
    base = {key: value for key, value in BASE.items() if key != "4"}
    base |= {} if scores is None else {"4": scores}
    with pytest.raises(ConfigError, match="candidate: 1 of 6 questions have none, first '4'"):
        check_supply(NEGATIVES[name], Pool(QUESTIONS, base_scores=base))


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="near_miss, irrelevant, unrelated"):
        negative_kind("wrong")
