"""What a model file holds of a `FlowOutlier` besides its density."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from unwarp.estimators._views import NAMES

Measure = Literal["combined", "log_prob", "typicality", "latent", "near", "broad", "columns", "background"]

MEASURES: tuple[str, ...] = get_args(Measure)
SEEN = ("combined", "background", *NAMES)  # measures that look at known rows too


class SavedViews(BaseModel):
    """`Views.to_json`, checked."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    center: Annotated[list[float], Field(min_length=1, max_length=100_000)]
    scale: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1, max_length=100_000)]
    rows: Annotated[str, Field(min_length=1, max_length=10**6)]


class Saved(BaseModel):
    """Measure, level and calibration scores; views and their reference where the measure needs them."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    measure: Measure
    level: Annotated[float, Field(gt=0, lt=1)]
    center: float
    impossible: Annotated[int, Field(ge=0, le=100_000)]
    calibration: Annotated[list[float], Field(max_length=100_000)]
    views: SavedViews | None = None
    reference: Annotated[list[list[float]], Field(max_length=1 + len(NAMES))] = []

    @model_validator(mode="after")
    def _agree(self) -> Saved:
        sizes = {len(column) for column in self.reference}
        if self.measure in SEEN and self.views is None:
            raise ValueError("expected views for this measure")
        if self.measure == "combined" and (len(self.reference) != 1 + len(NAMES) or len(sizes) != 1 or 0 in sizes):
            raise ValueError("expected a reference for each view")
        return self
