r"""
Transformers
============

For images and sequences the network of a layer can be a transformer that sees the event as tokens. With two features
there are only two tokens, and a transformer is far more than they need; but the picture of what its layers do is the
same as in any dimension. As in "Couplings": a few seconds on two moons, drawn from the latent to the data.
"""

import torch

from unwarp import fit, flow, plots
from unwarp.data import toy

moons = toy("moons")
x, fresh = (moons.sample(3000, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
truth = float(moons.log_prob(fresh).mean())


def trained(name, steps=350, **options):
    torch.manual_seed(0)
    model = flow(name, 2, width=32, depth=1, heads=2, **options)
    fit(model, x.float(), max_steps=steps, seed=0, baselines=())
    with torch.no_grad():
        nats = float(model.log_prob(fresh.float()).mean())
    print(f"{name}: {nats:.2f} nats a row on fresh draws; the density itself has {truth:.2f}")
    return model


# %%
# Token by token: TarFlow
# -----------------------
# An autoregressive flow: a causal transformer reads the tokens so far and moves the next one. Every other layer
# reads backwards. With ``bins``, as here, features are bent by splines, and without only scaled and shifted.

plots.warp(trained("tarflow", layers=3, bins=8))

# %%
# Half of the tokens: Jet
# -----------------------
# Couplings: a transformer reads one half and says how the other half moves, so that drawing takes one pass.

plots.warp(trained("jet", layers=3, bins=8))
