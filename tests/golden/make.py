"""Writes the golden model files of one release: `python tests/golden/make.py`.

Each later release must read them and give the same densities. Never overwrite one: a new recipe gets a new file.
"""

import json
from pathlib import Path

import torch

from unwarp import flows

HERE = Path(__file__).parent
FLOWS = {
    "flowpp": {"features": (1, 2, 2), "levels": 1, "layers": 1, "hidden": (2,), "components": 2, "values": 8},
    "realnvp_image": {"features": (1, 4, 4), "levels": 1, "layers": 1, "hidden": (2,), "values": 4, "context": 2},
    "glow": {"features": (1, 4, 4), "levels": 2, "layers": 1, "hidden": (2,), "dequantization": "none"},
    "nsf_image": {
        "features": (1, 2, 2),
        "levels": 1,
        "layers": 1,
        "hidden": (2,),
        "bins": 2,
        "values": 16,
        "dequantization": "variational",
    },
    "residual_image": {
        "features": (1, 2, 4),
        "levels": 1,
        "layers": 2,
        "hidden": (3, 2),
        "lipschitz": 0.5,
        "ladj": "exact",
        "dequantization": "none",
        "context": 1,
    },
    "bnaf": {"features": 2, "layers": 2, "hidden": (4,), "context": 1},
    "gin": {"features": 3, "layers": 2, "hidden": (4,)},
    "triangular": {"features": 2, "layers": 2, "bins": 4, "hidden": (4,), "context": 1},
    "naf": {"features": 2, "layers": 2, "units": 3, "depth": 2, "hidden": (4,), "context": 1},
    "unaf": {"features": 2, "layers": 2, "units": 2, "hidden": (4,)},
    "sospf": {"features": 2, "layers": 2, "degree": 2, "hidden": (4,)},
    "bpf": {"features": 2, "layers": 2, "degree": 5, "hidden": (4,), "context": 1},
    "gf": {"features": 3, "layers": 2, "units": 3},
    "cpflow": {"features": 2, "layers": 2, "hidden": (4, 3)},
    "freeform": {"features": 3, "layers": 2, "hidden": (4, 3), "context": 1},
    "planar": {"features": 2, "layers": 2, "hidden": (4,), "context": 1},
    "radial": {"features": 3, "layers": 2, "explicit": "sampling"},
    "resflow": {"features": 3, "layers": 2, "hidden": (4, 4), "context": 1},
    "sylvester": {"features": 3, "layers": 2, "rank": 2},
    "circular": {
        "features": 3,
        "layers": 1,
        "bins": 3,
        "hidden": (4,),
        "support": ["circle", "real", ["interval", 0.0, 1.0]],
        "context": 1,
    },
    "sphere": {"features": 3, "layers": 2, "bins": 3, "hidden": (4,)},
    "gmm": {"features": 2, "components": 3},
    "copula": {"features": 2, "layers": 2, "bins": 2, "hidden": (4,), "tails": "heavy"},
    "cnf": {"features": 2, "hidden": (4,), "context": 1, "steps": 2},
    "ffjord": {"features": 2, "hidden": (4,), "steps": 2},
    "otflow": {"features": 2, "width": 4, "steps": 2},
    "nice": {"features": 2, "layers": 2, "hidden": (4,)},
    "realnvp": {"features": 3, "layers": 2, "hidden": (4,), "context": 2},
    "maf": {"features": 3, "layers": 2, "hidden": (4, 4), "base": "mixture", "components": 2},
    "iaf": {"features": 2, "layers": 2, "hidden": (4,), "base": "student"},
    "nsf": {"features": 2, "layers": 2, "hidden": (4,), "bins": 4, "tails": "heavy", "marginals": 4},
    "tarflow": {"features": 4, "layers": 2, "width": 4, "depth": 1, "heads": 2, "patch": 2, "context": 2},
    "jet": {"features": [1, 2, 2], "layers": 3, "width": 4, "depth": 1, "heads": 2, "patch": 1, "bins": 3},
    "nsf_autoregressive": {
        "features": 3,
        "layers": 2,
        "hidden": (4,),
        "bins": 4,
        "structure": "autoregressive",
        "support": ["real", "positive", ["interval", -1.0, 2.0]],
    },
}


def make(name: str, dtype: torch.dtype) -> None:
    """Write one flow, some points and their densities, unless they are there."""
    path = HERE / f"{name}_{str(dtype).removeprefix('torch.')}.safetensors"
    if path.exists():
        return
    options = dict(FLOWS[name])
    flow = flows.flow(name.removesuffix("_autoregressive"), options.pop("features"), **options).to(dtype)
    flow.adapt(flow.space.draw(200, dtype=dtype), *context(flow, 200, dtype))
    with torch.no_grad():
        for value in flow.parameters():
            value.add_(torch.randn_like(value), alpha=0.3)
        x, given = flow.space.draw(8, dtype=dtype), context(flow, 8, dtype)
        log_prob = flow.log_prob(x, *given)
    flows.save(flow, path, columns=[{"name": "first"}], training={"steps": 0})
    golden = {"x": x.tolist(), "context": given[0].tolist() if given else None, "log_prob": log_prob.tolist()}
    path.with_suffix(".json").write_text(json.dumps(golden, indent=1) + "\n")


def context(flow, n, dtype):
    return [] if flow.context_shape is None else [torch.randn(n, *flow.context_shape, dtype=dtype)]


if __name__ == "__main__":
    torch.manual_seed(0)
    for word in FLOWS:
        for kind in (torch.float32, torch.float64):
            make(word, kind)
