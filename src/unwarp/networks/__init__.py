"""Networks that hand a transform its parameters."""

from unwarp.networks._centered import Centered
from unwarp.networks._conv import ConvNet
from unwarp.networks._convex import ConvexNet
from unwarp.networks._field import VectorField
from unwarp.networks._lipschitz import LipschitzConvNet, LipschitzNet
from unwarp.networks._masked import MaskedMLP
from unwarp.networks._mlp import MLP
from unwarp.networks._potential import PotentialField
from unwarp.networks._subset import SubsetMLP
from unwarp.networks._transformer import CausalTransformer, Transformer

__all__ = [
    "MLP",
    "CausalTransformer",
    "Centered",
    "ConvNet",
    "ConvexNet",
    "LipschitzConvNet",
    "LipschitzNet",
    "MaskedMLP",
    "PotentialField",
    "SubsetMLP",
    "Transformer",
    "VectorField",
]
