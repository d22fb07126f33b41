"""A folder of scores in parts: the plan that all runs share, each part's marker, the proof that all is there."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unwarp._files import write_atomically
from unwarp.data import TableFile
from unwarp.errors import DataError
from unwarp.estimators._tally import Tally

__all__ = ["Marker", "Plan", "RowDigest", "Verified", "begin", "digest_of", "is_done", "verify_scores"]

_PLAN = "_plan.json"
_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
_LARGEST = 1 << 20  # bytes of a marker or a plan
_MOST = 20  # places that a message or a list names

_Digest = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
_Count = Annotated[int, Field(ge=0, le=1 << 60)]


class Plan(BaseModel):
    """What all runs into one folder share; part k has rows ``[k * part, (k + 1) * part)``.

    Args:
        unwarp: Version of this format.
        table: The file's identity.
        rows: How many it has.
        part: Rows of a part.
        columns: Those that are scored.
        kinds: Of what they may hold.
        model: Digest of the model file.
        precision: In which scores are computed.
    """

    model_config = _STRICT

    unwarp: Literal[1] = 1
    table: _Digest
    rows: _Count
    part: Annotated[int, Field(ge=1, le=1 << 40)]
    columns: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    kinds: Literal["numbers", "any"]
    model: _Digest
    precision: Literal["float64", "float32"]

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return -(-self.rows // self.part)

    @property
    def digest(self) -> str:
        """Stands for the whole plan in the markers."""
        return _hash(self.model_dump_json().encode())

    def rows_of(self, place: int) -> range:
        """Numbers of the rows of a part, from 0."""
        return range(place * self.part, min(self.rows, (place + 1) * self.part))

    def path(self, folder: Path, place: int) -> Path:
        """The file of a part; sorted by name, parts are in the order of their rows."""
        return folder / f"part-{place:0{len(str(max(self.parts - 1, 99_999)))}}.parquet"


class Marker(BaseModel):
    """What a part that is done was made from; it lies beside the part.

    Args:
        part: Its number, from 0.
        start: Its first row, from 0.
        rows: How many it has.
        input: Digest of the rows' values.
        output: Digest of the part's file.
        plan: Digest of the plan, and with it of the model.
        tally: Of its log densities.
    """

    model_config = _STRICT

    part: _Count
    start: _Count
    rows: _Count
    input: _Digest
    output: _Digest
    plan: _Digest
    tally: Tally

    def write(self, folder: Path) -> None:
        """Put it beside the part."""
        write_atomically(_marker(folder, self.part), [self.model_dump_json().encode()])

    @classmethod
    def read(cls, folder: Path, place: int) -> Self | None:
        """The marker of a part; None if there is none that can be read."""
        try:
            return cls.model_validate_json(_content(_marker(folder, place)))
        except (OSError, ValidationError):
            return None


class RowDigest:
    """A digest of the values of rows that come in tables; how the rows are cut into tables does not matter."""

    def __init__(self) -> None:
        self._columns: dict[str, list[hashlib.blake2b]] = {}

    def update(self, table: pa.Table) -> None:
        """Take in the rows of one more table of the same columns."""
        for name, column in zip(table.column_names, table.columns, strict=True):
            if name not in self._columns:
                key = f"{name}\n{column.type}".encode()
                self._columns[name] = [hashlib.blake2b(key, digest_size=16) for _ in range(3)]
            for digest, piece in zip(self._columns[name], _bytes(column), strict=False):
                digest.update(piece)

    def hexdigest(self) -> str:
        """The digest of all rows so far."""
        return _hash(b"".join(digest.digest() for column in self._columns.values() for digest in column))


def _bytes(column: pa.ChunkedArray) -> list[Any]:
    """What a column holds: which cells are missing, then numbers, or texts and their lengths."""
    gone = np.asarray(column.is_null())
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return [gone.tobytes(), column.fill_null(0).to_numpy().tobytes()]
    texts = [str(cell) for cell in column.to_pylist()]
    return [
        gone.tobytes(),
        np.array([len(text) for text in texts]).tobytes(),
        "".join(texts).encode(),
    ]


def digest_of(path: Path) -> str:
    """A digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def begin(folder: Path, plan: Plan) -> None:
    """Make the folder or find it begun with the same plan.

    Raises:
        DataError: When it holds something else.
        OSError: When it can't be written.
    """
    folder.mkdir(exist_ok=True)
    if not (folder / _PLAN).exists():
        if any(not path.name.startswith(".") for path in folder.iterdir()):
            raise DataError(f"{folder}: expected an empty or new folder; got one with files. Choose another one.")
        write_atomically(folder / _PLAN, [plan.model_dump_json().encode()])
        return
    old = _plan(folder)
    words = {"table": "table", "rows": "table", "columns": "table", "model": "model", "precision": "precision"}
    for name, what in (words | {"part": "number of rows a part"}).items():
        if getattr(old, name) != getattr(plan, name):
            raise DataError(
                f"{folder}: expected the {what} that it was begun with; got another. "
                "Choose another folder, or remove this one."
            )


