"""Laws of densities: they have mass one, and samples follow them."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from unwarp.distributions import Distribution
from unwarp.doctor import _tolerances as tol
from unwarp.doctor._quadrature import Warp
from unwarp.doctor._report import Figure, worst_of
from unwarp.doctor._subject import Subject, held

__all__ = ["is_a_bound", "mass_is_one", "sample_and_density_agree", "samples_follow_density"]

_NODES = {1: 20_000, 2: 480}  # a side, by dimension
_CELLS = {1: 40, 2: 12}


def mass_is_one(subject: Subject) -> Figure:
    """The density integrates to one: by quadrature in one or two dimensions, by importance sampling up to eight."""
    if subject.density.kind != "exact":
        return Figure.skip(f"its density: {subject.density.kind}")
    if subject.dimension > 8:
        return Figure.skip("more than eight dimensions")
    with torch.no_grad():
        if subject.dimension > 2:
            return _mass_by_importance(subject)
        mass = float(_grid_mass(subject)[1].sum())
    return Figure(abs(mass - 1), tol.MASS[subject.dimension], "by quadrature")


@lru_cache(maxsize=1)  # two laws ask for the same grid, one after the other
def _grid_mass(subject: Subject) -> tuple[Warp, Tensor]:
    """A warp around the density, and the probability at each node of its grid, `(nodes,) * D`."""
    warp = Warp.around(subject.density.space, _draws(subject, 2000, 10))
    nodes = _NODES[subject.dimension]
    u = (torch.arange(nodes, dtype=torch.float64) + 0.5) / nodes
    grid = torch.cartesian_prod(*[u] * subject.dimension).reshape(-1, subject.dimension)
    x, ladj = warp.point(grid)
    reached = subject.density.space.contains(x)
    x = torch.where(reached.reshape(-1, *[1] * (x.dim() - 1)), x, warp.point(torch.full_like(grid[:1], 0.5))[0])
    log_prob = torch.cat([_log_prob(subject, rows) for rows in x.split(50_000)])
    mass = torch.where(reached, (log_prob + ladj).exp(), 0.0) / len(grid)
    return warp, mass.reshape([nodes] * subject.dimension)


def _mass_by_importance(subject: Subject, draws: int = 20_000) -> Figure:
    """Mean of p/q over draws of a wide Student-t q around the density's own draws."""
    space = subject.density.space
    warp = Warp.around(space, _draws(subject, 2000, 10))
    y = warp.real(_draws(subject, 4000, 11))
    y = y[y.isfinite().all(-1)]
    cholesky = torch.linalg.cholesky(1.3 * y.mT.cov() + 1e-9 * torch.eye(subject.dimension, dtype=y.dtype))
    generator = subject.generator(12)
    white = torch.randn(draws, subject.dimension, generator=generator, dtype=y.dtype)
    shrink = (_chi_square(draws, 5, subject) / 5).sqrt().unsqueeze(-1)
    x, step = warp.event(y.mean(0) + (white / shrink) @ cholesky.mT)
    log_q = _student(white / shrink, 5.0) - cholesky.diagonal().log().sum()
    ratio = (_log_prob(subject, x) + step - log_q).exp()
    mass, error = float(ratio.mean()), float(ratio.std()) / math.sqrt(draws)
    if error > 0.1:
        return Figure.skip(f"importance sampling is too coarse here: {mass:.2f} +- {error:.2f}")
    return Figure(abs(mass - 1), max(tol.EVIDENCE, 5 * error), f"by importance sampling, standard error {error:.1g}")


def _chi_square(n: int, freedom: int, subject: Subject) -> Tensor:
    return torch.randn(n, freedom, generator=subject.generator(13), dtype=torch.float64).square().sum(-1)


def _student(t: Tensor, freedom: float) -> Tensor:
    """Log density of the standard multivariate Student-t."""
    d = t.shape[-1]
    constant = math.lgamma((freedom + d) / 2) - math.lgamma(freedom / 2) - 0.5 * d * math.log(freedom * math.pi)
    return constant - 0.5 * (freedom + d) * (t.square().sum(-1) / freedom).log1p()


