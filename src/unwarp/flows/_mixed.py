"""The recipe for tables of columns of any kind."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from unwarp.distributions import Cell, Mixed, network_sizes
from unwarp.errors import ConfigError, RecipeError
from unwarp.flows._recipe import Bins, Components, Depth, Features, recipe
from unwarp.networks import SubsetMLP

__all__ = ["mixed"]

Width = Annotated[int, Field(strict=True, ge=1, le=16_384)]


@recipe
def mixed(
    features: Features,
    *,
    cells: Annotated[list[Cell], Field(max_length=20_000)],
    hidden: Width = 256,
    blocks: Depth = 2,
    bins: Bins = 8,
    members: Components = 1,
) -> Mixed:
    """The joint law of a table's columns, each a category, a number with heaps and bounds, or an angle; gaps allowed.

    Use it through `FlowTable`, which finds out what the columns are.

    Args:
        features: number of columns.
        cells: what each column holds, as `distributions.Cell` or its fields.
        hidden: width of the network.
        blocks: residual blocks of the network.
        bins: bins of the splines that shape conditionals.
        members: networks, trained one by one, of which the density is the mean.

    Source: Uria, Murray and Larochelle, 2014, arXiv:1310.1757.
    """
    if len(cells) != features:
        raise RecipeError(f"mixed: expected {features} cells, one a column; got {len(cells)}. Give one for each.")
    try:
        levels, seen, out = network_sizes(cells, bins)
    except ConfigError as error:
        raise RecipeError(f"mixed: {error}") from error
    nets: list[Any] = [SubsetMLP(levels, seen, out, hidden=hidden, blocks=blocks) for _ in range(members)]
    return Mixed(cells, nets, bins=bins)
