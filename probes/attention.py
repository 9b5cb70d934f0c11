"""What the last token of each answer attends to, per layer and attention head."""

import contextlib
import functools
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from critical_phase.errors import CheckpointError
from critical_phase.probes.attention_row import (
    Reader,
    implementation,
    query_rows,
    reading,
    seen_rows,
)
from critical_phase.probes.attention_summary import INDUCTION_KEYS, summaries_of, summarise
from critical_phase.probes.batches import Batch
from critical_phase.probes.collector import Arrays, Coordinate, Dataset, Scene
from critical_phase.probes.hooks import Hook, Hooks
from critical_phase.probes.read_out import ReadOut, ReadOuts

HOOK_NAME = "blocks.{block}.attn.hook_pattern"


class Attention:
    """Reads the row of `hook_pattern` at answer_end, and whole patterns of a few rows.

    Keys are counted in the row's own tokens (question, then own candidate), never in
    slots of the packed input, and every row is made to sum to 1 in float32.
    """

    name: ClassVar[str] = "attention"
    version: ClassVar[int] = 2
    """2: summaries of induction and of text beside the question."""

    def __init__(self, scene: Scene) -> None:
        """Note the modules."""
        self._scene = scene
        self._rows: dict[int, Tensor] = {}
        self._patterns: dict[int, dict[int, Tensor]] = {}
        self._batch: Batch | None = None
        self._chosen: list[tuple[int, int]] = []
        """Pairs of (place in pattern_rows, place in the batch)."""
        self._layouts = ReadOuts(scene.plan)
        self._layout: ReadOut | None = None
        self._seen: dict[int, tuple[Tensor | None, Tensor]] = {}
        """Rows of each mask of a pass; the mask is held, so that no other takes its id."""

    @property
    def datasets(self) -> tuple[Dataset, ...]:
        """The row, its summaries, and patterns where rows were chosen."""
        share = "share of the attention weight, 0 to 1; keys are the row's own tokens"
        made = [
            Dataset(
                "attention_row",
                ("block", "row", "attention_head", "key"),
                torch.float32,
                f"{share}, padded with 0 beyond key_length",
                HOOK_NAME,
            ),
            Dataset("key_length", ("row",), torch.int32, "valid keys of each row"),
            Dataset("induction_keys", ("row",), torch.int32, INDUCTION_KEYS),
        ]
        for name, about in summaries_of(self._scene.plan).items():
            dims = ("block", "row", "attention_head")
            made.append(Dataset(f"attention_summary/{name}", dims, torch.float32, about, HOOK_NAME))
        if self._scene.pattern_rows:
            axes = ("block", "pattern_row", "attention_head", "query", "key")
            about = f"{share}, padded with 0"
            made.append(Dataset("pattern", axes, torch.float32, about, HOOK_NAME))
        return tuple(made)

    @property
    def coordinates(self) -> dict[str, Coordinate]:
        """Attention heads, keys and queries are numbered from 0."""
        keys = np.arange(self._scene.max_keys, dtype=np.int32)
        found: dict[str, Coordinate] = {
            "block": np.arange(self._scene.sites.layers, dtype=np.int32),
            "attention_head": np.arange(self._scene.attention_heads, dtype=np.int32),
            "key": keys,
        }
        if self._scene.pattern_rows:
            found["pattern_row"] = np.array(self._scene.pattern_rows, dtype=np.int32)
            found["query"] = keys
        return found

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Keep sdpa and read beside it, or switch to eager where the family needs it."""
        modules = self._scene.sites.attention
        if self._scene.attention_way == "interface":
            readers = {module: self._reader(i) for i, module in enumerate(modules)}
            with reading(self._scene.model, readers):
                yield
        elif self._scene.attention_way == "bridge":  # modules are points the pattern runs through
            take = (functools.partial(self.take_weights, i) for i in range(len(modules)))
            with Hooks([Hook(m, "input", f) for m, f in zip(modules, take, strict=True)]):
                yield
        else:
            with implementation(self._scene.model, "eager"), _Weights(self, modules):
                yield

    def start(self, batch: Batch) -> None:
        """Forget the last batch."""
        self._batch = batch
        self._layout = self._layouts.of(batch)
        self._seen.clear()
        self._rows.clear()
        self._patterns.clear()
        places = {int(row): local for local, row in enumerate(batch.rows)}
        self._chosen = [
            (i, places[row]) for i, row in enumerate(self._scene.pattern_rows) if row in places
        ]

    def store(self, arrays: Arrays) -> None:
        """Copy rows, summaries and patterns of every layer.

        Raises:
            CheckpointError: A layer gave no row: this family ignores the interface.
        """
        assert self._batch is not None
        assert self._layout is not None
        missing = [i for i in range(self._scene.sites.layers) if i not in self._rows]
        if missing:
            raise CheckpointError(
                f"attention of blocks {missing} was not read: the model did not call our function",
                fix="collect without attention, or report the model's family",
            )
        rows = torch.from_numpy(self._batch.rows)
        send, lengths, text = self._scene.transfer.send, self._batch.key_length, self._layout.text
        heads, blocks = self._scene.attention_heads, range(self._scene.sites.layers)
        own = torch.cat([self._rows.pop(block) for block in blocks], dim=1)
        summaries = summarise(own, lengths, self._layout.question, text)
        for name, counts in (("key_length", lengths), ("induction_keys", text.induction_keys)):
            send(counts.int(), functools.partial(arrays[name].index_copy_, 0, rows))
        target = arrays["attention_row"][..., : own.shape[-1]]
        send(_by_block(own, heads), functools.partial(target.index_copy_, 1, rows))
        for name, values in summaries.items():
            target = arrays[f"attention_summary/{name}"]
            send(_by_block(values, heads), functools.partial(target.index_copy_, 1, rows))
        for block, patterns in self._patterns.items():
            for place, pattern in patterns.items():
                n = pattern.shape[-1]
                send(pattern, arrays["pattern"][block, place, :, :n, :n].copy_)
        self._patterns.clear()

    def take_weights(self, block: int, weights: Tensor) -> None:
        """Read rows out of a whole eager pattern [line, attention_head, slot, slot]."""
        batch = self._batch
        assert batch is not None
        self._keep(block, weights[batch.owner, :, batch.ends[:, 1]].float())
        for place, local in self._chosen:
            own = batch.keys[local, : int(batch.key_length[local])]
            whole = weights[batch.owner[local]][:, own][:, :, own].float()
            self._patterns.setdefault(block, {})[place] = whole / whole.sum(-1, keepdim=True)

    def _reader(self, block: int) -> Reader:
        def read(query: Tensor, key: Tensor, mask: Tensor | None, scaling: float) -> None:
            batch = self._batch
            assert batch is not None
            layout = self._layout
            assert layout is not None
            if id(mask) not in self._seen:  # the same mask comes back in every block of a pass
                self._seen[id(mask)] = (mask, seen_rows(mask, layout.slots, key.shape[2]))
            weights = query_rows(query, key, self._seen[id(mask)][1], scaling, layout.slots)
            self._keep(block, weights[batch.owner, :, layout.column])
            for place, local in self._chosen:
                line = slice(int(batch.owner[local]), int(batch.owner[local]) + 1)
                own = batch.keys[local, : int(batch.key_length[local])]
                one_mask = mask if mask is None or mask.shape[0] == 1 else mask[line]
                one_seen = seen_rows(one_mask, own[None], key.shape[2])
                whole = query_rows(query[line], key[line], one_seen, scaling, own[None])
                whole = whole[0][:, :, own]
                self._patterns.setdefault(block, {})[place] = whole / whole.sum(-1, keepdim=True)

        return read

    def _keep(self, block: int, weights: Tensor) -> None:
        """Turn slots into the row's own tokens and make each row sum to 1."""
        layout = self._layout
        assert layout is not None
        own = weights.gather(2, layout.keys.expand(-1, weights.shape[1], -1)) * layout.valid
        self._rows[block] = own / own.sum(-1, keepdim=True)


def _by_block(values: Tensor, heads: int) -> Tensor:
    """Turn [row, block * head, ...] into [block, row, head, ...]."""
    rows, _, *rest = values.shape
    return values.reshape(rows, -1, heads, *rest).transpose(0, 1)


class _Weights(Hooks):
    """Takes the second output of attention modules, which is the pattern under eager."""

    def __init__(self, collector: Attention, modules: tuple[nn.Module, ...]) -> None:
        super().__init__([])
        self._pairs = (collector, modules)

    def __enter__(self) -> "_Weights":
        collector, modules = self._pairs
        for block, module in enumerate(modules):

            def after(_: nn.Module, args: object, output: object, at: int = block) -> None:
                if isinstance(output, tuple) and len(output) > 1 and isinstance(output[1], Tensor):
                    collector.take_weights(at, output[1])

            self._handles.append(module.register_forward_hook(after))
        return self