def samples_follow_density(subject: Subject, draws: int = 20_000) -> Figure:
    """Counts of samples in cells agree with the cells' probabilities: a chi-square test in one or two dimensions."""
    if subject.density.kind != "exact":
        return Figure.skip(f"its density: {subject.density.kind}")
    if subject.dimension > 2:
        return Figure.skip("only in one or two dimensions")
    d = subject.dimension
    with torch.no_grad():
        warp, mass = _grid_mass(subject)
        u = warp.place(_draws(subject, draws, 14))
    cells, side = _CELLS[d], _NODES[d] // _CELLS[d]
    blocks = mass.unfold(0, side, side)
    expected = (blocks.sum(-1) if d == 1 else blocks.unfold(1, side, side).sum((-1, -2))).flatten()
    index = (u * cells).long().clamp(0, cells - 1)
    index = index[:, 0] if d == 1 else index[:, 0] * cells + index[:, 1]
    counts = torch.bincount(index, minlength=len(expected)).double()
    return Figure(_surprise(counts, draws * expected / expected.sum()), tol.SURPRISE, "-log10 p of chi-square")


def _surprise(counts: Tensor, expected: Tensor) -> float:
    """-log10 of the chi-square test's p; cells that expect fewer than 5 are merged into one."""
    rich = expected >= 5
    counts = torch.cat([counts[rich], counts[~rich].sum().unsqueeze(0)])
    expected = torch.cat([expected[rich], expected[~rich].sum().unsqueeze(0)])
    if expected[-1] < 5:
        counts = torch.cat([counts[:-2], counts[-2:].sum().unsqueeze(0)])
        expected = torch.cat([expected[:-2], expected[-2:].sum().unsqueeze(0)])
    statistic = ((counts - expected).square() / expected).sum()
    freedom = torch.tensor((len(counts) - 1) / 2, dtype=torch.float64)
    p = torch.special.gammaincc(freedom, statistic / 2)
    return float(-p.clamp(min=1e-300).log10())


def sample_and_density_agree(subject: Subject) -> Figure:
    """sample_and_log_prob returns draws with the density that log_prob gives them; given(context) is the same."""
    density, context = held(subject.density), subject.context(3)
    with torch.no_grad():
        x, log_prob = density.sample_and_log_prob((64,), context, generator=subject.generator(15))
        expected = density.log_prob(x, context)
        if log_prob.shape != expected.shape or x.shape != (*expected.shape, *density.space.shape):
            return Figure.count([f"shapes {tuple(x.shape)}, {tuple(log_prob.shape)} and {tuple(expected.shape)}"])
        nudged = [density.log_prob(x * (1 + sign * tol.rounding(x.dtype)), context) for sign in (1, -1)]
        explained = torch.maximum(*[(near - expected).abs() for near in nudged]).nan_to_num(0.0)
        given = density.given(context)
        errors = [(log_prob - expected).abs() - explained, (given.log_prob(x) - expected).abs()]
        if given.rsample((2,)).shape != (2, *([] if context is None else [3]), *density.space.shape):
            return Figure.count(["given(context).rsample has the wrong shape"])
        if not bool(density.space.contains(x).all()):
            return Figure.count(["draws lie outside the space"])
    return Figure(worst_of(*[error.clamp(min=0) / (1 + expected.abs()) for error in errors]), tol.LADJ, "nats")


def is_a_bound(subject: Subject) -> Figure:
    """A density that is declared a bound lies, on average, below the true one."""
    if subject.density.kind != "bound":
        return Figure.skip("its density is no bound")
    if subject.truth is None:
        return Figure.skip("the true density is not known")
    with torch.no_grad():
        x = _draws(subject, 4000, 16)
        gap = _log_prob(subject, x) - subject.truth(x)
    error = float(gap.std()) / math.sqrt(len(x))
    return Figure(max(0.0, float(gap.mean())), 5 * error, f"{float(gap.mean()):+.3g} nats from the truth")


def _draws(subject: Subject, n: int, stream: int) -> Tensor:
    density, context = subject.density, subject.context(1)
    with torch.no_grad():
        x = density.sample((n,), context, generator=subject.generator(stream))
    return x if context is None else x.squeeze(1)


def _log_prob(subject: Subject, x: Tensor) -> Tensor:
    density: Distribution = subject.density
    context = subject.context(1)
    return density.log_prob(x, None if context is None else context.expand(len(x), *context.shape[1:]))
