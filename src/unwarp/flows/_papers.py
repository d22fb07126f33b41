"""The papers that recipes, transforms, scalar maps and distributions come from."""

from __future__ import annotations

__all__ = ["PAPERS"]

# key -> authors, title, year, where ("arXiv:..." or the journal)
PAPERS: dict[str, tuple[str, str, int, str]] = {
    "andrade2024stable": (
        "Andrade, Daniel",
        "Stable Training of Normalizing Flows for High-dimensional Variational Inference",
        2024,
        "arXiv:2402.16408",
    ),
    "ardizzone2019guided": (
        "Ardizzone, Lynton and Lüth, Carsten and Kruse, Jakob and Rother, Carsten and Köthe, Ullrich",
        "Guided Image Generation with Conditional Invertible Neural Networks",
        2019,
        "arXiv:1907.02392",
    ),
    "baptista2023triangular": (
        "Baptista, Ricardo and Marzouk, Youssef and Zahm, Olivier",
        "On the Representation and Learning of Monotone Triangular Transport Maps",
        2023,
        "arXiv:2009.10303",
    ),
    "bauer2019resampled": (
        "Bauer, Matthias and Mnih, Andriy",
        "Resampled Priors for Variational Autoencoders",
        2019,
        "arXiv:1810.11428",
    ),
    "behrmann2019invertible": (
        "Behrmann, Jens and Grathwohl, Will and Chen, Ricky T. Q. and Duvenaud, David and Jacobsen, Joern-Henrik",
        "Invertible Residual Networks",
        2019,
        "arXiv:1811.00995",
    ),
    "berg2018sylvester": (
        "van den Berg, Rianne and Hasenclever, Leonard and Tomczak, Jakub M. and Welling, Max",
        "Sylvester Normalizing Flows for Variational Inference",
        2018,
        "arXiv:1803.05649",
    ),
    "bovy2011extreme": (
        "Bovy, Jo and Hogg, David W. and Roweis, Sam T.",
        "Extreme Deconvolution: Inferring Complete Distribution Functions from Noisy, Heterogeneous and Incomplete Observations",  # noqa: E501
        2011,
        "arXiv:0905.2979",
    ),
    "chen2018neural": (
        "Chen, Ricky T. Q. and Rubanova, Yulia and Bettencourt, Jesse and Duvenaud, David",
        "Neural Ordinary Differential Equations",
        2018,
        "arXiv:1806.07366",
    ),
    "chen2019residual": (
        "Chen, Ricky T. Q. and Behrmann, Jens and Duvenaud, David and Jacobsen, Joern-Henrik",
        "Residual Flows for Invertible Generative Modeling",
        2019,
        "arXiv:1906.02735",
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
    "dolatabadi2020linear": (
        "Dolatabadi, Hadi M. and Erfani, Sarah and Leckie, Christopher",
        "Invertible Generative Modeling using Linear Rational Splines",
        2020,
        "arXiv:2001.05168",
    ),
    "dosovitskiy2021image": (
        (
            "Dosovitskiy, Alexey and Beyer, Lucas and Kolesnikov, Alexander and Weissenborn, Dirk and "
            "Zhai, Xiaohua and Unterthiner, Thomas and Dehghani, Mostafa and Minderer, Matthias and "
            "Heigold, Georg and Gelly, Sylvain and Uszkoreit, Jakob and Houlsby, Neil"
        ),
        "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
        2021,
        "arXiv:2010.11929",
    ),
    "draxler2024freeform": (
        "Draxler, Felix and Sorrenson, Peter and Zimmermann, Lea and Rousselot, Armand and Köthe, Ullrich",
        "Free-form Flows: Make Any Architecture a Normalizing Flow",
        2024,
        "arXiv:2310.16624",
    ),
    "durkan2019cubic": (
        "Durkan, Conor and Bekasov, Artur and Murray, Iain and Papamakarios, George",
        "Cubic-Spline Flows",
        2019,
        "arXiv:1906.02145",
    ),
    "durkan2019neural": (
        "Durkan, Conor and Bekasov, Artur and Murray, Iain and Papamakarios, George",
        "Neural Spline Flows",
        2019,
        "arXiv:1906.04032",
    ),
    "golinski2019orthogonal": (
        "Goliński, Adam and Lezcano-Casado, Mario and Rainforth, Tom",
        "Improving Normalizing Flows via Better Orthogonal Parameterizations",
        2019,
        "ICML Workshop on Invertible Neural Networks and Normalizing Flows",
    ),
    "grathwohl2019ffjord": (
        "Grathwohl, Will and Chen, Ricky T. Q. and Bettencourt, Jesse and Sutskever, Ilya and Duvenaud, David",
        "FFJORD: Free-form Continuous Dynamics for Scalable Reversible Generative Models",
        2019,
        "arXiv:1810.01367",
    ),
    "ho2019flow": (
        "Ho, Jonathan and Chen, Xi and Srinivas, Aravind and Duan, Yan and Abbeel, Pieter",
        "Flow++: Improving Flow-Based Generative Models with Variational Dequantization and Architecture Design",
        2019,
        "arXiv:1902.00275",
    ),
    "hoogeboom2019emerging": (
        "Hoogeboom, Emiel and van den Berg, Rianne and Welling, Max",
        "Emerging Convolutions for Generative Normalizing Flows",
        2019,
        "arXiv:1901.11137",
    ),
    "hoogeboom2020exponential": (
        "Hoogeboom, Emiel and Garcia Satorras, Victor and Tomczak, Jakub M. and Welling, Max",
        "The Convolution Exponential and Generalized Sylvester Flows",
        2020,
        "arXiv:2006.01910",
    ),
    "hoogeboom2021argmax": (
        "Hoogeboom, Emiel and Nielsen, Didrik and Jaini, Priyank and Forré, Patrick and Welling, Max",
        "Argmax Flows and Multinomial Diffusion: Learning Categorical Distributions",
        2021,
        "arXiv:2102.05379",
    ),
    "huang2018naf": (
        "Huang, Chin-Wei and Krueger, David and Lacoste, Alexandre and Courville, Aaron",
        "Neural Autoregressive Flows",
        2018,
        "arXiv:1804.00779",
    ),
    "huang2021convex": (
        "Huang, Chin-Wei and Chen, Ricky T. Q. and Tsirigotis, Christos and Courville, Aaron",
        "Convex Potential Flows: Universal Probability Distributions with Optimal Transport and Convex Optimization",
        2021,
        "arXiv:2012.05942",
    ),
    "jaini2019sos": (
        "Jaini, Priyank and Selby, Kira A. and Yu, Yaoliang",
        "Sum-of-Squares Polynomial Flow",
        2019,
        "arXiv:1905.02325",
    ),
    "jones2009sinh": (
        "Jones, M. C. and Pewsey, Arthur",
        "Sinh-arcsinh distributions",
        2009,
        "Biometrika 96",
    ),
    "kingma2014autoencoding": (
        "Kingma, Diederik P. and Welling, Max",
        "Auto-Encoding Variational Bayes",
        2014,
        "arXiv:1312.6114",
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
    "kolesnikov2024jet": (
        "Kolesnikov, Alexander and Pinto, André Susano and Tschannen, Michael",
        "Jet: A Modern Transformer-Based Normalizing Flow",
        2024,
        "arXiv:2412.15129",
    ),
    "lu2020woodbury": (
        "Lu, You and Huang, Bert",
        "Woodbury Transformations for Deep Generative Flows",
        2020,
        "arXiv:2002.12229",
    ),
    "meng2020gaussianization": (
        "Meng, Chenlin and Song, Yang and Song, Jiaming and Ermon, Stefano",
        "Gaussianization Flows",
        2020,
        "arXiv:2003.01941",
    ),
    "meng2022butterfly": (
        "Meng, Chenlin and Zhou, Linqi and Choi, Kristy and Dao, Tri and Ermon, Stefano",
        "ButterflyFlow: Building Invertible Layers with Butterfly Matrices",
        2022,
        "arXiv:2209.13774",
    ),
    "mueller2019importance": (
        "Müller, Thomas and McWilliams, Brian and Rousselle, Fabrice and Gross, Markus and Novák, Jan",
        "Neural Importance Sampling",
        2019,
        "arXiv:1808.03856",
    ),
    "nielsen2020survae": (
        "Nielsen, Didrik and Jaini, Priyank and Hoogeboom, Emiel and Winther, Ole and Welling, Max",
        "SurVAE Flows: Surjections to Bridge the Gap between VAEs and Flows",
        2020,
        "arXiv:2007.02731",
    ),
    "onken2021otflow": (
        "Onken, Derek and Wu Fung, Samy and Li, Xingjian and Ruthotto, Lars",
        "OT-Flow: Fast and Accurate Continuous Normalizing Flows via Optimal Transport",
        2021,
        "arXiv:2006.00104",
    ),
    "papamakarios2017maf": (
        "Papamakarios, George and Pavlakou, Theo and Murray, Iain",
        "Masked Autoregressive Flow for Density Estimation",
        2017,
        "arXiv:1705.07057",
    ),
    "ramasinghe2021bernstein": (
        "Ramasinghe, Sameera and Fernando, Kasun and Khan, Salman and Barnes, Nick",
        "Robust normalizing flows using Bernstein-type polynomials",
        2021,
        "arXiv:2102.03509",
    ),
    "rezende2015variational": (
        "Rezende, Danilo Jimenez and Mohamed, Shakir",
        "Variational Inference with Normalizing Flows",
        2015,
        "arXiv:1505.05770",
    ),
    "rezende2020tori": (
        (
            "Rezende, Danilo Jimenez and Papamakarios, George and Racanière, Sébastien and Albergo, Michael S. and "
            "Kanwar, Gurtej and Shanahan, Phiala E. and Cranmer, Kyle"
        ),
        "Normalizing Flows on Tori and Spheres",
        2020,
        "arXiv:2002.02428",
    ),
    "sorrenson2020gin": (
        "Sorrenson, Peter and Rother, Carsten and Köthe, Ullrich",
        "Disentanglement by Nonlinear ICA with General Incompressible-flow Networks (GIN)",
        2020,
        "arXiv:2001.04872",
    ),
    "sorrenson2024lifting": (
        "Sorrenson, Peter and Draxler, Felix and Rousselot, Armand and others",
        "Lifting Architectural Constraints of Injective Flows",
        2024,
        "arXiv:2306.01843",
    ),
    "stimper2022resampling": (
        "Stimper, Vincent and Schölkopf, Bernhard and Hernández-Lobato, José Miguel",
        "Resampling Base Distributions of Normalizing Flows",
        2022,
        "arXiv:2110.15828",
    ),
    "tomczak2016householder": (
        "Tomczak, Jakub M. and Welling, Max",
        "Improving Variational Auto-Encoders using Householder Flow",
        2016,
        "arXiv:1611.09630",
    ),
    "wehenkel2019umnn": (
        "Wehenkel, Antoine and Louppe, Gilles",
        "Unconstrained Monotonic Neural Networks",
        2019,
        "arXiv:1908.05164",
    ),
    "wiese2019copula": (
        "Wiese, Magnus and Knobloch, Robert and Korn, Ralf",
        "Copula & Marginal Flows: Disentangling the Marginal from its Joint",
        2019,
        "arXiv:1907.03361",
    ),
    "xiao2020exponential": (
        "Xiao, Changyi and Liu, Ligang",
        "Generative Flows with Matrix Exponential",
        2020,
        "arXiv:2007.09651",
    ),
    "yang2006modified": (
        "Yang, Zhenlin",
        "A modified family of power transformations",
        2006,
        "Economics Letters 92",
    ),
    "yeo2000power": (
        "Yeo, In-Kwon and Johnson, Richard A.",
        "A new family of power transformations to improve normality or symmetry",
        2000,
        "Biometrika 87",
    ),
    "zhai2024tarflow": (
        (
            "Zhai, Shuangfei and Zhang, Ruixiang and Nakkiran, Preetum and Berthelot, David and Gu, Jiatao and "
            "Zheng, Huangjie and Chen, Tianrong and Bautista, Miguel Angel and Jaitly, Navdeep and Susskind, Josh"
        ),
        "Normalizing Flows are Capable Generative Models",
        2024,
        "arXiv:2412.06329",
    ),
    "zhang2018svd": (
        "Zhang, Jiong and Lei, Qi and Dhillon, Inderjit S.",
        "Stabilizing Gradients for Deep Neural Networks via Efficient SVD Parameterization",
        2018,
        "arXiv:1803.09327",
    ),
}
