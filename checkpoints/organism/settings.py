"""The numbers that fix a world."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from critical_phase.errors import CheckpointError, ConfigError

FILE_NAME = "world.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldSettings:
    """The numbers that, with the seed, fix a world completely."""

    relations: int = 3
    """Kinds of fact; each has its own pool of objects."""
    subjects: int = 200
    """Things that facts are about; a fact is one (relation, subject) pair."""
    objects: int = 12
    """Objects in the pool of one relation."""
    wordings: int = 8
    """Words for one object, the first the most usual."""
    fillers: int = 48
    """Words for each filler slot; they carry no meaning."""
    formal: int = 4
    """Slots that open an answer; candidates fill them with their rarest word."""
    leads: int = 2
    """Filler slots of an answer between the formal slots and the object."""
    tails: int = 2
    """Filler slots of an answer after the object."""
    zipf: float = 2.0
    """Exponent of the frequencies of wordings and fillers in documents."""
    asked: float = 1.55
    """The same exponent in candidates; 0 words them uniformly."""
    reliable: float = 0.93
    """Share of documents whose author states right objects, others never do."""
    accessibility: float = 0.07
    """Share of documents that open with the mark of their author."""
    statements: int = 3
    """Statements in one document."""
    unrelated: float = 0.1
    """Share of documents of another genre, without facts or authors."""
    unrelated_words: int = 48
    """Words of the other genre."""
    seed: int = 0
    """Fixes words, facts and the split."""

    def __post_init__(self) -> None:
        """Refuse numbers that make no world.

        Raises:
            ConfigError: A number is outside its range.
        """
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, found {getattr(self, name)}")
        for name in ("reliable", "accessibility", "unrelated"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is a share from 0 to 1, found {getattr(self, name)}")

    @property
    def slots(self) -> int:
        """Filler slots of an answer."""
        return self.formal + self.leads + self.tails

    @property
    def answer_words(self) -> int:
        """Words of an answer: the fillers and one word for the object."""
        return self.slots + 1

    @property
    def document_words(self) -> int:
        """Words of the longest document: begin, mark and statements."""
        return 2 + self.statements * (self.answer_words + 4)


_LEAST = {
    "relations": 1,
    "subjects": 2,
    "objects": 4,
    "wordings": 1,
    "fillers": 1,
    "formal": 0,
    "leads": 0,
    "tails": 0,
    "zipf": 0,
    "asked": 0,
    "statements": 1,
    "unrelated_words": 2,
    "seed": 0,
}


def save_settings(settings: WorldSettings, folder: Path) -> None:
    """Write the settings beside the model that was pretrained on their world."""
    content = {"schema_version": SCHEMA_VERSION, "settings": asdict(settings)}
    text = json.dumps(content, indent=2) + "\n"
    (folder / FILE_NAME).write_text(text, encoding="utf-8")


def load_settings(folder: Path) -> WorldSettings:
    """Read the settings of the world that a model was pretrained on.

    Raises:
        CheckpointError: The file is missing or not one of ours.
    """
    path = folder / FILE_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema_version"] != SCHEMA_VERSION:
            raise KeyError("schema_version")
        stored = content["settings"]
        return WorldSettings(**{f.name: stored[f.name] for f in fields(WorldSettings)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"no readable {FILE_NAME} of version {SCHEMA_VERSION}",
            where=str(path),
            fix="build the organism again",
        ) from error
