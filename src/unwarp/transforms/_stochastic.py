"""Maps that draw in both directions."""

from __future__ import annotations

from torch import Tensor

from unwarp._space import Space
from unwarp.transforms._base import Transform
from unwarp.transforms._fill import Fill

__all__ = ["Stochastic"]


class Stochastic(Transform):
    r"""$z \sim q(z \mid x)$ one way and $x \sim p(x \mid z)$ the other: a variational autoencoder as a layer.

    Forward's $\text{ladj} = \log p(x \mid z) - \log q(z \mid x)$ makes the flow's `log_prob` the evidence lower bound.

    Use it where z should have another dimension than x, and no bijection will do. Both distributions are normal noise
    read back through a map, such as one `Coupling` that keeps nothing: mean and scale from a network.

    Args:
        domain: where x lives.
        codomain: where z lives.
        encoder: map from z to standard normal noise of its shape, with x as its context.
        decoder: map from x to standard normal noise of its shape, with z as its context.

    Shapes: x `(*batch, *domain.shape)`, z `(*batch, *codomain.shape)`; ladj `(*batch)`, nats.

    Raises:
        SpaceError: when encoder or decoder starts, ends or is told elsewhere.

    Source: Kingma and Welling, *Auto-Encoding Variational Bayes*, 2014, arXiv:1312.6114, eq. 3; as a layer: Nielsen et
    al., *SurVAE Flows*, 2020, arXiv:2007.02731, section 2.1.

    Example:
        >>> from unwarp.transforms import Standardize
        >>> layer = Stochastic(Space((3,)), Space((1,)), Standardize(1), Standardize(3))
        >>> z, ladj = layer(torch.zeros(5, 3))
        >>> z.shape, ladj.shape, layer.kind
        (torch.Size([5, 1]), torch.Size([5]), 'bound')
    """

    def __init__(self, domain: Space, codomain: Space, encoder: Transform, decoder: Transform) -> None:
        super().__init__(domain, codomain, kind="bound", loses="both")
        self.encoder = Fill("Stochastic", codomain, domain, encoder)
        self.decoder = Fill("Stochastic", domain, codomain, decoder)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, log_q = self.encoder.draw(x)
        return z, self.decoder.log_prob(x, z) - log_q

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_p = self.decoder.draw(z)
        return x, self.encoder.log_prob(z, x) - log_p
