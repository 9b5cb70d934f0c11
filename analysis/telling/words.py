"""How numbers are written inside sentences."""


def two(value: float) -> str:
    """Write a share with two decimals and no leading zero."""
    text = f"{value:.2f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
