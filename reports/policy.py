"""The Content Security Policy of a page: it may run its own scripts and fetch nothing."""

import base64
import hashlib
from collections.abc import Sequence


def script_text(text: str) -> str:
    """Make a script safe to inline: line ends as the HTML parser leaves them, no early end."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    assert "</script" not in text.lower(), "an inlined script would end early"
    assert "<!--" not in text, "an inlined script would open a comment"
    return text


def script_hash(text: str) -> str:
    """Give the policy's name of an inline script."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def policy(scripts: Sequence[str]) -> str:
    """Allow exactly these inline scripts; styles stay open because SVG needs its attributes."""
    return "; ".join(
        (
            "default-src 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            "script-src " + (" ".join(script_hash(text) for text in scripts) or "'none'"),
            "style-src 'unsafe-inline'",
            "img-src data:",
            "font-src data:",
        )
    )
