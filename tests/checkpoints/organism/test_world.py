"""The world is fixed by its settings, and its questions keep their promises."""

from pathlib import Path

import numpy as np
import pytest

from critical_phase.checkpoints.organism import World, WorldSettings, load_settings
from critical_phase.checkpoints.organism.settings import save_settings
from critical_phase.errors import CheckpointError, ConfigError


@pytest.fixture(scope="module")
def world() -> World:
    return World(WorldSettings(subjects=40, fillers=6, seed=3))


def fact_of(question: str) -> str:
    return " ".join(question.split()[:2])


def test_equal_settings_make_equal_worlds(world: World) -> None:
    again = World(world.settings)
    assert again.words == world.words
    assert again.questions("test", 50, 1) == world.questions("test", 50, 1)
    assert again.unrelated_texts(9, 1) == world.unrelated_texts(9, 1)
    first, second = (w.documents(20, np.random.default_rng(0)) for w in (world, again))
    np.testing.assert_array_equal(first.words, second.words)


def test_another_seed_makes_another_world(world: World) -> None:
    other = World(WorldSettings(subjects=40, fillers=6, seed=4))
    assert other.words != world.words
    assert (other.facts != world.facts).any()


def test_train_and_test_facts_are_disjoint(world: World) -> None:
    train = {fact_of(q["question"]) for q in world.questions("train", 500, 0)}
    test = {fact_of(q["question"]) for q in world.questions("test", 500, 0)}
    assert len(train) == len(test) == 60
    assert not train & test


def test_each_fact_is_asked_once_before_any_twice(world: World) -> None:
    asked = [fact_of(q["question"]) for q in world.questions("test", 120, 2)]
    assert len(set(asked[:60])) == len(set(asked[60:])) == 60


def test_candidates_are_of_one_pool_and_one_is_right(world: World) -> None:
    s, place = world.settings, world.settings.formal + world.settings.leads
    number = {word: i for i, word in enumerate(world.words)}
    objects = len(world.words) - s.unrelated_words - s.relations * s.objects * s.wordings
    for question in world.questions("test", 60, 0):
        named = [number[c.split()[place]] - objects for c in question["candidates"]]
        relation, stated = np.divmod(np.array(named) // s.wordings, s.objects)
        subject = number[question["question"].split()[0]] - number_of_first_subject(world)
        assert len(set(stated)) == 4
        assert len(set(relation)) == 1
        right = np.flatnonzero(stated == world.facts[relation[0], subject])
        assert right.tolist() == [question["answer"]]


def number_of_first_subject(world: World) -> int:
    return 4 + 2 + world.settings.relations


def test_the_right_candidate_stands_everywhere_equally_often(world: World) -> None:
    places = [q["answer"] for q in world.questions("train", 1000, 0)]
    # Four standard errors of a share of one quarter in 1000 draws.
    np.testing.assert_allclose(np.bincount(places) / 1000, 0.25, atol=4 * 0.0137)


def test_right_and_wrong_candidates_are_worded_alike(world: World) -> None:
    questions = world.questions("train", 1000, 0)
    place, usual = world.settings.formal, {}
    for right in (True, False):
        words = [
            c.split()[place]
            for q in questions
            for i, c in enumerate(q["candidates"])
            if (i == q["answer"]) == right
        ]
        usual[right] = np.mean([word == max(set(words), key=words.count) for word in words])
    # Four standard errors, at most, of the difference of a share of 1000 and one of 3000.
    assert usual[True] == pytest.approx(usual[False], abs=4 * 0.0183)


def test_unrelated_texts_share_no_word_with_answers(world: World) -> None:
    texts = {word for text in world.unrelated_texts(200, 0) for word in text.split()}
    answers = {
        word
        for q in world.questions("train", 500, 0)
        for c in q["candidates"]
        for word in c.split()
    }
    assert not texts & answers


def test_authors_mark_the_share_of_documents_that_was_asked(world: World) -> None:
    half = World(WorldSettings(subjects=40, fillers=6, accessibility=0.5))
    documents = half.documents(4000, np.random.default_rng(0))
    marked = np.isin(documents.words[:, 1], (4, 5))
    assert marked.mean() == pytest.approx(0.5, abs=4 * 0.0079)
    open_about_it = documents.words[marked, 1] == 4
    np.testing.assert_array_equal(open_about_it, documents.reliable[marked])


def test_settings_survive_a_round_trip(world: World, tmp_path: Path) -> None:
    save_settings(world.settings, tmp_path)
    assert load_settings(tmp_path) == world.settings


def test_a_missing_world_is_a_checkpoint_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no readable world\.json"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"), [("objects", 3), ("reliable", 1.5), ("zipf", -1.0), ("seed", -1)]
)
def test_impossible_settings_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} .* found {value}"):
        WorldSettings(**{name: value})  # type: ignore[arg-type]


def test_an_unknown_split_is_refused(world: World) -> None:
    with pytest.raises(ConfigError, match="no split 'dev'"):
        world.questions("dev", 3, 0)
