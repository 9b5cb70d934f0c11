"""Untrusted text on a page: made visible, cut at a length, freed of machine paths."""

import re

LONGEST = 2000
"""Characters of a question or candidate that are shown."""
_PATH = re.compile(r"(?<![\w.:/~-])(?:~|[A-Za-z]:(?=[\\/]))?[\\/](?:[^\s\\/'\"<>|:,;()]+[\\/])+")
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)


def visible(text: str) -> str:
    """Show control and direction characters as symbols, and cut a very long text."""
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}… (cut; {len(text)} characters)"
    return _INVISIBLE.sub(_symbol, text)


def scrub(text: str) -> str:
    """Cut the folders off absolute paths: `/home/me/runs/a` becomes `…/a`."""
    return _PATH.sub("…/", text)


def dedent(code: str) -> str:
    """Cut indentation, comment lines and empty lines of code, to make pages smaller.

    Not for code with texts that run over several lines.
    """
    return re.sub(r"(?m)^[ \t]*(//.*)?\n|^[ \t]+", "", code)


def _symbol(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "\u2421" if code == 0x7F else f"⟨U+{code:04X}⟩"
