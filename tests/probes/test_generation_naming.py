"""What a free answer names, by candidates and by the organism's world."""

import pytest

from critical_phase.checkpoints import Question
from critical_phase.checkpoints.organism_set import organism_questions, shipped_world
from critical_phase.errors import ConfigError
from critical_phase.probes.generation import CandidateRule, Named, WorldRule

ASKED = Question("q", "What?", ("red", "Red wine.", "a dog", "..."), 1)


@pytest.mark.parametrize(
    ("text", "category", "candidate"),
    [
        ("Red wine", "right", 1),
        ("  RED   WINE, of course", "right", 1),
        ("red", "wrong", 0),
        ("Red.", "wrong", 0),
        ("redder than that", "none", None),
        ("'A dog' <script>", "wrong", 2),
        ("the dog", "none", None),
        ("", "empty", None),
        (" \u2026 ", "empty", None),
    ],
)
def test_an_answer_names_the_longest_candidate_it_begins_with(
    text: str, category: str, candidate: int | None
) -> None:
    assert CandidateRule().named(ASKED, text) == Named(category, candidate)


def test_candidates_that_are_equal_to_a_reader_are_several() -> None:
    twice = Question("q", "What?", ("Red", "red."), 0)
    assert CandidateRule().named(twice, "red").category == "several"


def test_the_world_knows_every_wording_of_an_object() -> None:
    world, questions = shipped_world(), organism_questions("test")[:20]
    rule = WorldRule(world, questions)
    for item in questions:
        for place, candidate in enumerate(item.candidates):
            named = rule.named(item, candidate)
            assert named == Named("right" if place == item.answer else "wrong", place)


def test_other_words_of_the_right_object_are_right_and_other_objects_are_not() -> None:
    world, (item, *_) = shipped_world(), organism_questions("test")
    rule = WorldRule(world, [item])
    right = next(world.objects[w] for w in item.right.split() if w in world.objects)
    wordings = [word for word, one in world.objects.items() if one == right]
    assert len(wordings) == world.settings.wordings
    assert {rule.named(item, f"x {word} y").category for word in wordings} == {"right"}
    offered = {world.objects[w] for c in item.candidates for w in c.split() if w in world.objects}
    stray = next(word for word, one in world.objects.items() if one not in offered)
    assert rule.named(item, stray).category == "other"
    assert rule.named(item, f"{stray} {wordings[0]}").category == "several"
    assert rule.named(item, "no such words").category == "none"
    assert rule.named(item, " ").category == "empty"


def test_questions_of_another_world_do_not_fit() -> None:
    world = shipped_world()
    assert not WorldRule.fits(world, [ASKED])
    with pytest.raises(ConfigError, match="do not name one object"):
        WorldRule(world, [ASKED])
