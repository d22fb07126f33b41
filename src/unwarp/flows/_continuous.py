"""Recipes of flows along learned vector fields."""

from __future__ import annotations

from typing import Annotated, Literal, Unpack

from pydantic import Field

from unwarp.distributions import Flow
from unwarp.flows._ends import HeavyEnds, vectors
from unwarp.flows._recipe import Context, Features, Hidden, Layers, recipe
from unwarp.networks import PotentialField, VectorField
from unwarp.transforms import Continuous

__all__ = ["cnf", "ffjord", "otflow"]

Steps = Annotated[int, Field(strict=True, ge=1, le=1000)]
Time = Annotated[int, Field(strict=True, ge=0, le=64)]
Width = Annotated[int, Field(strict=True, ge=1, le=16_384)]
Tolerance = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Solver = Literal["euler", "midpoint", "rk4", "bosh3", "dopri5", "dopri8"]


@recipe
def cnf(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 1,
    hidden: Hidden = (64, 64),
    time: Time = 2,
    solver: Solver = "midpoint",
    steps: Steps = 8,
    tolerance: Tolerance = 1e-6,
    **ends: Unpack[HeavyEnds],
) -> Flow:
    """Continuous normalizing flow: features move along a learned, time-dependent vector field.

    Use it for smooth densities of few features, by likelihood, or of more by `training.matching`, which never
    solves the equation. The density is that of the solver's own map, exactly, whatever the number of steps.

    Args:
        features: number of features.
        context: length of the context; 0 for none.
        layers: number of fields, one after the other; `training.matching` takes one.
        hidden: sizes of each field's hidden layers.
        time: number of frequencies of time that the fields see.
        solver: "euler", "midpoint" or "rk4" in fixed steps, or adaptive ("bosh3", "dopri5", "dopri8").
        steps: number of steps of a solver of fixed steps.
        tolerance: error of a step of an adaptive solver.
        ends: what is before and after the layers, see `Ends`; tails are "heavy", as rows far outside would make fields
            so steep that their steps fold.

    Source: Chen, Rubanova, Bettencourt and Duvenaud, 2018, arXiv:1806.07366.
    """
    parts = [
        Continuous(
            features, VectorField(features, hidden=hidden, context=context, time=time), context=context, solver=solver,
            steps=steps, tolerance=tolerance,
        )
        for _ in range(layers)
    ]  # fmt: skip
    return vectors(features, parts, ends)


@recipe
def ffjord(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 1,
    hidden: Hidden = (64, 64),
    time: Time = 2,
    solver: Solver = "midpoint",
    steps: Steps = 8,
    tolerance: Tolerance = 1e-5,
    gradients: Literal["direct", "adjoint"] = "direct",
    **ends: Unpack[HeavyEnds],
) -> Flow:
    """FFJORD: a continuous flow whose log density is estimated, by one random direction a row.

    Use it where features are so many that `cnf`, with one derivative for each, is too dear. Quote its densities by
    `distributions.estimate`, with their standard error.

    Args: as for `cnf`, and
        gradients: "adjoint" takes constant memory, and asks for an adaptive solver.

    Source: Grathwohl et al., 2019, arXiv:1810.01367.
    """
    parts = [
        Continuous(
            features, VectorField(features, hidden=hidden, context=context, time=time), context=context, solver=solver,
            steps=steps, tolerance=tolerance, trace="hutchinson", gradients=gradients,
        )
        for _ in range(layers)
    ]  # fmt: skip
    return vectors(features, parts, ends)


@recipe
def otflow(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 1,
    width: Width = 64,
    solver: Solver = "midpoint",
    steps: Steps = 4,
    tolerance: Tolerance = 1e-6,
    **ends: Unpack[HeavyEnds],
) -> Flow:
    """OT-Flow: a continuous flow down a learned potential, which optimal transport follows too.

    Use it with `training.regularised_likelihood` and its `hamilton_jacobi`: ways become straight, and few steps do.

    Args: as for `cnf`, and
        width: of each potential's hidden layers.

    Source: Onken, Wu Fung, Li and Ruthotto, 2021, arXiv:2006.00104.
    """
    parts = [
        Continuous(
            features, PotentialField(features, width=width, context=context), context=context, solver=solver,
            steps=steps, tolerance=tolerance,
        )
        for _ in range(layers)
    ]  # fmt: skip
    return vectors(features, parts, ends)
