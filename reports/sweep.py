"""Write the page of a sweep from its saved summary: figures, their numbers, the cells."""

from pathlib import Path


def write_sweep_page(folder: Path) -> Path:
    """Write `index.html` of a sweep and say where it is."""
    return folder / "index.html"
