"""Recipes that say what a density is made of: a mixture, or marginals and their dependence."""

from __future__ import annotations

from unwarp.distributions import Flow, GaussianMixture, Normal
from unwarp.errors import ConfigError
from unwarp.flows._ends import Tails, opening
from unwarp.flows._recipe import Bins, Components, Context, Features, Hidden, Layers, Supports, recipe
from unwarp.networks import MaskedMLP
from unwarp.transforms import Autoregressive, Compose, Elementwise, Transform
from unwarp.univariates import HeavyTail, RationalQuadratic

__all__ = ["copula", "copula_parts", "gmm"]

_FLOOR = 3e-2  # least slope, and least share of a bin where it leaves room


@recipe
def gmm(features: Features, *, components: Components = 8, support: Supports = "real") -> Flow:
    """A mixture of Gaussians with full covariances, fitted by expectation and maximisation when it meets the data.

    Use it for small tables and clusters, and as what a flow has to beat.

    Args:
        features: number of features.
        components: the largest number of components.
        support: where features live: "real", "positive" or ("interval", low, high), one for all or one each.

    Source: Dempster, Laird and Rubin, 1977.
    """
    return Flow(Compose(opening(features, support)), GaussianMixture(features, components))


@recipe
def copula(
    features: Features,
    *,
    context: Context = 0,
    layers: Layers = 3,
    bins: Bins = 8,
    hidden: Hidden = (64, 64),
    tails: Tails = "heavy",
    support: Supports = "real",
) -> Flow:
    """Marginals and dependence apart: a spline to normal scores for each feature, then autoregressive splines.

    Use it where the two are asked about apart; `copula_parts` gives both. Fit the marginals first, then the rest.

    Args:
        features: number of features.
        context: length of the context, on which the dependence depends; 0 for none.
        layers: number of layers of the dependence.
        bins: bins of each spline; the marginals have four times as many.
        hidden: sizes of the conditioners' hidden layers.
        tails: "heavy" gives each marginal learned tails, which `adapt` sets and which are the identity where the data's
            are light; "light" leaves them out: rows far outside the splines' box then have a normal density.
        support: as for `gmm`.

    Source: Wiese, Knobloch and Korn, 2019, arXiv:1907.03361.
    """
    wide: list[Transform] = [Elementwise(features, HeavyTail())] if tails == "heavy" else []
    marginal = _spline(min(256, 4 * bins))
    parts = [*opening(features, support), *wide, Elementwise(features, marginal)]
    for layer in range(layers):
        spline = _spline(bins)
        net = MaskedMLP(features, spline.n_params, hidden=hidden, context=context)
        order = range(features) if layer % 2 == 0 else range(features - 1, -1, -1)
        parts.append(Autoregressive(features, spline, net, order=order, context=context))
    return Flow(Compose(parts), Normal(features))


def copula_parts(flow: Flow) -> tuple[Flow, Flow]:
    r"""The marginals of a `copula` flow, and its dependence: two flows that share its parameters.

    The first has independent features; fit it to x first. The second is of the normal scores $u = f(x)$ that the
    first's transform makes of x; fit it to these next. Then
    $\log p(x) = \log p_1(x) + [\log p_2(u) - \log\phi(u)]$, where the bracket is the log density of the copula: 0 where
    features are independent. Its own marginals are uniform as far as the fit is good.

    Args:
        flow: made by the recipe `copula`.

    Raises:
        ConfigError: when the flow was made otherwise.

    Example:
        >>> flow = copula(2, layers=1)
        >>> marginals, dependence = copula_parts(flow)
        >>> x = torch.ones(3, 2)
        >>> u = marginals.transform.encode(x)
        >>> whole = marginals.log_prob(x) + dependence.log_prob(u) - Normal(2).log_prob(u)
        >>> bool(torch.allclose(whole, flow.log_prob(x), atol=1e-5))
        True
    """
    if flow.spec is None or flow.spec["recipe"] != "copula":
        raise ConfigError('copula_parts: expected a flow of the recipe "copula"; got another. Make it by flows.copula.')
    parts = list(flow.transform.parts)
    cut = len(parts) - flow.spec["options"]["layers"]
    return Flow(Compose(parts[:cut]), flow.base), Flow(Compose(parts[cut:]), flow.base)


def _spline(bins: int) -> RationalQuadratic:
    return RationalQuadratic(bins, 5.0, min(_FLOOR, 0.5 / bins), _FLOOR)
