"""Write the questions of docs/interventions_measured.md: swapped facts, another genre, a sibling.

`.venv/bin/python docs/scripts/interventions_questions.py OUT [--sibling FOLDER]` writes
OUT/swap/{train,eval}.jsonl and OUT/genre.jsonl, and for a model of `probe organism build` its own
OUT/sibling/{train,eval}.jsonl and neutral.txt.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from critical_phase.checkpoints.organism import World, load_world
from critical_phase.checkpoints.organism_set import shipped_world

GENRE, SHOWN, ASKED = 200, 4, 5
"""Questions on the other genre; words of a walk that are shown, and that are asked for."""


def write(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Write one object per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def genre_questions(world: World) -> list[dict[str, Any]]:
    """Ask how a walk through the other genre's words goes on; three answers cannot follow."""
    follow, words = world._follow, world.words[world._first["unrelated"] :]
    rng = np.random.default_rng(11)

    def walk(start: int, length: int) -> list[int]:
        made = [start]
        while len(made) < length:
            made.append(int(follow[made[-1], rng.integers(follow.shape[1])]))
        return made

    def text(numbers: Sequence[int]) -> str:
        return " ".join(words[number] for number in numbers)

    asked = []
    for number in range(GENRE):
        whole = walk(int(rng.integers(len(follow))), SHOWN + ASKED)
        question, right = whole[:SHOWN], whole[SHOWN:]
        wrong: list[list[int]] = []
        while len(wrong) < 3:
            start = int(rng.integers(len(follow)))
            if start in follow[question[-1]]:
                continue
            other = walk(start, ASKED)
            if other not in wrong:
                wrong.append(other)
        order = rng.permutation(4)
        candidates = [text([right, *wrong][place]) for place in order]
        asked.append(
            {
                "id": f"genre-{number:05d}",
                "question": text(question),
                "candidates": candidates,
                "answer": int(np.flatnonzero(order == 0)[0]),
                "group": "genre",
            }
        )
    return asked


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sibling", type=Path)
    given = parser.parse_args()
    world = shipped_world()
    write(given.out / "swap/train.jsonl", world.questions("test", 512, 7))
    write(given.out / "swap/eval.jsonl", world.questions("train", 300, 7))
    write(given.out / "genre.jsonl", genre_questions(world))
    if given.sibling is not None:
        other = load_world(given.sibling)
        write(given.out / "sibling/train.jsonl", other.questions("train", 512, 0))
        write(given.out / "sibling/eval.jsonl", other.questions("test", 300, 0))
        texts = dict.fromkeys(other.unrelated_texts(64, 1))
        (given.out / "sibling/neutral.txt").write_text("".join(f"{t}\n" for t in texts))


if __name__ == "__main__":
    main()
