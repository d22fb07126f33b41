r"""
Chains: log-determinants add up
===============================

Simple maps one after another make a complicated one. The chain rule multiplies their Jacobians, so their
log-determinants
add:

.. math:: \log p(x) = \log p(z) + \sum_k \log\left|\det J_k\right| .

``trace`` follows points through a flow and keeps the account.
"""

import torch

from unwarp import Flow, flow, trace
from unwarp.distributions import Normal
from unwarp.transforms import Compose, Linear

# %%
# By hand
# -------
# Two linear maps with determinants 6 and 1/2: the chain has determinant 3.

chain = Compose([Linear([[3.0, 1.0], [0.0, 2.0]]), Linear([[0.5, 0.0], [1.0, 1.0]])])
model = Flow(chain, Normal(2))
x = torch.tensor([0.2, -0.1])
for step in trace(model, x):
    z = [round(float(v), 4) for v in step.points]
    print(f"{step.name:8} at {z}: ladj {float(step.ladj):+.4f}, so far {float(step.total):+.4f}")

last = trace(model, x)[-1]
by_hand = Normal(2).log_prob(last.points) + last.total
print(f"log p(z) + sum = {float(by_hand):.6f}; log_prob says {float(model.log_prob(x)):.6f}")
assert torch.isclose(by_hand, model.log_prob(x))
assert torch.isclose(last.total, torch.tensor(3.0).log())

# %%
# In a real flow it is the same sum, with more terms.

deep = flow("nsf", 2, layers=4, hidden=(16,))
with torch.no_grad():
    for parameter in deep.parameters():
        parameter += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
steps = trace(deep, x)
for step in steps:
    print(f"{step.name:12} {float(step.ladj):+.4f} {float(step.total):+.4f}")
assert torch.isclose(deep.base.log_prob(steps[-1].points) + steps[-1].total, deep.log_prob(x), atol=1e-5)
