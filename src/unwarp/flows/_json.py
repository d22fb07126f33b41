"""Strict JSON: the only form of text that a model file may hold."""

from __future__ import annotations

import json
import math
from typing import Any

__all__ = ["dumps", "loads"]

_DEPTH = 32
_VALUES = 2**18  # quotes, separators, brackets: what 20,000 tensors need, with room
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_SQUARE = bytes.maketrans(b"{}", b"[]")


def dumps(value: object, *, sort: bool = True) -> str:
    """The one text that stands for `value`: no spaces, keys sorted (or, on demand, as they come).

    Raises:
        ValueError, TypeError: when `value` is not made of JSON's own finite values.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=sort)


def loads(text: bytes | str) -> Any:
    """Parse `text`, refusing what a hostile or broken file may hold.

    Unlike `json.loads` it refuses duplicate keys, NaN and infinity, numbers beyond 64 bits, nesting deeper than 32 and
    texts of more than 262,144 quotes, separators or brackets, the last two before anything is parsed.

    Raises:
        ValueError: which says what was refused.

    Example:
        >>> loads('{"a": [1, 2.5, null]}')
        {'a': [1, 2.5, None]}
        >>> loads('{"a": 1, "a": 2}')
        Traceback (most recent call last):
        ValueError: key 'a' occurs twice
    """
    text = text.decode() if isinstance(text, bytes) else text
    _check_size(text)
    return _DECODER.decode(text)


def _check_size(text: str) -> None:
    outside = text.replace("\\\\", "").replace('\\"', "")
    if outside.count('"') > _VALUES:
        raise ValueError(f"JSON of more than {_VALUES} quotes")
    outside = "".join(outside.split('"')[::2])
    brackets = outside.encode("utf-8", "replace").translate(_SQUARE).translate(None, _NOT_BRACKETS)
    if outside.count(",") > _VALUES or len(brackets) > _VALUES:
        raise ValueError(f"JSON of more than {_VALUES} separators or brackets")
    for _ in range(_DEPTH):  # each round takes the innermost level away
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise ValueError(f"JSON that is nested deeper than {_DEPTH} or unbalanced")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"key {twice[:80]!r} occurs twice")
    return value


def _int(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= (value := int(text)) < 2**63:
        raise ValueError("a number beyond 64 bits")
    return value


def _float(text: str) -> float:
    if len(text) > 64 or not math.isfinite(value := float(text)):
        raise ValueError("a number that is not finite or too long")
    return value


def _constant(text: str) -> float:
    raise ValueError(f"{text}, which JSON does not have")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_int, parse_float=_float, parse_constant=_constant)
