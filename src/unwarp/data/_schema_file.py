"""A schema as a small file that people read and edit: TOML or JSON."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unwarp._files import write_atomically
from unwarp.data._values import quote
from unwarp.errors import DataError

_LARGEST = 64 << 20
_SUFFIXES = (".toml", ".json")


def write_columns(path: str | os.PathLike[str], columns: list[dict[str, Any]]) -> None:
    """Write columns, as `Schema.to_json` gives them, so that the path holds the old file or the whole new one."""
    path = _checked(path)
    if path.suffix == ".json":
        text = json.dumps({"columns": columns}, ensure_ascii=False, indent=1) + "\n"
    else:
        text = "\n".join(_toml(column) for column in columns)
    try:
        write_atomically(path, [text.encode()])
    except OSError as error:
        raise DataError(f"{path}: expected a place to write to; got {error.strerror}. Choose another path.") from error


def read_columns(path: str | os.PathLike[str]) -> list[Mapping[str, Any]]:
    """The columns of a file, not yet checked one by one.

    Raises:
        DataError: When there is no such file, or it holds no list of columns.
    """
    path = _checked(path)
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
        if len(raw) > _LARGEST:
            raise DataError(f"{path.name}: expected at most {_LARGEST >> 20} MB; got more. Check which file it is.")
        text = raw.decode("utf-8-sig")
        found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise DataError(f"{path}: expected a file; got {error.strerror}. Check the path.") from error
    except (ValueError, RecursionError) as error:
        said = str(error).splitlines()[0][:120]
        raise DataError(f"{path.name}: expected {path.suffix[1:].upper()}; got {said}. Correct the file.") from error
    columns = found.get("columns") if isinstance(found, dict) else None
    if not isinstance(columns, list) or not all(isinstance(column, dict) for column in columns):
        raise DataError(f'{path.name}: expected a list "columns"; got none. Write the file with Schema.to_file.')
    return columns


def _checked(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix not in _SUFFIXES:
        raise DataError(
            f"{path.name}: expected a name that ends in .toml or .json; got {quote(path.suffix)}. Choose another name."
        )
    return path


def _toml(column: Mapping[str, Any]) -> str:
    """One table of TOML: our values are texts, numbers, truth values and lists, which JSON spells as TOML does."""
    lines = (f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in column.items())
    return "[[columns]]\n" + "".join(line.replace("\x7f", "\\u007f") + "\n" for line in lines)
