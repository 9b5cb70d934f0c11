"""`probe organism`: make the embedded model, or a sibling, anew."""

from pathlib import Path

from critical_phase.checkpoints.organism import (
    build_organism,
)
from critical_phase.cli.console import bar, result


def build(*, out: Path, scale: float, accessibility: float, steps: int, seed: int) -> None:
    """Pretrain the organism from its seed and write it to OUT."""
    with bar("pretrain", steps) as progress:
        build_organism(
            out,
            scale=scale,
            accessibility=accessibility,
            seed=seed,
            steps=steps,
            progress=progress,
        )
    result(str(out))
