"""EmoNet's weights, found in whatever the code that trained them wrapped around them.

Training code saves the weights alone or in a mapping among optimizers and epochs, under names that
start with those of the objects the network was part of. What is looked for is the one mapping that
holds EmoNet's weights, and the one beginning that their names have in common.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from emonet_deploy.errors import CheckpointError

__all__ = ["LAST_WEIGHT", "find_weights"]

LAST_WEIGHT: Final = "emo_fc_2.3.weight"
"""The weight that tells EmoNet, and its number of classes: no other network has one called so."""

WRAPPERS: Final = frozenset(
    {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
)
"""Parts of a name that PyTorch's own wrappers add, wherever they stand."""

MAX_DEPTH: Final = 4
MAX_MAPPINGS: Final = 1000
MAX_LISTED: Final = 5


@dataclass(frozen=True)
class _Found:
    """Weights under one beginning in one mapping.

    Attributes:
        where: what leads to them, as a user knows it.
        weights: by their names without the beginning.
    """

    where: str
    weights: dict[str, Any]


def find_weights(content: object, path: Path, expected: Collection[str]) -> dict[str, Any]:
    """Return the weights by their names in ``EmoNet``, not yet checked.

    Args:
        content: what the file holds.
        path: of the file, for messages.
        expected: the names of EmoNet's weights; of several sets the one with most of them counts.

    Raises:
        CheckpointError: the file holds no mapping, no weights of an EmoNet, or several sets.
    """
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} is not a checkpoint: it holds a {type(content).__name__}, not a state dict;"
            " save model.state_dict()"
        )
    found = [each for where, mapping in _mappings(content) for each in _sets(where, mapping, path)]
    if not found:
        raise CheckpointError(
            f"{path} lacks the weight '{LAST_WEIGHT}'; name a whole checkpoint of EmoNet"
        )
    held = [sum(name in each.weights for name in expected) for each in found]
    whole = [each for each, names in zip(found, held, strict=True) if names == max(held)]
    if not all(_same(whole[0].weights, other.weights, expected) for other in whole[1:]):
        names = " and ".join(f"'{each.where}'" for each in whole[:MAX_LISTED])
        raise CheckpointError(
            f"{path} holds {len(whole)} different sets of EmoNet's weights, under {names}; save"
            " the one to be used alone"
        )
    return whole[0].weights


def _items(mapping: dict[Any, Any]) -> Iterable[tuple[Any, Any]]:
    # Not `mapping.items()`: a checkpoint can give its dicts attributes that hide their methods.
    return dict.items(mapping)


def _mappings(content: dict[Any, Any]) -> Iterator[tuple[str, dict[Any, Any]]]:
    """Yield a mapping and those within it, each once, with what leads to them."""
    seen: set[int] = set()
    level = [("", content)]
    for _ in range(MAX_DEPTH):
        inner: list[tuple[str, dict[Any, Any]]] = []
        for where, mapping in level:
            if id(mapping) in seen or len(seen) == MAX_MAPPINGS:
                continue
            seen.add(id(mapping))
            yield where, mapping
            inner += [
                (f"{where}.{key}" if where else key, value)
                for key, value in _items(mapping)
                if isinstance(key, str) and isinstance(value, dict)
            ]
        level = inner


def _sets(where: str, mapping: dict[Any, Any], path: Path) -> Iterator[_Found]:
    """Yield the weights under each beginning under which EmoNet's last one lies."""
    if not any(isinstance(key, str) and key.endswith(LAST_WEIGHT) for key, _ in _items(mapping)):
        return
    entries = _unwrapped(mapping, path)
    for key in entries:
        beginning = key.removesuffix(LAST_WEIGHT)
        if beginning == key or (beginning and not beginning.endswith(".")):
            continue
        weights = {name.removeprefix(beginning): value for name, value in entries.items()}
        if len(weights) < len(entries):  # some lie there with and without the beginning
            weights = {
                name.removeprefix(beginning): value
                for name, value in entries.items()
                if name.startswith(beginning)
            }
        names = [part for part in (where, beginning.removesuffix(".")) if part]
        yield _Found(".".join(names) or "the file itself", weights)


def _unwrapped(mapping: dict[Any, Any], path: Path) -> dict[str, Any]:
    """Return the entries whose keys are texts, without the parts that wrappers add."""
    found: dict[str, Any] = {}
    for key, value in _items(mapping):
        if not isinstance(key, str):
            continue
        parts = key.split(".")
        name = ".".join(part for part in parts if part not in WRAPPERS)
        if name in found:
            wrapper = next((part for part in parts if part in WRAPPERS), "module")
            raise CheckpointError(
                f"{path} holds weights both with and without '{wrapper}.' before their names;"
                " keep one set of them"
            )
        found[name] = value
    return found


def _same(one: dict[str, Any], other: dict[str, Any], names: Iterable[str]) -> bool:
    return all(_equal(one.get(name), other.get(name)) for name in names)


def _equal(one: object, other: object) -> bool:
    if not isinstance(one, Tensor) or not isinstance(other, Tensor):
        return one is other
    same = one.shape == other.shape and one.dtype == other.dtype
    return one is other or (same and torch.equal(one, other))
