"""What a mistyped model may have meant: the organism, a folder beside it, a model in the cache."""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from huggingface_hub import constants

_HUB = "models--"


def near_model(name: str, known: tuple[str, ...]) -> str | None:
    """Find the model on this disk whose name is nearest; None where none is near.

    Args:
        name: As it was typed.
        known: Names that stand for a model without being a folder.
    """
    near = get_close_matches(name, [n for n in (*known, *_cached()) if n != name], n=1)
    # Of a path only the last part is compared: the rest is the same anyway.
    folders = {path.name: str(path) for path in _beside(name)}
    beside = get_close_matches(Path(name).name, folders, n=1)
    return folders[beside[0]] if beside else near[0] if near else None


def did_you_mean(name: str, known: tuple[str, ...]) -> str:
    """Ask for the nearest model, as the beginning of a fix; empty where none is near."""
    near = near_model(name, known)
    return "" if near is None else f"did you mean {near!r}? "


def _beside(name: str) -> Iterator[Path]:
    """Give the models in the folder that a path points into, written like the path."""
    path = Path(name).expanduser()
    try:
        for other in sorted(path.parent.iterdir()):
            if other.name != path.name and (other / "config.json").is_file():
                yield other
    except OSError:  # no such folder, or none that may be read
        return


def _cached() -> Iterator[str]:
    """Give the names of the hub's models of which something is on this disk."""
    for folder in sorted(Path(constants.HF_HUB_CACHE).glob(f"{_HUB}*")):
        yield folder.name.removeprefix(_HUB).replace("--", "/")