def is_done(folder: Path, plan: Plan, place: int) -> Marker | None:
    """The marker of a part that is there and whole; else None."""
    marker, rows = Marker.read(folder, place), plan.rows_of(place)
    if marker is None or (marker.part, marker.start, marker.rows) != (place, rows.start, len(rows)):
        return None
    path = plan.path(folder, place)
    if marker.plan != plan.digest or not path.is_file() or digest_of(path) != marker.output:
        return None
    return marker


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify_scores` found.

    Args:
        rows: How many the table has.
        parts: How many parts that makes.
        missing: Numbers of parts that are not there, from 0.
        damaged: Numbers of parts that are not what their markers say.
        other: Names of files that are no part: who reads the folder would get rows twice, or rows of something else.
        changed: Numbers of parts whose rows in the table are others now; empty when the table was not read.
        against: The table that was read, if any.
    """

    rows: int
    parts: int
    missing: tuple[int, ...]
    damaged: tuple[int, ...]
    other: tuple[str, ...]
    changed: tuple[int, ...] = ()
    against: str | None = None

    @property
    def complete(self) -> bool:
        """Whether each row has one score, and nothing else is there."""
        return not (self.missing or self.damaged or self.other or self.changed)

    def __str__(self) -> str:
        whole = f"{self.rows:,} rows in {self.parts:,} parts"
        if self.complete:
            told = "nothing missing, nothing doubled"
            return f"{whole}: {told}" + (f", and the rows are those of {self.against}" if self.against else "")
        lists = {"missing": self.missing, "damaged": self.damaged, "of rows that have changed": self.changed}
        found = [f"{len(places):,} {what} ({_some(places)})" for what, places in lists.items() if places]
        found += [f"{len(self.other):,} that do not belong there ({_some(self.other)})"] if self.other else []
        return f"expected {whole}, each once; got {', '.join(found)}"


def verify_scores(folder: str | os.PathLike[str], data: str | os.PathLike[str] | None = None) -> Verified:
    """Prove that a folder that `score_parts` filled has one score for each row of the table.

    All parts are counted and their digests computed anew. With `data`, so are the digests of the rows they were made
    from.

    Args:
        folder: Of the parts.
        data: The table, to be read once more.

    Raises:
        DataError: When there is no plan in the folder, or `data` is another table.
    """
    where = Path(folder)
    plan = _plan(where)
    missing, damaged, markers = list[int](), list[int](), dict[int, Marker]()
    expected = {_PLAN}
    for place in range(plan.parts):
        path, beside = plan.path(where, place), _marker(where, place)
        expected |= {path.name, beside.name}
        if not path.exists() or not beside.exists():
            missing.append(place)
            continue
        marker = is_done(where, plan, place)
        if marker is None or pyarrow.parquet.read_metadata(path).num_rows != marker.rows:
            damaged.append(place)
        else:
            markers[place] = marker
    other = sorted(p.name for p in where.iterdir() if p.name not in expected and not p.name.startswith("."))
    changed = () if data is None else tuple(_changed(plan, markers, data))
    against = None if data is None else Path(data).name
    return Verified(plan.rows, plan.parts, tuple(missing), tuple(damaged), tuple(other), changed, against)


def _changed(plan: Plan, markers: dict[int, Marker], data: str | os.PathLike[str]) -> Iterator[int]:
    """Parts whose rows in the table are not those that were scored."""
    file = TableFile(data, columns=list(plan.columns), kinds=plan.kinds)
    if file.rows != plan.rows:
        raise DataError(
            f"{file.path.name}: expected the table of {plan.rows} rows that was scored; got {file.rows}. Name that one."
        )
    batches = file.batches([(plan.rows_of(place).start, plan.rows_of(place).stop) for place in markers])
    for place, marker in markers.items():
        digest, rows = RowDigest(), 0
        while rows < marker.rows:
            table = next(batches)
            digest.update(table)
            rows += len(table)
        if digest.hexdigest() != marker.input:
            yield place


def _plan(folder: Path) -> Plan:
    try:
        return Plan.model_validate_json(_content(folder / _PLAN))
    except (OSError, ValidationError) as error:
        raise DataError(
            f"{folder}: expected a folder of scores in parts; got none with a plan that can be read. "
            "Name one that unwarp score made."
        ) from error


def _marker(folder: Path, place: int) -> Path:
    return folder / f"_part-{place}.json"


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LARGEST)


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _some(names: tuple[int, ...] | tuple[str, ...]) -> str:
    return ", ".join(map(str, names[:_MOST])) + (", ..." if len(names) > _MOST else "")
