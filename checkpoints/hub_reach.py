"""Whether the hub answers, asked once: loading without it costs half a minute of retries."""

import functools

CONNECT_TIMEOUT_S = 10.0


@functools.cache
def hub_reachable() -> bool:
    """Ask the hub once; False too where the libraries are told to stay offline."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=CONNECT_TIMEOUT_S)
    except Exception:  # no network, no name, a proxy that refuses: each has its own class
        return False
    return True
