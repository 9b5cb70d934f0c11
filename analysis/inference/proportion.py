"""How sure is a share that was counted?

Reference: Wilson (1927), J. Am. Stat. Assoc. 22, 209:
(p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n).
"""

import numpy as np
from jaxtyping import Float

Z = 1.959963984540054
"""Quantile of the normal distribution for 95 %."""


def wilson(
    share: Float[np.ndarray, "..."], total: int, z: float = Z
) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Return Wilson's score interval of shares of independent trials.

    Args:
        share: Shares of successes, 0 to 1. Ties that count in part vary less than trials
            that succeed or fail, so the interval is too wide for them.
        total: How many trials a share is of.
        z: Quantile of the normal distribution, 95 % unless told.
    """
    size = 1 + z**2 / total
    middle = (share + z**2 / (2 * total)) / size
    half = z / size * np.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    # The ends are exact where nothing or everything succeeded; rounding would miss them.
    return np.where(share > 0, middle - half, 0.0), np.where(share < 1, middle + half, 1.0)


def wilson_of_count(count: int, total: int) -> tuple[float, float]:
    """Return the same of one count of successes; (0, 1) without any trial."""
    if total == 0:
        return 0.0, 1.0
    low, high = wilson(np.array([count / total]), total)
    return float(low[0]), float(high[0])
