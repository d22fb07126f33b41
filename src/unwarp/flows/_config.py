"""What a model file says about its model, and the bounds that this is held to."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from unwarp.errors import BundleError
from unwarp.flows import _json

__all__ = ["SCHEMA", "Config", "Spec", "dump", "parse", "versions"]

SCHEMA = 1

_Size = Annotated[int, Field(ge=1, le=2**20)]
_Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
_Text = Annotated[str, Field(max_length=200)]


_STRICT = ConfigDict(strict=True, extra="forbid", frozen=True)


class Spec(BaseModel):
    """The saved form of a recipe's call; the recipe itself holds the options to their bounds."""

    model_config = _STRICT

    recipe: _Word
    features: _Size | Annotated[list[_Size], Field(min_length=1, max_length=4)]
    options: Annotated[dict[_Word, JsonValue], Field(max_length=100)]


class Config(BaseModel):
    """The whole configuration of a model file."""

    model_config = _STRICT

    unwarp: Annotated[int, Field(ge=1, le=SCHEMA)]
    spec: Spec
    dtype: Literal["float32", "float64"]
    columns: Annotated[list[dict[_Text, JsonValue]], Field(max_length=2**20)] | None
    training: dict[_Text, JsonValue] | None
    versions: Annotated[dict[_Text, _Text], Field(max_length=100)]


def dump(where: str, fields: dict[str, Any]) -> str:
    """The configuration `fields` as the text that a file holds.

    Raises:
        BundleError: when they are not what `parse` would accept.
    """
    try:
        text = _json.dumps(fields)
    except (TypeError, ValueError, RecursionError) as error:
        raise BundleError(
            f"{where}: expected columns and training of plain JSON values; got {error}. Convert them first."
        ) from error
    parse(where, text, advice="Change the columns or training that you gave.")
    return text


def parse(where: str, text: str, *, advice: str = "Get the file again from its source, or fit anew.") -> Config:
    """Read and check a configuration; `advice` ends the message when it can't be used.

    Raises:
        BundleError: when it is no strict JSON, of a later schema, or breaks a bound.
    """
    try:
        fields = _json.loads(text)
    except ValueError as error:
        raise BundleError(f"{where}: expected a configuration in strict JSON; got {error}. {advice}") from error
    schema = fields.get("unwarp") if isinstance(fields, dict) else None
    if type(schema) is int and schema > SCHEMA:
        raise BundleError(
            f"{where}: expected a file of schema {SCHEMA} or earlier; got schema {schema}. "
            "Update unwarp: pip install --upgrade unwarp."
        )
    try:
        return Config.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part)[:40] for part in first["loc"]) or "configuration"
        raise BundleError(f"{where}: expected a valid {place!r}; got this: {first['msg']}. {advice}") from error


def versions() -> dict[str, str]:
    """The versions of what makes the numbers."""
    found = {"python": platform.python_version()}
    for name in ("unwarp", "torch", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from the source tree
            found[name] = "unknown"
    return found
