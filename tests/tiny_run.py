"""Questions in the words of the tiny model, and what a command printed."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Probe = Callable[..., Outcome]


def copy_scored(run: Path, target: Path) -> Path:
    """Copy what is trained and scored of a run, so that a test may add to it and break it."""
    for name in ("heads", "questions", "scores"):
        shutil.copytree(run / name, target / name)
    for name in ("run.json", "plan.csv"):
        shutil.copy(run / name, target)
    return target


def write_lines(path: Path, questions: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(question) + "\n" for question in questions))
    return path


def colour_questions(start: int, count: int) -> list[dict[str, object]]:
    """Questions in the words of the tiny model, all different."""
    colours = ("blue", "green", "white", "red")
    things = ("sky", "grass", "snow", "warm", "cold")
    made = []
    for i in range(start, start + count):
        thing, answer = things[i % 5], (i * 7 + i // 5) % 4
        text = " ".join(
            ["what is", *(["the"] * (i // 20)), "colour of", thing, things[(i // 5) % 5]]
        )
        made.append(
            {
                "id": f"q{i}",
                "question": text,
                "candidates": [f"{c} {things[(i // 4) % 5]}" for c in colours],
                "answer": answer,
                "group": thing,
            }
        )
    return made
