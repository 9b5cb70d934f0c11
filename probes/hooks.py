"""Put hooks on modules for the length of a block and take every one of them off again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Hook:
    """One function on one side of one module."""

    module: nn.Module
    side: Literal["input", "output"]
    function: Callable[[Tensor], Tensor | None]
    """Gets the first tensor of that side. A tensor that it returns takes its place; on the
    output side only where the module gives one tensor and nothing else."""


class Hooks:
    """Hooks that live as long as a `with` block, also when the forward pass raises."""

    def __init__(self, hooks: Sequence[Hook]) -> None:
        """Note the hooks; nothing is attached yet."""
        self._hooks = tuple(hooks)
        self._handles: list[Any] = []

    def __enter__(self) -> "Hooks":
        """Attach every hook.

        Raises:
            RuntimeError: These hooks are attached already.
        """
        if self._handles:
            raise RuntimeError("these hooks are already attached; leave the first block before")
        try:
            self._handles += [_attach(hook) for hook in self._hooks]
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove every hook."""
        self._remove()

    def _remove(self) -> None:
        while self._handles:
            self._handles.pop().remove()


def count_hooks(model: nn.Module) -> int:
    """Count the forward hooks that hang on a model, ours or others'."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def first_tensor(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Return the hidden states of a call, given by place or by name."""
    found = args[0] if args else kwargs["hidden_states"]
    assert isinstance(found, Tensor)
    return found


def _attach(hook: Hook) -> Any:
    if hook.side == "input":

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            new = hook.function(first_tensor(args, kwargs))
            if new is None:
                return None
            if args:
                return (new, *args[1:]), kwargs
            return args, {**kwargs, "hidden_states": new}

        return hook.module.register_forward_pre_hook(before, with_kwargs=True)

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if isinstance(output, Tensor):
            return hook.function(output)
        if hook.function(output[0]) is not None:
            raise RuntimeError(f"a {type(module).__name__} gives more than one tensor")
        return None

    return hook.module.register_forward_hook(after)
