"""How sure is a share that was counted?"""

from statistics import NormalDist


def wilson(count: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion.

    Args:
        count: Successes.
        total: Trials; (0, 1) without any.
        level: Confidence.

    Reference:
        Wilson (1927), JASA 22, 209: (p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n).
    """
    if total == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = count / total
    middle = share + z * z / (2 * total)
    half = z * (share * (1 - share) / total + (z / (2 * total)) ** 2) ** 0.5
    scale = 1 + z * z / total
    # The ends are exact where nothing or everything succeeded; rounding would miss them.
    low = 0.0 if count == 0 else (middle - half) / scale
    high = 1.0 if count == total else (middle + half) / scale
    return low, high
