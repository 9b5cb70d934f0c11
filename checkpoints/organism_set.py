"""The embedded model's own questions and recipe, as `probe train` uses them."""

import functools

from critical_phase.checkpoints.organism import World, load_world, organism_path
from critical_phase.checkpoints.questions import Question
from critical_phase.errors import ConfigError

DEFAULT_LR = 6e-3
TRAIN_QUESTIONS = 512
TEST_QUESTIONS = 300
UNRELATED_TEXTS = 512
NEUTRAL_TEXTS = 64
QUESTION_SEED = 0
NEUTRAL_SEED = 1


@functools.cache
def shipped_world() -> World:
    """Rebuild the world that the shipped weights were pretrained on."""
    return load_world(organism_path())


def organism_questions(split: str) -> tuple[Question, ...]:
    """Return the fixed questions of a split; the facts of `train` and `test` are disjoint."""
    world = shipped_world()
    if split == "train":
        records = world.questions("train", TRAIN_QUESTIONS, QUESTION_SEED)
    else:
        records = world.questions("test", TEST_QUESTIONS, QUESTION_SEED)
    return tuple(
        Question(r["id"], r["question"], tuple(r["candidates"]), r["answer"], r["group"])
        for r in records
    )


def organism_unrelated_texts() -> tuple[str, ...]:
    """Return texts of the world's other genre, for negatives of the kind `unrelated`."""
    return tuple(shipped_world().unrelated_texts(UNRELATED_TEXTS, QUESTION_SEED))


def organism_neutral_texts(count: int = NEUTRAL_TEXTS) -> tuple[str, ...]:
    """Return texts of the other genre that no negative was taken from, all different."""
    used = set(organism_unrelated_texts())
    drawn = shipped_world().unrelated_texts(4 * count, NEUTRAL_SEED)
    fresh = [text for text in dict.fromkeys(drawn) if text not in used]
    if len(fresh) < count:
        raise ConfigError(
            f"the world has {len(fresh)} unused texts of its other genre, not {count}",
            fix="ask for fewer",
        )
    return tuple(fresh[:count])
