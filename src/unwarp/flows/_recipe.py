"""Recipes: plain functions from JSON-able options to a flow; the options are the flow's saved form."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from functools import cache, wraps
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Unpack, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.fields import FieldInfo

from unwarp.distributions import Distribution, Flow
from unwarp.errors import RecipeError
from unwarp.flows._rates import RATES

__all__ = ["build", "flow", "names", "recipe"]

Features = Annotated[int, Field(strict=True, ge=1, le=100_000)]
Shape = Features | Annotated[tuple[Features, ...], Field(min_length=1, max_length=4)]
Image = tuple[Features, Features, Features]
Context = Annotated[int, Field(strict=True, ge=0, le=100_000)]
Layers = Annotated[int, Field(strict=True, ge=1, le=256)]
Lipschitz = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Rank = Annotated[int, Field(strict=True, ge=1, le=4096)]
Bins = Annotated[int, Field(strict=True, ge=2, le=256)]
Marginals = Annotated[int, Field(strict=True, ge=0, le=256)]
Depth = Annotated[int, Field(strict=True, ge=1, le=64)]
Components = Annotated[int, Field(strict=True, ge=1, le=1024)]
Hidden = Annotated[tuple[Annotated[int, Field(strict=True, ge=1, le=16_384)], ...], Field(min_length=1, max_length=16)]
Passes = Annotated[int, Field(strict=True, ge=1, le=100_000)]
Node = Annotated[int, Field(strict=True, ge=0, le=100_000)]
Adjacency = Annotated[list[tuple[Node, Node]], Field(max_length=1_000_000)]
Bound = Annotated[float, Field(gt=0, le=1e3, allow_inf_nan=False)]
Floor = Annotated[float, Field(ge=1e-6, le=0.1, allow_inf_nan=False)]
End = Annotated[float, Field(allow_inf_nan=False)]
OneSupport = Literal["real", "positive"] | tuple[Literal["interval"], End, End]
Supports = OneSupport | Annotated[list[OneSupport], Field(max_length=100_000)]

P = ParamSpec("P")
D = TypeVar("D", bound=Distribution)
_RECIPES: dict[str, Callable[..., Any]] = {}


def recipe(function: Callable[P, D]) -> Callable[P, D]:
    """Register a function as a recipe: its annotations bound its options; what it makes has them in `spec`."""
    name = function.__name__
    signature = _signature(function, _options(function))

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> D:
        model = _model(name)
        try:
            options = model.model_validate(signature.bind(*args, **kwargs).arguments)
        except (ValidationError, TypeError) as error:
            raise RecipeError(_say(name, error, model)) from None
        values = {key: getattr(options, key) for key in model.model_fields}
        made = function(**values)  # pyright: ignore[reportCallIssue]
        spec: dict[str, Any] = options.model_dump(mode="json")
        made.lr = RATES.get(name, made.lr)
        made.spec = {"recipe": name, "features": spec.pop("features"), "options": spec}
        return made

    checked.__signature__ = signature  # pyright: ignore[reportAttributeAccessIssue]
    _RECIPES[name] = checked
    return checked


@cache
def _model(name: str) -> type[BaseModel]:
    """The bounds of a recipe's options; made at its first use, because they take longer to make than to import."""
    made = _RECIPES[name]
    hints = _options(inspect.unwrap(made))
    fields: dict[str, Any] = {
        p.name: (hints[p.name], ... if p.default is inspect.Parameter.empty else p.default)
        for p in inspect.signature(made).parameters.values()
    }
    return create_model(name, __config__=ConfigDict(extra="forbid"), **fields)


def _options(function: Callable[..., Any]) -> dict[str, Any]:
    """Each option's annotation; those of `**rest: Unpack[SomeTypedDict]` are options too."""
    found: dict[str, Any] = {}
    for name, hint in get_type_hints(function, include_extras=True).items():
        packed = get_origin(hint) is Unpack
        found |= get_type_hints(get_args(hint)[0], include_extras=True) if packed else {name: hint}
    return found


