"""From the whole numbers of images to the real line."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from unwarp.flows._recipe import Image
from unwarp.transforms import Dequantize, Elementwise, Inverse, Pixelwise, Transform
from unwarp.univariates import Histogram, Sigmoid

__all__ = ["Equalize", "Values", "logit", "spread"]

Equalize = Literal["histogram", "none"]
Values = Annotated[int, Field(strict=True, ge=2, le=65536)]

_MARGIN = 0.0556  # the logit of 0.05 + 0.9 z, as in RealNVP
_FINEST = 256  # bins of a histogram, at most


def spread(shape: Image, values: int, *, equalize: Equalize, fill: Transform | None = None) -> list[Transform]:
    """Whole numbers spread over their bins, then, where asked, evenly over all values, then their logit.

    Half of an image may be one value, black. Without it a flow has to find a slope of hundreds there.
    """
    bins = min(values, _FINEST)
    dequantize = Dequantize(shape, 0, values - 1, margin=1 / bins if equalize == "histogram" else _MARGIN, fill=fill)
    interval = dequantize.interval
    if equalize == "none":
        return [dequantize, logit(shape, Sigmoid(interval))]
    even = Elementwise(shape[0], Histogram(interval, bins + 2), params="adapted")
    return [dequantize, Pixelwise(even, shape[1], shape[2]), logit(shape, Sigmoid(interval))]


def logit(shape: Image, sigmoid: Sigmoid) -> Transform:
    """The logit of every entry of an image."""
    return Pixelwise(Inverse(Elementwise(shape[0], sigmoid)), shape[1], shape[2])
