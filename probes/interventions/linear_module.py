"""The linear map that an update belongs to, by name."""

from typing import Any

from critical_phase.errors import CheckpointError


def linear_module(model: Any, name: str) -> Any:
    """Return a module of the base that updates can be added to.

    Raises:
        CheckpointError: The base has no module of that name, or it is no linear map.
    """
    try:
        module = model.get_submodule(name)
    except AttributeError as error:
        raise CheckpointError(
            f"the base model has no module {name}",
            fix="give the model that the adapter was trained on",
        ) from error
    if type(module).__name__ not in ("Linear", "Conv1D"):
        raise CheckpointError(f"{name} is a {type(module).__name__}, not a linear map")
    return module