def _signature(function: Callable[..., Any], hints: dict[str, Any]) -> inspect.Signature:
    """The signature with what `**rest` stands for written out."""
    signature = inspect.signature(function)
    named = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    known = {p.name for p in named} | {"return"}
    rest = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=FieldInfo.from_annotation(hint).default)
        for name, hint in hints.items()
        if name not in known
    ]
    return signature.replace(parameters=[*named, *rest])


_SHAPES: dict[str, Any] = {"vectors": 1, "images": (1, 1, 1)}


@cache
def _takes(name: str, events: str) -> bool:
    """Is a recipe for events of this kind?"""
    hints = _options(inspect.unwrap(_RECIPES[name]))
    for word, option in (("mixed", "cells"), ("observed", "observed")):
        if option in hints or events == word:
            return option in hints and events == word
    if events == "any":
        return True
    if events == "tables":
        return "support" in hints and _takes(name, "vectors")
    try:
        TypeAdapter(hints["features"]).validate_python(_SHAPES[events])
    except ValidationError:
        return False
    return True


def names(events: Literal["any", "vectors", "tables", "images", "mixed", "observed"] = "any") -> list[str]:
    """The recipes' names, sorted: of all flows, or of those for vectors, for tables (vectors of real, positive and
    bounded features) or for images; or of what is no flow, for tables of columns of any kind ("mixed") and for
    parameters given an observation of any shape ("observed").

    Example:
        >>> "nsf" in names(), "nsf" in names("images"), "glow" in names("images")
        (True, False, True)
    """
    return sorted(name for name in _RECIPES if _takes(name, events))


def flow(name: str, features: int | Sequence[int], **options: Any) -> Flow:
    """The flow that the recipe `name` makes for events of `features` entries.

    Args:
        name: one of `names()`.
        features: number of features; for recipes that take them also the shape of a sequence or an image.
        options: the recipe's options, such as `layers`, `hidden` or `context`.

    Raises:
        RecipeError: when there is no such recipe or option, or a value is out of range.

    Example:
        >>> flow("nsf", 2, layers=2).log_prob(torch.zeros(3, 2)).shape
        torch.Size([3])
    """
    return _find(name)(features, **options)


def build(spec: dict[str, Any]) -> Any:
    """The flow (or whatever its recipe makes), with fresh parameters, that a `Flow.spec` describes.

    Raises:
        RecipeError: when the spec is not one that a recipe could have written.
    """
    extra = set(spec) ^ {"recipe", "features", "options"}
    if extra or not isinstance(spec.get("options"), dict) or not isinstance(spec.get("recipe"), str):
        raise RecipeError(
            f"build: expected a spec with recipe, features and options; got keys {sorted(map(str, spec))}. "
            "Take it from Flow.spec."
        )
    if "features" in spec["options"]:
        raise RecipeError(
            "build: expected features beside the options; got it among them too. Take the spec from Flow.spec."
        )
    return _find(spec["recipe"])(spec["features"], **spec["options"])


def _find(name: str) -> Callable[..., Any]:
    if name in _RECIPES:
        return _RECIPES[name]
    close = difflib.get_close_matches(str(name), _RECIPES, 1)
    hint = f'Did you mean "{close[0]}"? ' if close else ""
    raise RecipeError(f'flow("{name}"): no such recipe. {hint}unwarp.flows.names() lists all.')


def _say(name: str, error: ValidationError | TypeError, model: type[BaseModel]) -> str:
    if isinstance(error, TypeError):
        known = ", ".join(model.model_fields)
        return f"{name}: expected options among {known}; got a call with {error}. Check the spelling."
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][:2])
    got = repr(first["input"])
    got = got if len(got) <= 60 else got[:57] + "..."
    return f"{name}: expected option {where} to hold ({first['msg']}); got {got}. Change {where}."
