"""Plain data across a process boundary that nobody on the far side can be trusted to keep: tagged JSON.

JSON's own types stand for None, bool, int, float, str and list; everything else is an object with one key, its tag.
Whatever the bytes say, `decode` makes values of exact built-in types only, so that no answer can smuggle in an object
with an `__eq__` of its own. `encode` reduces subclasses to the plain value they hold (a Counter becomes a dict, an
IntEnum an int): equal under the same tests, and without behaviour. Iterators are read to their end. What is not data
arrives as an `Opaque`, which equals nothing but itself.
"""

from __future__ import annotations

import json
from collections import deque
from types import GeneratorType
from typing import Any

_BIG = 1 << 4096
# larger numbers travel in base 16: base 10 is quadratic, and Python refuses it beyond 4300 digits
_FLAT = frozenset({str, float, bool, type(None)})
_MAX_OPAQUE = 200


class Unencodable(Exception):
    """A value that is not plain data, where only plain data will do."""


class OpaqueArgument(Unencodable):
    """What stayed in the candidate cannot be sent to it either."""


class Opaque:
    """Stands in the tester for something that stayed in the candidate: it equals nothing but itself."""

    def __init__(self, description: str) -> None:
        self.description = description

    def __repr__(self) -> str:
        return f"<{self.description}>"


def encode(value: Any) -> Any:
    """JSON-ready form of any value; total but for what the value's own iteration raises."""
    kind = type(value)
    if kind in _FLAT:
        return value
    if kind is int:
        return value if -_BIG < value < _BIG else {"i": hex(value)}
    if kind is list:
        return _items(value)
    coder = _EXACT.get(kind)
    if coder is not None:
        return coder(value)
    return _reduced(value)


def _items(values: Any) -> list[Any]:
    return [v if type(v) in _FLAT else encode(v) for v in values]


def _pairs(value: Any) -> list[Any]:
    return [[encode(k), encode(v)] for k, v in value]


_EXACT: dict[type, Any] = {
    tuple: lambda v: {"t": _items(v)},
    dict: lambda v: {"d": _pairs(v.items())},
    set: lambda v: {"s": _items(v)},
    frozenset: lambda v: {"f": _items(v)},
    complex: lambda v: {"c": [v.real, v.imag]},
    bytes: lambda v: {"b": v.hex()},
    bytearray: lambda v: {"a": v.hex()},
    range: lambda v: {"r": _items((v.start, v.stop, v.step))},
    deque: lambda v: {"q": [_items(v), v.maxlen]},
    type({}.keys()): lambda v: {"k": _items(v)},
    type({}.values()): lambda v: {"v": _items(v)},
    type({}.items()): lambda v: {"m": _pairs(v)},
}
_ITERATORS: tuple[type, ...] = (
    GeneratorType,
    map,
    filter,
    zip,
    enumerate,
    reversed,
    type(iter([])),
    type(iter(())),
    type(iter("")),
    type(iter({})),
    type(iter({}.items())),
    type(iter({}.values())),
    type(iter(set())),
    type(iter(range(0))),
    type(reversed([])),
)
# for a subclass: the base's own reading of it, whatever the subclass overrides
_BASES: tuple[tuple[type, Any], ...] = (
    (int, int.__index__),
    (float, float.__float__),
    (str, str.__str__),
    (tuple, lambda v: tuple(tuple.__iter__(v))),
    (list, lambda v: list(list.__iter__(v))),
    (dict, lambda v: dict(dict.items(v))),
    (set, lambda v: set(set.__iter__(v))),
    (frozenset, lambda v: frozenset(frozenset.__iter__(v))),
    (bytes, lambda v: bytes(bytes.__iter__(v))),
    (bytearray, lambda v: bytearray(bytearray.__iter__(v))),
    (complex, lambda v: complex(v.real, v.imag)),
    (deque, lambda v: deque(deque.__iter__(v), v.maxlen)),
)


