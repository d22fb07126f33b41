"""The papers: what each recipe, transform, scalar map and distribution comes from."""

from __future__ import annotations

__all__ = ["PAPERS", "SOURCES"]

# key -> authors, title, year, where ("arXiv:..." or the journal)
PAPERS: dict[str, tuple[str, str, int, str]] = {
    "berg2018sylvester": (
        "van den Berg, Rianne and Hasenclever, Leonard and Tomczak, Jakub M. and Welling, Max",
        "Sylvester Normalizing Flows for Variational Inference",
        2018,
        "arXiv:1803.05649",
    ),
    "decao2019bnaf": (
        "De Cao, Nicola and Aziz, Wilker and Titov, Ivan",
        "Block Neural Autoregressive Flow",
        2019,
        "arXiv:1904.04676",
    ),
    "dinh2015nice": (
        "Dinh, Laurent and Krueger, David and Bengio, Yoshua",
        "NICE: Non-linear Independent Components Estimation",
        2015,
        "arXiv:1410.8516",
    ),
    "dinh2017realnvp": (
        "Dinh, Laurent and Sohl-Dickstein, Jascha and Bengio, Samy",
        "Density estimation using Real NVP",
        2017,
        "arXiv:1605.08803",
    ),
    "dosovitskiy2021image": (
        "Dosovitskiy, Alexey and Beyer, Lucas and Kolesnikov, Alexander and Weissenborn, Dirk and others",
        "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
        2021,
        "arXiv:2010.11929",
    ),
    "durkan2019neural": (
        "Durkan, Conor and Bekasov, Artur and Murray, Iain and Papamakarios, George",
        "Neural Spline Flows",
        2019,
        "arXiv:1906.04032",
    ),
    "ho2019flow": (
        "Ho, Jonathan and Chen, Xi and Srinivas, Aravind and Duan, Yan and Abbeel, Pieter",
        "Flow++: Improving Flow-Based Generative Models with Variational Dequantization and Architecture Design",
        2019,
        "arXiv:1902.00275",
    ),
    "kingma2016iaf": (
        "Kingma, Diederik P. and Salimans, Tim and Jozefowicz, Rafal and Chen, Xi and Sutskever, Ilya and Welling, Max",
        "Improving Variational Inference with Inverse Autoregressive Flow",
        2016,
        "arXiv:1606.04934",
    ),
    "kingma2018glow": (
        "Kingma, Diederik P. and Dhariwal, Prafulla",
        "Glow: Generative Flow with Invertible 1x1 Convolutions",
        2018,
        "arXiv:1807.03039",
    ),
    "papamakarios2017maf": (
        "Papamakarios, George and Pavlakou, Theo and Murray, Iain",
        "Masked Autoregressive Flow for Density Estimation",
        2017,
        "arXiv:1705.07057",
    ),
    "rezende2015variational": (
        "Rezende, Danilo Jimenez and Mohamed, Shakir",
        "Variational Inference with Normalizing Flows",
        2015,
        "arXiv:1505.05770",
    ),
}

# recipe or class -> keys of PAPERS
SOURCES: dict[str, tuple[str, ...]] = {
    "ActNorm": ("kingma2018glow",),
    "Autoregressive": ("papamakarios2017maf",),
    "BlockNeural": ("decao2019bnaf",),
    "Checkerboard": ("dinh2017realnvp",),
    "Coupling": ("dinh2015nice",),
    "Dequantize": ("ho2019flow",),
    "LU": ("kingma2018glow",),
    "MultiScale": ("dinh2017realnvp",),
    "Patches": ("dosovitskiy2021image",),
    "Pixelwise": ("kingma2018glow",),
    "Planar": ("rezende2015variational",),
    "Radial": ("rezende2015variational",),
    "RationalQuadratic": ("durkan2019neural",),
    "Squeeze": ("dinh2017realnvp",),
    "Sylvester": ("berg2018sylvester",),
    "bnaf": ("decao2019bnaf",),
    "iaf": ("kingma2016iaf",),
    "maf": ("papamakarios2017maf",),
    "nice": ("dinh2015nice",),
    "nsf": ("durkan2019neural",),
    "planar": ("rezende2015variational",),
    "radial": ("rezende2015variational",),
    "realnvp": ("dinh2017realnvp",),
    "sylvester": ("berg2018sylvester",),
}
