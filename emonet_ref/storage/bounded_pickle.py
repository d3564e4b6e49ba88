"""Pickles read within bounds: whatever one says, reading it takes time and memory like its size.

A pickle is a program that may call any function; which ones it gets is for a subclass to say. What
is bounded here is the machine itself: lengths go no further than the content, nothing is made by
calling but through ``call``, nothing is changed but through ``restore``, and keys are texts and
small numbers, because a tuple of tuples of one and the same tuple takes for ever to hash. The
library's reader in Python is the base, since the one in C lets none of this be told apart.
"""

import io
import pickle
import struct
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final, NoReturn

__all__ = ["GuardedUnpickler", "PickleError", "PickleLimitError", "checked_key"]


MAX_PARTS: Final = 8_000_000
"""Containers, and objects remembered for later use: 50,000 samples with landmarks in lists."""

Load = Callable[[Any], None]


class PickleError(Exception):
    """A pickle goes beyond what its reader admits; says how."""


class PickleLimitError(PickleError):
    """Reading a pickle, or what it holds, would take time or memory without measure."""


class GuardedUnpickler(pickle._Unpickler):
    """Reads one pickle after the other from bytes in memory; see the module.

    Subclasses say in ``find_class`` what a name stands for, in ``call`` what calling it gives, and
    in ``restore`` what becomes of an object and its state.
    """

    dispatch: ClassVar[dict[int, Load]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, content: io.BytesIO) -> None:
        # Python 2 wrote array contents as text; Latin-1 gives every byte back.
        super().__init__(content, encoding="latin1")
        self._content = content
        self.parts = 0

    def load(self) -> Any:  # noqa: ANN401 - whatever the pickle holds
        """Return what the next pickle holds.

        Raises:
            Exception: of any type, where the pickle is damaged.
        """
        # As the base class does, but straight from memory, where a length that is longer than what
        # is left gives no more than that; frames only say how to read a file in few pieces.
        self.read, self.readline = self._content.read, self._content.readline
        self.metastack: list[list[Any]] = []
        self.stack: list[Any] = []
        self.append, self.proto = self.stack.append, 0
        read, dispatch = self.read, self.dispatch
        while (code := read(1)) != pickle.STOP:
            if not code:
                raise PickleError("it is cut short")
            dispatch[code[0]](self)
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        """Return what was put on the stack since the last mark."""
        items, self.stack = self.stack, self.metastack.pop()
        self.append = self.stack.append
        return items

    def count(self, parts: int) -> None:
        """Take note of so many parts.

        Raises:
            PickleLimitError: together there are too many of them.
        """
        self.parts += parts
        if self.parts > MAX_PARTS:
            raise PickleLimitError("it has too many parts")

    def call(self, function: object, arguments: tuple[Any, ...]) -> object:
        """Return what stands for a function's result."""
        raise PickleError(f"it asks to run a {type(function).__name__}")

    def restore(self, found: object, state: object) -> None:
        """Give an object its state."""
        if state:
            raise PickleError(f"it changes a {type(found).__name__}")

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        if not isinstance(arguments, tuple):
            raise PickleError("it calls a function without arguments")
        self.stack[-1] = self.call(self.stack[-1], arguments)

    def _build(self) -> None:
        state = self.stack.pop()
        self.restore(self.stack[-1], state)

    def _setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.stack[-1][checked_key(key)] = value

    def _setitems(self) -> None:
        items = self.pop_mark()
        found = self.stack[-1]
        for key, value in zip(items[::2], items[1::2], strict=True):
            found[checked_key(key)] = value

    def _dict(self) -> None:
        items = self.pop_mark()
        keys = map(checked_key, items[::2])
        self.append(dict(zip(keys, items[1::2], strict=True)))

    def _additems(self) -> None:
        items = self.pop_mark()
        found = self.stack[-1]
        if not isinstance(found, set):
            raise PickleError(f"it adds to a {type(found).__name__}")
        found.update(map(checked_key, items))

    def _frozenset(self) -> None:
        items = self.pop_mark()
        self.append(frozenset(map(checked_key, items)))

    def _bytearray(self) -> None:
        self.append(bytearray(self.read(struct.unpack("<Q", self.read(8))[0])))

    def _frame(self) -> None:
        self.read(8)

    def _refuse(self) -> NoReturn:
        raise PickleError("it makes objects in a way that plain data never are")


def checked_key(key: Any) -> Any:  # noqa: ANN401 - what a pickle holds
    """Return a key that is hashed at once.

    Raises:
        PickleError: it is no text, no number of at most 64 bits and no short tuple of those.
    """
    parts: Iterable[Any] = key if type(key) is tuple and len(key) <= 16 else (key,)
    for part in parts:
        fits = part is None or type(part) in {str, bytes, bool}
        if not fits and not (type(part) is int and part.bit_length() <= 64):
            raise PickleLimitError(f"it uses a {type(key).__name__} as a key")
    return key


def _counted(load: Load) -> Load:
    def counted(self: GuardedUnpickler) -> None:
        self.count(1)
        load(self)

    return counted


_COUNTED: Final = (
    pickle.EMPTY_LIST, pickle.LIST, pickle.EMPTY_DICT, pickle.DICT, pickle.EMPTY_SET,
    pickle.FROZENSET, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3, pickle.PUT,
    pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE,
)  # fmt: skip
_REFUSED: Final = (
    pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.EXT1, pickle.EXT2,
    pickle.EXT4, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER,
)  # fmt: skip
GuardedUnpickler.dispatch |= {
    pickle.REDUCE[0]: GuardedUnpickler._reduce,
    pickle.BUILD[0]: GuardedUnpickler._build,
    pickle.SETITEM[0]: GuardedUnpickler._setitem,
    pickle.SETITEMS[0]: GuardedUnpickler._setitems,
    pickle.DICT[0]: GuardedUnpickler._dict,
    pickle.ADDITEMS[0]: GuardedUnpickler._additems,
    pickle.FROZENSET[0]: GuardedUnpickler._frozenset,
    pickle.FRAME[0]: GuardedUnpickler._frame,
    pickle.BYTEARRAY8[0]: GuardedUnpickler._bytearray,
    **{code[0]: GuardedUnpickler._refuse for code in _REFUSED},
}
GuardedUnpickler.dispatch |= {
    code[0]: _counted(GuardedUnpickler.dispatch[code[0]]) for code in _COUNTED
}