def _reduced(value: Any) -> Any:
    kind = type(value)
    for base, plain in _BASES:
        if issubclass(kind, base):
            return encode(plain(value))
    if kind in _ITERATORS or kind.__module__ == "itertools":
        return {"n": _items(value)}
    if kind.__module__ in {"decimal", "fractions"} and kind.__name__ in {"Decimal", "Fraction"}:
        return {"D": str(value)} if kind.__name__ == "Decimal" else {"F": _items((value.numerator, value.denominator))}
    return {"o": f"object of type {kind.__module__}.{kind.__qualname__}"[:_MAX_OPAQUE]}


def encode_strictly(value: Any) -> Any:
    """As `encode`, for values whose exact type must survive. Raises: Unencodable."""
    if isinstance(value, Opaque):
        raise OpaqueArgument(value.description)
    kind = type(value)
    if kind in {list, tuple, set, frozenset, deque}:
        for item in value:
            encode_strictly(item)
    elif kind is dict:
        for key, item in value.items():
            encode_strictly(key)
            encode_strictly(item)
    elif kind not in _FLAT and kind not in {int, complex, bytes, bytearray, range}:
        coded = encode(value)
        if not isinstance(coded, dict) or not coded.keys() <= {"D", "F", "n", "k", "v", "m"}:
            raise Unencodable(f"object of type {kind.__module__}.{kind.__qualname__}")
        return coded
    return encode(value)


def _iterator(items: list[Any]) -> Any:
    return (item for item in items)


def _decimal(text: str) -> Any:
    from decimal import Decimal  # rare, and costly to keep in the warm interpreter

    return Decimal(text)


def _fraction(parts: list[int]) -> Any:
    from fractions import Fraction  # as above

    return Fraction(parts[0], parts[1])


_DECODERS: dict[str, Any] = {
    "t": tuple,
    "d": dict,
    "s": set,
    "f": frozenset,
    "c": lambda v: complex(*v),
    "b": bytes.fromhex,
    "a": bytearray.fromhex,
    "i": lambda v: int(v, 16),
    "r": lambda v: range(*v),
    "q": lambda v: deque(*v),
    "k": lambda v: dict.fromkeys(v).keys(),
    "v": lambda v: dict(enumerate(v)).values(),
    "m": lambda v: dict(v).items(),
    "n": _iterator,
    "D": _decimal,
    "F": _fraction,
    "o": lambda v: Opaque(str(v)[:_MAX_OPAQUE]),
}


def _tagged(value: dict[str, Any]) -> Any:
    ((tag, content),) = value.items()
    return _DECODERS[tag](content)


_loads = json.JSONDecoder(object_hook=_tagged).decode
_dumps = json.JSONEncoder(separators=(",", ":")).encode


def dumps(document: Any) -> bytes:
    """Bytes of what `encode` gave."""
    return _dumps(document).encode("ascii")


def loads(data: bytes) -> Any:
    """Decode one document. Raises: ValueError for anything that `encode` would not have written."""
    try:
        return _loads(data.decode("ascii"))
    except (TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"not a document of this format: {type(error).__name__}") from None


def reflect(old: Any, new: Any) -> Any:
    """Make `old` look like `new` in place as far as it is mutable, as if it had been changed here.

    Returns what should stand in old's place. Elements are paired by position (list) or key (dict).
    """
    kind = type(old)
    if kind is not type(new):
        return new
    if kind is list:
        old[:] = [reflect(o, n) for o, n in zip(old, new, strict=False)] + new[len(old) :]
    elif kind is dict:
        merged = {k: reflect(old[k], v) if k in old else v for k, v in new.items()}
        old.clear()
        old.update(merged)
    elif kind is set:
        old.clear()
        old.update(new)
    elif kind in {bytearray, deque}:
        old.clear()
        old.extend(new)
    elif kind is tuple and len(old) == len(new):
        merged_items = [reflect(o, n) for o, n in zip(old, new, strict=True)]
        return old if all(a is b for a, b in zip(old, merged_items, strict=True)) else tuple(merged_items)
    else:
        return new
    return old
