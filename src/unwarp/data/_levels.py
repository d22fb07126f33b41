"""Levels of categories: which there are, in which order, and which are rare."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from unwarp.data._arrow import NUMBER, is_text, numbers_of, parses, texts_of
from unwarp.data._column import LONGEST_LEVEL, MOST_ATOMS, MOST_LEVELS
from unwarp.data._values import quote
from unwarp.errors import DataError

_RARE = 5  # a level that fewer rows hold shares a class with the other rare ones
_MOST_BYTES = 2 << 20
_IDENTIFIER = 0.95  # share of distinct values above which a text names rows rather than kinds
_PAIRS = (("no", "yes"), ("n", "y"), ("false", "true"), ("f", "t"))


@dataclass(frozen=True, slots=True)
class Levels:
    """Texts in the order of their codes, how many rows hold each, and how many of the first stand for themselves."""

    texts: list[str]
    held: np.ndarray
    common: int | None = None
    told: str = ""


def levels_of(name: str, texts: pa.Array, order: list[str] | None) -> Levels:
    """The levels of a column, the most frequent first unless their order is given.

    Args:
        name: The column's name, for messages.
        texts: ``(rows,)``.
        order: All levels, when their order is known.

    Raises:
        DataError: When a text is none of those in `order` or is too long.
    """
    longest = pc.call_function("utf8_length", [texts])
    if (pc.call_function("max", [longest]).as_py() or 0) > LONGEST_LEVEL:
        row = int(np.argmax(np.asarray(longest.fill_null(0))))
        raise DataError(
            f"fit: expected levels of at most {LONGEST_LEVEL} characters in column {quote(name)}; got "
            f"{longest[row].as_py()} in row {row + 1}. Leave the column out."
        )
    counted = pc.call_function("value_counts", [texts.drop_null()])
    found = dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))
    if order is not None and len(order) <= MOST_ATOMS:
        known = set(order)
        for text in found:
            if text not in known:
                row = pc.call_function("index", [texts], pc.IndexOptions(pa.scalar(text, texts.type))).as_py()
                raise DataError(
                    f"fit: expected one of the declared levels in column {quote(name)}; got {quote(text)} in row "
                    f"{row + 1}. Correct the value or declare all levels in order."
                )
        return Levels(order, np.array([found.get(text, 0) for text in order]))
    ranked = sorted(found, key=lambda text: (-found[text], text))
    size = np.cumsum([len(text.encode()) + 1 for text in ranked])
    kept = ranked[: min(MOST_LEVELS, int(np.searchsorted(size, _MOST_BYTES)))]
    held = np.array([found[text] for text in kept])
    common = min(int(np.sum(held >= min(_RARE, held.sum() / 200))), MOST_ATOMS)
    if common == len(kept):
        return Levels(kept, held)
    rare = len(ranked) - common
    told = f"{rare} rare levels share a class" if rare > 1 else "a rare level shares its class with those never seen"
    if len(kept) < len(ranked):
        told += f", {len(ranked) - len(kept)} of them too rare to keep"
    return Levels(kept, held, common, told)


def entries_of(column: pa.ChunkedArray) -> list[str] | None:
    """The entries of a dictionary in its order, also those that no row holds; None where there is none, or too many."""
    if not pa.types.is_dictionary(column.type) or not column.num_chunks:
        return None
    entries = column.unify_dictionaries().chunk(0).dictionary
    texts = texts_of(entries, column.type.value_type).to_pylist()
    return texts if len(texts) <= MOST_ATOMS and None not in texts and len(set(texts)) == len(texts) else None


def numeric_order(name: str, texts: pa.Array) -> list[str]:
    """The distinct texts in the order of the numbers that they spell."""
    distinct = texts.drop_null().unique()
    if not parses(distinct, NUMBER).all():
        raise DataError(
            f"columns[{quote(name)}]: expected the order of the levels; got texts that are no numbers. "
            'Declare "ordinal:FIRST<SECOND<...".'
        )
    order = np.argsort(numbers_of(distinct), kind="stable")
    return distinct.take(pa.array(order)).to_pylist()


def yes_no(texts: pa.Array) -> list[str] | None:
    """The two texts that say no and yes, in this order."""
    if len(texts) == texts.null_count:
        return None
    found = texts.drop_null().unique()
    spelled = {text.strip().lower(): text for text in found[:3].to_pylist()}
    pair = next((pair for pair in _PAIRS if set(pair) == set(spelled)), None)
    return None if pair is None or len(found) != 2 else [spelled[word] for word in pair]


def identifies(column: pa.Array, held: int) -> bool:
    """Whether texts name rows rather than kinds: nearly all of at least 50 are distinct."""
    if not is_text(column.type) or held < 50:
        return False
    return pc.call_function("count_distinct", [column]).as_py() >= _IDENTIFIER * held


def places_of(texts: pa.Array, levels: list[str] | tuple[str, ...]) -> np.ndarray:
    """Place of each text among the levels as float64, their number where it is none of them, NaN where missing."""
    options = pc.SetLookupOptions(pa.array(levels, pa.large_string()), skip_nulls=True)
    found = pc.call_function("index_in", [texts], options)
    places = np.asarray(found.cast(pa.float64()).fill_null(float(len(levels))))
    return np.where(np.asarray(texts.is_null()), np.nan, places)
