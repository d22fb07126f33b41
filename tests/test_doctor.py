"""The doctor finds what is planted, trusts no row that is wrong, and says it all readably."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import laws
from unwarp import flows
from unwarp._space import Space
from unwarp.distributions import Cell, Distribution, Flow, Mixed, Normal, network_sizes
from unwarp.doctor import FAULTS, Limits, audit, check, limits, speed
from unwarp.doctor._check import _row
from unwarp.doctor._subject import Subject, perturbed, subject_of
from unwarp.errors import ConfigError, ContextError, ShapeError
from unwarp.networks import SubsetMLP
from unwarp.transforms import Compose, Permute, Transform
from unwarp.univariates import Affine

# ---------------------------------------------------------------------------------------- objects with one fault each


class Line(Transform):
    """z = x e^s + t, right in every way; the ones below go wrong in one."""

    def __init__(self, *, context: int = 0, kind: Any = "exact") -> None:
        super().__init__(Space((2,)), context=context, kind=kind)
        self.s, self.t = nn.Parameter(torch.full((2,), 0.3)), nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x * self.s.exp() + self.t, self.s.sum().expand(x.shape[:-1])

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (z - self.t) * (-self.s).exp(), -self.s.sum().expand(z.shape[:-1])


class WrongInverse(Line):
    def inverse(self, z, context=None):
        return (z - self.t) * (-self.s).exp() + 1e-6 * z, super().inverse(z)[1]


class WrongLadj(Line):
    def forward(self, x, context=None):
        return super().forward(x)[0], super().forward(x)[1] + 1e-6

    def inverse(self, z, context=None):
        return super().inverse(z)[0], super().inverse(z)[1] - 1e-6


class LadjOfTheOtherWay(Line):
    def inverse(self, z, context=None):
        return super().inverse(z)[0], -super().inverse(z)[1]


class LooseLadj(Line):
    """Detached from the graph so that only integration can tell that the ladj is off."""

    def forward(self, x, context=None):
        z, ladj = super().forward(x)
        return z, ladj + 1e-3 * x[..., 0].tanh().square()


class SeesOtherRows(Line):
    def forward(self, x, context=None):
        z, ladj = super().forward(x)
        return z + 1e-6 * x.mean() if x.dim() > 1 else z, ladj


class HidesNaN(Line):
    def forward(self, x, context=None):
        return super().forward(x.nan_to_num())


class FlatLadj(Line):
    def forward(self, x, context=None):
        return super().forward(x)[0], self.s.sum()


class DoublesDtype(Line):
    def forward(self, x, context=None):
        z, ladj = super().forward(x)
        return z.double(), ladj


class IgnoresContext(Line):
    def __init__(self) -> None:
        super().__init__(context=2)


class DetachesParameter(Line):
    def forward(self, x, context=None):
        return x * self.s.exp() + self.t.detach(), super().forward(x)[1]


class WrongGradient(Line):
    def forward(self, x, context=None):
        z, ladj = super().forward(x)
        return z, ladj + (x - x.detach()).sum(-1)


class BranchesOnValues(Line):
    def forward(self, x, context=None):
        if float(x.detach().sum()) > 1e9:
            return x, x.new_zeros(x.shape[:-1])
        return super().forward(x)


class ForgetsState(Line):
    def __init__(self, shift: float = 1.0) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, x, context=None):
        z, ladj = super().forward(x)
        return z + self.shift, ladj


class BreaksAtZero(Line):
    def forward(self, x, context=None):
        z, ladj = super().forward(x)
        return z * x / x, ladj


class OverflowsInFloat32(Line):
    def forward(self, x, context=None):
        z, ladj = super().forward(x)
        return z + 0 * x**8, ladj


class ChangesItsInput(Line):
    def forward(self, x, context=None):
        z, ladj = super().forward(x)
        if not x.requires_grad:
            x.mul_(2)
        return z, ladj


class DrawsGlobally(Line):
    def forward(self, x, context=None):
        torch.rand(())
        return super().forward(x)


class TalksTooMuch(Line):
    def extra_repr(self) -> str:
        return "word " * 100


class NotTheIdentity(Line):
    """Starts at s = 0.3."""


PLANTED: dict[str, type[Line]] = {
    "round_trip": WrongInverse,
    "jacobian": WrongLadj,
    "ladj_both_ways": LadjOfTheOtherWay,
    "ladj_by_integration": LooseLadj,
    "any_batch": SeesOtherRows,
    "any_batch, NaN": HidesNaN,
    "any_batch, shape": FlatLadj,
    "dtype_and_device": DoublesDtype,
    "context_counts": IgnoresContext,
    "gradients, parameter": DetachesParameter,
    "gradients": WrongGradient,
    "compiles": BranchesOnValues,
    "vmap_and_jacrev": BranchesOnValues,
    "saved_and_loaded": ForgetsState,
    "finite_everywhere": BreaksAtZero,
    "finite_everywhere, float32": OverflowsInFloat32,
    "nothing_else_touched": ChangesItsInput,
    "nothing_else_touched, random state": DrawsGlobally,
    "short_repr": TalksTooMuch,
    "identity_at_start": NotTheIdentity,
}


def verdict(name: str, subject: Subject) -> str:
    """What one law, by name, says about the subject; an exception is a fail, as in a report."""
    return next(_row(law, subject).verdict for law in laws.laws_of(subject) if law.__name__ == name)


@pytest.mark.parametrize("law", PLANTED)
def test_each_law_finds_its_fault(law: str) -> None:
    made = PLANTED[law]
    obj = made(2.0) if made is ForgetsState else made()
    assert verdict(law.split(",", maxsplit=1)[0], subject_of(obj, fresh=made)) == "fail"


def test_a_sound_map_has_no_fault() -> None:
    report = check(Line(), fresh=Line)
    assert {row.law for row in report.rows if row.verdict == "fail"} == {"identity at start"}


class Heavy(Normal):
    """A normal density with the mass of 1.03."""

    def log_prob(self, x, context=None):
        return super().log_prob(x) + 0.03


class Wide(Normal):
    """Draws from another normal distribution than the density says."""

    def sample(self, shape=(), context=None, *, generator=None):
        return 1.1 * super().sample(shape, context, generator=generator)


class Forgetful(Normal):
    """Returns another density with its draws than log_prob gives them."""

    def sample_and_log_prob(self, shape=(), context=None, *, generator=None):
        x, log_prob = super().sample_and_log_prob(shape, context, generator=generator)
        return x, log_prob + 1e-5


@pytest.mark.parametrize(
    ("obj", "law"),
    [
        (Heavy(1), "mass_is_one"),
        (Heavy(2), "mass_is_one"),
        (Heavy(4), "mass_is_one"),
        (Wide(1), "samples_follow_density"),
        (Wide(2), "samples_follow_density"),
        (Forgetful(2), "sample_and_density_agree"),
    ],
)
def test_laws_of_densities_find_their_faults(obj: Distribution, law: str) -> None:
    assert verdict(law, subject_of(obj)) == "fail"


@pytest.mark.parametrize(("offset", "expected"), [(-0.1, "pass"), (0.1, "fail")])
def test_bounds_lie_below_the_truth(offset: float, expected: str) -> None:
    flow = Flow(Line(kind="bound"), Normal(2))
    subject = subject_of(flow, truth=lambda x: flow.log_prob(x.float()).double() - offset)
    assert verdict("is_a_bound", subject) == expected
    assert verdict("round_trip", subject) == "pass"  # it loses nothing
    assert verdict("mass_is_one", subject) == "skip"


# ------------------------------------------------------------------------------------------------------------- check


def test_report_is_a_table_and_json() -> None:
    report = check(Permute([1, 0]), fresh=lambda: Permute([1, 0]))
    lines = str(report).splitlines()
    assert report.passed
    assert "broken" in lines[0]
    assert len(lines) == len(report.rows) + 3
    assert max(map(len, lines)) <= 120
    content = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert content["passed"]
    assert {row["verdict"] for row in content["laws"]} <= {"pass", "skip"}


def test_check_takes_a_scalar_map_and_a_fitted_estimator() -> None:
    assert check(Affine()).passed

    class Fitted:
        flow_ = flows.nsf(2, layers=1, hidden=(8,))

    assert check(Fitted()).subject == "nsf of 2 features"
    with pytest.raises(ConfigError, match="check: expected a transform"):
        check(3)


def test_check_leaves_the_object_alone() -> None:
    flow = laws.trained("maf").train()
    before = {name: value.clone() for name, value in flow.state_dict().items()}
    check(flow, rows=4)
    assert flow.training
    assert all(p.grad is None and p.dtype == torch.float32 for p in flow.parameters())
    assert all(torch.equal(value, before[name]) for name, value in flow.state_dict().items())


@pytest.mark.parametrize("features", [5, pytest.param(40, marks=pytest.mark.slow)])
def test_check_of_a_larger_trained_flow(features: int) -> None:
    torch.manual_seed(0)
    flow = flows.nsf(features, layers=2, hidden=(32,), tails="heavy")
    flow.adapt(1e3 + 5.0 * torch.randn(500, features))
    report = check(perturbed(flow, scale=0.2))
    assert report.passed, str(report)


# ------------------------------------------------------------------------------------------------------------- audit


def stressed(**options: Any) -> Flow:
    """A trained flow in float32 whose parameters got noise of standard deviation 0.3."""
    torch.manual_seed(0)
    flow = flows.nsf(3, layers=3, hidden=(32,), structure="autoregressive", **options)
    flow.adapt(torch.randn(500, 3), torch.randn(500, 2) if options.get("context") else None)
    return perturbed(flow, scale=0.3)


def far_rows(n: int = 600) -> Tensor:
    """Rows of sizes 1 to 1e6, mixed."""
    generator = torch.Generator().manual_seed(0)
    size = 10.0 ** torch.randint(0, 7, (n, 1), generator=generator)
    return size * torch.randn(n, 3, generator=generator, dtype=torch.float64)


def in_float64(flow: Flow, x: Tensor) -> Tensor:
    with torch.no_grad():
        return copy.deepcopy(flow).double().log_prob(x)


def test_trusted_rows_are_right() -> None:
    flow, x = stressed(), far_rows()
    found = audit(flow, x, recompute="none")
    truth = in_float64(flow, x)
    error = (found.log_prob - truth).abs() / (1 + truth.abs() / 100)
    assert float(error[found.trusted].max()) <= 0.05
    assert 0.5 < float(found.trusted.double().mean()) <= 1
    assert not bool(found.recomputed.any())
    assert bool(found.precision.isnan().all())


def test_untrusted_rows_are_repaired() -> None:
    flow, x = stressed(), far_rows()
    x[7] = torch.tensor([torch.nan, 0.0, 0.0])
    found = audit(flow, x)
    truth = in_float64(flow, x)
    again = found.recomputed
    assert bool(again[7])
    assert found.reason(7) == "not finite"
    assert not bool(found.trusted[7])
    again[7] = False
    assert torch.equal(found.log_prob[again], truth[again])
    assert int(found.trusted.sum()) >= int(audit(flow, x, recompute="none").trusted.sum())


def test_every_row_can_be_recomputed() -> None:
    flow, x = stressed(), torch.randn(50, 3, dtype=torch.float64)
    found = audit(flow, x, recompute="all")
    assert bool(found.recomputed.all())
    assert bool((found.precision < 1e-2).all())
    assert audit(flow.double(), x, recompute="all").precision.isnan().all()  # nothing is left to gain


def test_audit_does_not_depend_on_batches() -> None:
    flow, x = stressed(context=2), far_rows(100)
    context = torch.randn(100, 2)
    whole, parts = (audit(flow, x, context, batch=batch) for batch in (4096, 7))
    assert torch.equal(whole.fault, parts.fault)
    assert torch.allclose(whole.log_prob, parts.log_prob, rtol=1e-4, atol=1e-3)
    assert torch.equal(audit(flow, x, context[0]).log_prob, audit(flow, x, context[:1].expand(100, 2)).log_prob)


def test_a_lossy_inverse_is_noticed() -> None:
    class Coarse(Line):
        def inverse(self, z, context=None):
            return super().inverse(z)[0].round(), super().inverse(z)[1]

    found = audit(Flow(Coarse(), Normal(2)), torch.full((4, 2), 0.4))
    assert not bool(found.trusted.any())
    assert "move" in found.reason(0)
    assert "0 of 4 rows can be trusted" in str(found)


def test_audit_of_no_rows() -> None:
    found = audit(stressed(), torch.zeros(0, 3))
    assert found.log_prob.shape == (0,)
    assert str(found).startswith("0 of 0 rows")


def test_audit_refuses() -> None:
    flow = stressed()
    with pytest.raises(ShapeError):
        audit(flow, torch.zeros(4, 2))
    with pytest.raises(ContextError):
        audit(flow, torch.zeros(4, 3), torch.zeros(4, 2))
    with pytest.raises(ConfigError, match="recompute"):
        audit(flow, torch.zeros(4, 3), recompute="yes")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="exact"):
        audit(Flow(Compose([Line(kind="bound")]), Normal(2)), torch.zeros(4, 2))


def test_faults_have_names() -> None:
    assert FAULTS[0] == ""
    assert len(set(FAULTS)) == len(FAULTS)


# ------------------------------------------------------------------------------------------------- how fast, of what


MACHINE = Limits(gemm=1e11, copy=1e10, exp=1e9, dispatch=1e-6, threads=1)


def test_speed_tells_the_share_of_the_machine() -> None:
    flow = flows.maf(3, hidden=(8,), layers=1)
    before = {name: value.clone() for name, value in flow.state_dict().items()}
    found = speed(flow, batch=16, seconds=0.0, machine=MACHINE)
    assert found.subject == "maf"
    assert found.parameters == sum(p.numel() for p in flow.parameters())
    scored = found.paces[1]
    assert scored.task == "log_prob"
    assert scored.work.flop == 2 * 16 * (3 * 8 + 8 * 6)  # two dense layers, zeros of the mask included
    assert found.share(scored) == pytest.approx(scored.work.flop / scored.seconds / 1e11)
    assert found.paces[0].work.flop > 2 * scored.work.flop
    assert all(torch.equal(value, before[name]) for name, value in flow.state_dict().items())
    facts = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert facts["tasks"]["sample"]["rows_per_second"] == pytest.approx(16 / found.paces[2].seconds)
    assert "of GEMM" in str(found)


def test_speed_takes_contexts_and_whatever_space() -> None:
    found = speed(flows.sphere(3, context=2, layers=1), batch=4, seconds=0.0, machine=MACHINE, name="ball")
    assert found.to_json()["subject"] == "ball"
    with pytest.raises(ConfigError, match="batch"):
        speed(flows.maf(2), batch=0)


def test_limits_are_possible() -> None:
    found = limits(seconds=0.001)
    assert 1e7 < found.gemm < 1e15
    assert 0 < found.dispatch < 1e-2
    assert str(found).endswith("1 thread")


def test_a_table_whose_atoms_lie_beyond_the_rest_keeps_the_laws() -> None:
    cells = [Cell(atoms=(0.0,), support="positive"), Cell(atoms=(0.0, 1.0), rest="none")]
    report = check(Mixed(cells, [SubsetMLP(*network_sizes(cells), hidden=8)]))
    assert report.passed, report
