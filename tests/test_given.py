"""Maps that the user gives: the blackboard's examples, and what can't be a map."""

from __future__ import annotations

import math

import pytest
import torch

from unwarp import POSITIVE, Flow, Space, doctor
from unwarp.distributions import Normal
from unwarp.errors import ConfigError
from unwarp.transforms import Function, Inverse, Linear


def test_the_map_of_area_six() -> None:
    layer = Linear([[3.0, 1.0], [0.0, 2.0]])
    corners, ladj = layer(torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    (a, b, c, d), after = corners, corners.roll(-1, 0)
    area = 0.5 * float((corners[:, 0] * after[:, 1] - after[:, 0] * corners[:, 1]).sum())
    assert math.isclose(area, 6, rel_tol=1e-6)
    assert torch.allclose(ladj.exp(), torch.tensor(6.0))
    assert torch.allclose(a + c, b + d)


def test_two_z_plus_three() -> None:
    flow = Flow(Inverse(Linear([[2.0]], [3.0])), Normal(1))  # x = 2 z + 3
    x = torch.linspace(-5, 11, 50).unsqueeze(-1)
    assert torch.allclose(flow.log_prob(x), torch.distributions.Normal(3.0, 2.0).log_prob(x[:, 0]), atol=1e-5)


def test_exp_z_is_log_normal() -> None:
    log = Function(torch.log, torch.exp, Space((1,), POSITIVE), Space((1,)))
    x = torch.linspace(0.1, 9, 50).unsqueeze(-1)
    expected = torch.distributions.LogNormal(0.0, 1.0).log_prob(x[:, 0])
    assert torch.allclose(Flow(log, Normal(1)).log_prob(x), expected, atol=1e-5)
    assert Flow(log, Normal(1)).log_prob(torch.tensor([-1.0])) == -torch.inf


def test_the_doctor_finds_a_wrong_inverse() -> None:
    wrong = Function(lambda x: x + 0.1 * x.sin(), lambda z: z, Space((2,)))
    report = doctor.check(wrong)
    assert not report.passed
    assert "round trip" in [row.law for row in report.rows if row.figure.verdict == "fail"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Linear([[1.0, 2.0], [2.0, 4.0]]), "flattens the direction"),
        (lambda: Linear([[0.0]]), "flattens the direction [1.0]"),
        (lambda: Linear([[1.0, 2.0, 3.0]]), "square matrix"),
        (lambda: Linear([[math.nan]]), "finite"),
        (lambda: Linear([[1.0]], [1.0, 2.0]), "a shift of 1"),
        (lambda: Function(torch.sin, torch.asin, Space((2,)), Space((3,))), "keeps the dimension"),
    ],
)
def test_errors(make: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("[", r"\[").replace("]", r"\]")):
        make()  # type: ignore[operator]
