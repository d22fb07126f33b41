"""Laws of invertible maps: they come back, and their ladj is the log-determinant of what they do."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from unwarp._space import CIRCLE
from unwarp.doctor import _tolerances as tol
from unwarp.doctor._quadrature import Warp
from unwarp.doctor._report import Figure, worst_of
from unwarp.doctor._subject import Call, Subject, transform_of
from unwarp.transforms import Chart, Compose, Inverse, Noise, Transform

__all__ = [
    "estimate_is_unbiased",
    "identity_at_start",
    "jacobian",
    "ladj_both_ways",
    "ladj_by_integration",
    "round_trip",
]


def round_trip(subject: Subject) -> Figure:
    """inverse(forward(x)) is x and forward(inverse(z)) is z."""
    ways = _ways(subject)
    if not ways:
        return Figure.skip("no way there can be undone")
    with torch.no_grad():
        worst = worst_of(*[_return_error(there, back, 0, tol.ROUND_TRIP) for there, back in ways])
    return Figure(worst, tol.ROUND_TRIP, "of 1 + |x|")


def _ways(subject: Subject) -> list[tuple[Call, Call]]:
    """The ways there and back that end where they start: those whose way there loses nothing."""
    forward, inverse = subject.calls()[:2]
    loses = subject.map.loses
    ways = [(forward, inverse)] * (loses in ("nothing", "inverse"))
    return ways + [(inverse, forward)] * (loses in ("nothing", "forward"))


def ladj_both_ways(subject: Subject) -> Figure:
    """The ladj of forward and that of inverse, at the same point, add up to zero."""
    f, ways = subject.map, _ways(subject)
    if not ways or (f.kind != "exact" and f.loses == "nothing"):
        return Figure.skip(f"its ladj: {f.kind}")
    with torch.no_grad():
        worst = worst_of(*[_return_error(there, back, 1, tol.LADJ) for there, back in ways])
    return Figure(worst, tol.LADJ, "nats")


def _return_error(there: Call, back: Call, what: int, tolerance: float) -> Tensor:
    """How far a way there and back misses its start, in the point (0) or in ladj (1).

    A steep map turns a last digit into a visible error, which is no fault of its own. So of an error above the
    tolerance two things are forgiven: what a nudge of the image does to the way back, and how errors scatter among
    neighbours.
    """

    def miss(x: Tensor) -> Tensor:
        image, ladj = there.run(x, there.context)
        end = back.run(image, there.context)[what]
        return end + ladj if what else there.space.difference(end, x)

    image, ladj = there()
    start = -ladj if what else there.x
    error, size = miss(there.x), 1 + start.abs()
    if bool((error.abs() <= tolerance * size).all()):
        return error.abs() / size
    end = back.run(image, there.context)[what]
    nudged = [back.run(_nudged(image, sign), there.context)[what] for sign in (1, -1)]
    nudges = [near - end if what else there.space.difference(near, end) for near in nudged]
    scatter = [miss(_nudged(there.x, step)) - error for step in (1, -1, 0.6, -0.3)]
    explained = torch.stack([*nudges, *scatter]).abs().nan_to_num(0.0).amax(0)
    return _beyond(error, explained, tolerance, size)


def _nudged(x: Tensor, step: float) -> Tensor:
    return x + step * tol.rounding(x.dtype) * (1 + x.abs())


def _beyond(error: Tensor, explained: Tensor, tolerance: float, size: Tensor) -> Tensor:
    """The error, of `size`; of one above the tolerance what rounding explains is forgiven."""
    error = error.abs()
    return torch.where(error > tolerance * size, (error - explained).clamp(min=0), error) / size


def jacobian(subject: Subject) -> Figure:
    """ladj is the log-determinant of the Jacobian by automatic differentiation."""
    f = subject.map
    if f.kind != "exact" or f.loses != "nothing":
        return Figure.skip("no bijection" if f.loses != "nothing" else f"its ladj: {f.kind}")
    if subject.features > 128:
        return Figure.skip("more than 128 features")
    ladj, matrix = _ladj_and_jacobian(subject)
    reference = torch.linalg.slogdet(matrix).logabsdet
    explained = tol.rounding(matrix.dtype) * torch.linalg.cond(matrix)
    return Figure(worst_of(_beyond(ladj - reference, explained, tol.LADJ, 1 + reference.abs())), tol.LADJ, "nats")


def _ladj_and_jacobian(subject: Subject) -> tuple[Tensor, Tensor]:
    """What the map says of each row, `(rows)`, and the Jacobian between coordinates, `(rows, D, D)`."""
    f, call = subject.map, subject.calls()[0]
    x = f.domain.to_coordinates(call.x)[0].requires_grad_()
    z, ladj = in_coordinates(f).forward(x, call.context)
    return ladj, torch.stack([torch.autograd.grad(z_i.sum(), x, retain_graph=True)[0] for z_i in z.unbind(-1)], 1)


def estimate_is_unbiased(subject: Subject, draws: int = 200) -> Figure:
    """A ladj that is declared an estimate is, on average, the log-determinant of the Jacobian."""
    f = subject.map
    if f.kind != "estimate" or f.loses != "nothing":
        return Figure.skip(f"its ladj: {f.kind}")
    if subject.features > 8:
        return Figure.skip("more than eight features")
    module = copy.deepcopy(subject.module)
    whole, call = transform_of(module), subject.calls()[0]
    ladj: list[Tensor] = []
    with torch.no_grad():
        for _ in range(draws):
            for part in whole.modules():
                if isinstance(part, Noise):
                    part.passes.add_(1)
            ladj.append(in_coordinates(whole).forward(f.domain.to_coordinates(call.x)[0], call.context)[1])
    error = torch.stack(ladj).std(0) / math.sqrt(draws)
    gap = torch.stack(ladj).mean(0) - torch.linalg.slogdet(_ladj_and_jacobian(subject)[1]).logabsdet
    note = f"nats beyond 5 standard errors, of {float(error.mean()):.2g} nats"
    return Figure(worst_of((gap.abs() - 5 * error).clamp(min=0)), tol.ESTIMATE, note)


def ladj_by_integration(subject: Subject) -> Figure:
    """The integral of exp(ladj) over a cell is the length or area of the cell's image; no derivative is taken."""
    f = in_coordinates(subject.map)
    if f.kind != "exact" or f.loses != "nothing":
        return Figure.skip("no bijection" if f.loses != "nothing" else f"its ladj: {f.kind}")
    if subject.dimension > 2 or f.codomain.shape != f.domain.shape:
        return Figure.skip("only for events of one or two dimensions")
    context = subject.context(1) if f.context_shape is not None else None
    warp = Warp.around(f.domain, subject.map.domain.to_coordinates(subject.x(500))[0])
    rule, cells = (_line, 20_000) if subject.dimension == 1 else (_square, 300)
    tolerance = tol.INTEGRAL[subject.dimension]
    with torch.no_grad():
        measure, image = rule(f, warp, context, cells)
        if math.isnan(image):
            return Figure.skip("the image of the cell goes around a circle")
        error = abs(measure / image - 1)
        if error > tolerance:  # slopes that jump make the rule itself coarse: coarser ones show how much
            others = [rule(f, warp, context, cells * share // 12)[0] for share in (6, 7, 9)]
            error = max(0.0, error - max(abs(other - measure) for other in others) / image)
    return Figure(error, tolerance, f"image of {image:.3g}")


def in_coordinates(f: Transform) -> Transform:
    """The map between the coordinates of the events; f itself where these are the events."""
    before = [] if f.domain == f.domain.flat else [Inverse(Chart(f.domain))]
    after = [] if f.codomain == f.codomain.flat else [Chart(f.codomain)]
    return Compose([*before, f, *after]) if before or after else f


def _line(f: Transform, warp: Warp, context: Tensor | None, cells: int) -> tuple[float, float]:
    """Integral of exp(ladj) over a cell by midpoints, and the distance of the images of its ends."""
    middles, widths, ends = _cell(warp, cells)
    ladj = f.forward(middles, _widen(context, cells))[1]
    images = f.forward(ends, _widen(context, 2))[0]
    length = f.codomain.difference(images[1], images[0]).abs().sum()
    return float((widths * ladj.exp().unsqueeze(-1)).sum()), float(length)


def _square(f: Transform, warp: Warp, context: Tensor | None, cells: int) -> tuple[float, float]:
    """Integral of exp(ladj) over a rectangle by midpoints, and the area that the image of its edge encloses."""
    middles, widths, ends = _cell(warp, cells)
    ladj = f.forward(torch.cartesian_prod(*middles.unbind(-1)), _widen(context, cells**2))[1].reshape(cells, cells)
    measure = widths[:, 0] @ ladj.exp() @ widths[:, 1]
    t = torch.linspace(0, 1, 20_000, dtype=torch.float64)[:-1]
    zero, one = torch.zeros_like(t), torch.ones_like(t)
    edge = torch.cat([torch.stack(side, -1) for side in ((t, zero), (one, t), (1 - t, one), (zero, 1 - t))])
    image = f.forward(ends[0] + (ends[1] - ends[0]) * edge, _widen(context, len(edge)))[0]
    path = f.codomain.difference(image, image.roll(1, 0)).cumsum(0)
    if bool((path[-1].abs() > 1).any()):
        return float(measure), math.nan  # it goes around a circle, and what it encloses is not in the chart
    a, b = path.unbind(-1)
    return float(measure), float(0.5 * (a * b.roll(-1) - a.roll(-1) * b).sum().abs())


def _cell(warp: Warp, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """Midpoints and widths `(cells, D)` that part the middle half of the warp's cube, and its two corners `(2, D)`.

    On circles it is the middle tenth, whose image rarely goes around one.
    """
    reach = 0.05 if CIRCLE in warp.space.supports else 0.25
    u = torch.linspace(0.5 - reach, 0.5 + reach, 2 * cells + 1, dtype=torch.float64)
    points = warp.point(u.unsqueeze(-1).expand(-1, len(warp.middle)))[0]
    return points[1::2], points[::2].diff(dim=0), points[[0, -1]]


def identity_at_start(subject: Subject) -> Figure:
    """Before training the map is the identity, up to the order of the coordinates, and its ladj is zero."""
    if subject.fresh is None:
        return Figure.skip("how to build the object anew is not known")
    start = Subject(subject.name, subject.fresh().double().eval(), rows=subject.rows, seed=subject.seed)
    f = start.map
    if f.domain != f.codomain:
        return Figure.skip("it starts and ends in different spaces")
    if f.loses != "nothing":
        return Figure.skip("no bijection")
    if not any(p.requires_grad for p in f.parameters()) and type(f).adapt is Transform.adapt:
        return Figure.skip("it has nothing to train")
    with torch.no_grad():
        call = start.calls()[0]
        z, ladj = call()
    moved = (z.flatten(1).sort(-1).values - call.x.flatten(1).sort(-1).values).abs()
    note = "" if bool((z - call.x).abs().max() <= tol.START) else "after a permutation"
    return Figure(worst_of(moved, ladj.abs()), tol.START, note)


def _widen(context: Tensor | None, rows: int) -> Tensor | None:
    return None if context is None else context.expand(rows, *context.shape[1:])
