"""A posterior in a model file: its flow, and in the metadata the names, shapes, bounds and labels of its parameters."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unwarp import flows
from unwarp._space import POSITIVE, REAL, Interval, Space, Support
from unwarp.distributions import Flow
from unwarp.errors import BundleError, UnwarpError
from unwarp.training import History

__all__ = ["Saved", "read", "write"]

_Name = Annotated[str, Field(max_length=200)]
_Shape = Annotated[list[Annotated[int, Field(ge=1, le=2**20)]], Field(max_length=16)]
_Bounds = tuple[Literal["interval"], float, float]


class Saved(BaseModel):
    """What the metadata hold beside the flow's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parameters: Annotated[list[tuple[_Name, _Shape]], Field(min_length=1, max_length=10_000)]
    support: list[Literal["real", "positive"] | _Bounds]
    dims: dict[_Name, list[_Name]]
    coords: dict[_Name, list[int | float | str]]
    history: dict[str, Any] | None

    @property
    def sizes(self) -> dict[str, tuple[int, ...]]:
        """Shapes by name."""
        return {name: tuple(shape) for name, shape in self.parameters}

    @property
    def space(self) -> Space:
        """Where parameters live."""
        each = tuple(map(_support, self.support))
        return Space((len(each),), REAL if all(one == REAL for one in each) else each)


def write(
    path: str | os.PathLike[str],
    flow: Flow,
    space: Space,
    *,
    sizes: dict[str, tuple[int, ...]],
    dims: dict[str, tuple[str, ...]],
    coords: dict[str, NDArray[Any]],
    history: History | None,
) -> None:
    """Write the file."""
    own = Saved(
        parameters=[(name, list(shape)) for name, shape in sizes.items()],
        support=[_word(path, support) for support in space.supports],
        dims={name: list(value) for name, value in dims.items()},
        coords={name: _plain(labels) for name, labels in coords.items()},
        history=None if history is None else history.to_json(),
    )
    flows.save(flow, path, training={"posterior": own.model_dump(mode="json")})


def read(path: str | os.PathLike[str]) -> tuple[Flow, Saved]:
    """The flow and what belongs to it.

    Raises:
        BundleError: when the file is no model file, is damaged, or holds no posterior.
    """
    flow, config = flows.load_with_config(path)
    try:
        own = Saved.model_validate((config["training"] or {}).get("posterior"))
        fits = isinstance(flow, Flow) and flow.space.shape == own.space.shape and flow.context_shape is None
        fits = fits and sum(int(np.prod(shape)) for shape in own.sizes.values()) == len(own.support)
    except (ValidationError, UnwarpError, ValueError):
        fits, own = False, None
    if not fits or own is None:
        raise BundleError(
            f"load({os.fspath(path)}): expected a posterior, as Posterior.save writes it; got another model. "
            "Use unwarp.load."
        )
    return flow.double().requires_grad_(requires_grad=False), own


def _word(path: str | os.PathLike[str], support: object) -> Literal["real", "positive"] | _Bounds:
    if support == REAL:
        return "real"
    if support == POSITIVE:
        return "positive"
    if isinstance(support, Interval):
        return ("interval", support.low, support.high)
    raise BundleError(
        f"save({os.fspath(path)}): expected real, positive or bounded parameters; got {support!r}. Save the flow alone."
    )


def _support(word: str | Sequence[Any]) -> Support:
    return {"real": REAL, "positive": POSITIVE}[word] if isinstance(word, str) else Interval(word[1], word[2])


def _plain(labels: NDArray[Any]) -> list[int | float | str]:
    return labels.tolist() if labels.dtype.kind in "iuf" else [str(label) for label in labels]
