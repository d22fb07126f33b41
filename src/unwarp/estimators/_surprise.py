"""How surprising each cell of a row is given the row's other cells."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from unwarp.data import Codes, Schema
from unwarp.distributions import Law, Mixed

__all__ = ["surprises"]

_CHUNK = 256  # rows judged at once
_POINTS = 129  # of the smooth part
_REACH = 16.0  # how far into its tails, on a logistic scale
_USUAL = 0.9  # share of the mass that is usual
_LINE = pa.schema(
    {
        "row": pa.int64(),
        "column": pa.string(),
        "value": pa.string(),
        "surprise": pa.float64(),
        "usual_low": pa.string(),
        "usual_high": pa.string(),
        "likely": pa.string(),
    }
)


def surprises(model: Mixed, schema: Schema, x: Tensor, why: int | None) -> pa.Table:
    """A line a row and known cell, the most surprising cell of a row first; see `FlowTable.explain`."""
    found = {name: np.zeros(tuple(x.shape)) for name in ("surprise", "low", "high", "likely")}
    usual = np.full(tuple(x.shape), None, dtype=object)
    with torch.no_grad():
        for start in range(0, len(x), _CHUNK):
            rows = slice(start, start + _CHUNK)
            encoded, extra = model.encode(x[rows])
            for c in range(x.shape[1]):
                known = encoded.clone()
                known[:, c, 0] = -1.0
                masses = [_Masses(model.law(c, known, m), encoded[:, c], extra[:, c]) for m in range(model.members)]
                rarer = torch.stack([mass.rarer for mass in masses]).mean(0)
                found["surprise"][rows, c] = -rarer.clamp(min=1e-300).log().numpy()
                values, share, density = (torch.cat(part, -1) for part in zip(*[m.parts for m in masses], strict=True))
                if schema.modelled[c].leveled:
                    usual[rows, c] = _levels(schema, c, values.numpy(), share.numpy() / len(masses))
                for name, value in zip(("low", "high", "likely"), _range(values, share, density), strict=True):
                    found[name][rows, c] = value
    return _lines(schema, x.numpy(), found, usual, why)


class _Masses:
    """A cell's law as values with masses, and how rare each row's own value is."""

    def __init__(self, law: Law, encoded: Tensor, extra: Tensor) -> None:
        cell, column = law.column.cell, law.column
        share, rows = law.log_class.exp(), len(encoded)
        own = law.log_prob(encoded) + extra
        points, values = share[:, : len(cell.atoms)], column.atoms
        if cell.rest == "tail":
            points = torch.cat([points, share[:, -1:] * column.share.exp()], -1)
            values = torch.cat([values, len(cell.atoms) + torch.arange(cell.tail).to(values)])
        self.rarer = torch.where(points.log() <= own.unsqueeze(-1) + 1e-9, points, 0.0).sum(-1)
        self.parts = values.expand(rows, -1), points, torch.full_like(points, torch.inf)
        if not cell.smooth:
            return
        score = torch.linspace(-_REACH, _REACH, _POINTS, dtype=encoded.dtype)
        inner = 0.5 * (score[1:] + score[:-1])
        mass = torch.cat([inner.new_tensor([-torch.inf]), inner, inner.new_tensor([torch.inf])]).sigmoid().diff()
        many = law.repeated(_POINTS)
        at = many.at(score.sigmoid().repeat(rows))
        there, more = column.encode(at)
        density = (many.log_prob(there) + more).reshape(rows, _POINTS)
        rest = share[:, -1] * ((density <= own.unsqueeze(-1) + 1e-9) * mass).sum(-1)
        atom = (encoded[:, 0] >= 0) & (encoded[:, 0] < len(cell.atoms))
        whole = torch.where(atom, share[:, -1], rest) if cell.width is None else rest  # atoms are denser than densities
        self.rarer = torch.where(atom | (cell.width is not None), self.rarer, 0.0) + whole
        smooth = at.reshape(rows, _POINTS), share[:, -1:] * mass, density
        self.parts = tuple(torch.cat([a, b], -1) for a, b in zip(self.parts, smooth, strict=True))


def _range(values: Tensor, share: Tensor, density: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Between which codes the usual mass lies, and which code is the most likely, by row."""
    order = values.argsort(-1)
    upto = share.gather(-1, order).cumsum(-1)
    upto, ranked = upto / upto[:, -1:], values.gather(-1, order)
    ends = []
    for level in ((1 - _USUAL) / 2, (1 + _USUAL) / 2):
        place = (upto < level).sum(-1, keepdim=True).clamp(max=values.shape[-1] - 1)
        ends.append(ranked.gather(-1, place).squeeze(-1).numpy())
    point = torch.where(density == torch.inf, share, 0.0)
    best = point.argmax(-1, keepdim=True)
    smooth = torch.where(density == torch.inf, -torch.inf, density).argmax(-1, keepdim=True)
    heavy = point.gather(-1, best) >= 0.5 * (share.sum(-1, keepdim=True) - point.sum(-1, keepdim=True))
    likely = torch.where(heavy, values.gather(-1, best), values.gather(-1, smooth)).squeeze(-1)
    return ends[0], ends[1], likely.numpy()


def _levels(schema: Schema, c: int, codes: np.ndarray, share: np.ndarray) -> list[str]:
    """The usual levels of each row, joined, the most likely first."""
    known = np.unique(codes)
    names = dict(zip(known.tolist(), map(_text, _cells(schema, c, known).to_pylist()), strict=True))
    made = []
    for row, chance in zip(codes, share, strict=True):
        total = {code: float(chance[row == code].sum()) for code in known.tolist()}
        ranked, upto, kept = sorted(total, key=lambda code: -total[code]), 0.0, []
        for code in ranked:
            kept.append(names[code])
            upto += total[code]
            if upto >= _USUAL:
                break
        made.append(", ".join(kept))
    return made


def _lines(schema: Schema, x: np.ndarray, found: dict[str, np.ndarray], usual: np.ndarray, why: int | None) -> pa.Table:
    ranked = np.where(np.isnan(x), -np.inf, found["surprise"]).argsort(axis=1, kind="stable")[:, ::-1]
    columns = {
        name: [_cells(schema, c, codes[:, c]).to_pylist() for c in range(x.shape[1])]
        for name, codes in (("value", x), ("low", found["low"]), ("high", found["high"]), ("likely", found["likely"]))
    }
    lines = []
    for row, order in enumerate(ranked):
        cells = [int(c) for c in order if not np.isnan(x[row, c])]
        for c in cells[: len(cells) if why is None else why]:
            leveled = schema.modelled[c].leveled
            low, high = columns["low"][c][row], columns["high"][c][row]
            lines.append(
                {
                    "row": row,
                    "column": schema.modelled[c].name,
                    "value": _text(columns["value"][c][row]),
                    "surprise": float(found["surprise"][row, c]),
                    "usual_low": usual[row, c] if leveled else _text(low),
                    "usual_high": None if leveled else _text(high),
                    "likely": _text(columns["likely"][c][row]),
                }
            )
    return pa.Table.from_pylist(lines, schema=_LINE)


def _cells(schema: Schema, c: int, codes: np.ndarray) -> pa.ChunkedArray:
    """Codes of one column in the user's own terms."""
    rows = np.full((len(codes), len(schema.modelled)), np.nan)
    rows[:, c] = codes
    return Codes(schema).table(rows)[schema.modelled[c].name]


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
