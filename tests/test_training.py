"""Training: what a run promises about its weights, its figures, its randomness and its end."""

import dataclasses
import io
import json
import math
import os
import random
import signal
import threading
import time

import pytest
import torch
from rich.console import Console
from torch import nn

from unwarp.distributions import Distribution, Flow, Normal
from unwarp.errors import ConfigError, DataError, ShapeError
from unwarp.networks import MLP
from unwarp.training import _run as run_module
from unwarp.training import fit, json_lines, likelihood, progress_bar, steps
from unwarp.training._guard import Guard
from unwarp.training._interrupt import HeldBack
from unwarp.training._learner import Learner
from unwarp.training._rows import Rows, batches, encoded, frozen_prefix, split
from unwarp.training._schedule import Schedule
from unwarp.transforms import LU, Compose, Coupling, Permute, Standardize
from unwarp.univariates import Affine


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def bent(rows: int, seed: int = 0) -> torch.Tensor:
    """A banana: x1 = x0^2 + noise, away from the origin and not of unit scale."""
    x = draw(rows, 2, seed=seed)
    return torch.stack([30 * x[:, 0] + 5, 7 * x[:, 0].square() + 0.3 * x[:, 1] - 3], -1)


def small(features: int = 2, context: int = 0, seed: int = 0) -> Flow:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = MLP(features // 2, 2 * (features - features // 2), hidden=(16,), context=context)
        parts = [Standardize(features), Coupling(features, Affine(), net, context=context), LU(features)]
    return Flow(Compose(parts), Normal(features))


def descend(learner, loss, step):
    loss.backward()
    learner.update(loss, 0.01, step)


def weights(flow: nn.Module) -> list[torch.Tensor]:
    return [t.clone() for t in flow.state_dict().values()]


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(s, t) for s, t in zip(weights(a), weights(b), strict=True))


class Noisy(Distribution):
    """A Gaussian that forgets: dropout while training, so that draws matter."""

    def __init__(self) -> None:
        super().__init__(Normal(2).space)
        self.center = nn.Parameter(torch.zeros(2))
        self.dropout = nn.Dropout(0.5)

    def log_prob(self, x, context=None):
        return -0.5 * (x - self.dropout(self.center.expand_as(x))).square().sum(-1) - math.log(2 * math.pi)

    def sample_and_log_prob(self, shape=(), context=None, *, generator=None):
        raise NotImplementedError


class TestFit:
    def test_reaches_the_entropy_of_a_gaussian(self):
        mix = torch.tensor([[2.0, 0.0], [1.5, 0.5]])
        x = draw(4000, 2) @ mix.T * 100 + 1000
        flow = small()
        history = fit(flow, x[:3000], validation=x[3000:], max_steps=600, lr=0.01, seed=0)
        truth = -(1 + math.log(2 * math.pi)) - math.log(1e4)  # |det mix| = 1
        assert history.held_out == pytest.approx(truth, abs=0.06)
        assert history.held_out == pytest.approx(history.baselines["gaussian"], abs=0.02)
        assert history.worth_it is False
        assert "not worth it" in history.summary()

    def test_beats_the_mixture_on_a_fan(self):
        x = draw(2000, 6)
        x[:, 3:] *= x[:, :3].exp()
        history = fit(small(6), x, max_steps=300, lr=0.03, seed=0)
        assert history.worth_it is True
        assert history.margin > 2 * history.margin_error
        assert "gains" in history.summary()
        assert history.rows == 1800
        assert history.held_rows == 200

    def test_figures_are_those_of_the_flow_it_leaves(self):
        x, flow = bent(1000), small()
        history = fit(flow, x[:700], validation=x[700:], max_steps=100, seed=0)
        again = flow.log_prob(x[700:]).double()
        assert history.held_out == pytest.approx(again.mean().item(), abs=1e-4)
        assert history.held_out == pytest.approx(-history.best, abs=1e-4)
        assert history.held_out_error == pytest.approx(again.std().item() / 300**0.5, rel=0.01)
        assert not flow.training

    def test_never_ends_below_its_start(self):
        x, flow = bent(600), small()
        fit(flow, x, max_steps=200, lr=0.01, seed=1)
        before = weights(flow)
        history = fit(flow, x, max_steps=60, lr=30.0, seed=1, start="keep")
        assert history.best_step == 0
        assert all(torch.equal(a, b) for a, b in zip(before, weights(flow), strict=True))

    def test_without_validation_all_rows_train(self):
        flow, x = small(), bent(150)
        history = fit(flow, x, validation=0, max_steps=200, lr=0.01, seed=0)
        assert (history.rows, history.held_rows, history.batch) == (150, 0, 150)
        assert history.held_out is history.worth_it is history.best is None
        assert "No rows were held out" in history.summary()
        assert likelihood(flow, x) < history.training[0][1] - 0.1

    def test_one_row_and_nothing_to_train(self):
        assert fit(small(), bent(1), max_steps=3, seed=0).steps == 3
        one = fit(small(), bent(8), max_steps=3, seed=0)
        assert (one.held_rows, one.held_out_error, one.worth_it) == (1, None, None)
        assert "flow" in one.summary()
        history = fit(Flow(Standardize(2), Normal(2)), bent(100), seed=0)
        assert history.steps == 0
        assert history.held_out == pytest.approx(history.baselines["gaussian"], abs=1.0)

    def test_stops_when_nothing_more_is_gained(self):
        x = draw(60, 2)
        history = fit(small(), x, max_steps=5000, lr=0.05, patience=0.02, seed=0)
        assert history.stopped == "patience"
        assert history.steps < 2500
        assert history.best_step < history.steps

    def test_a_seconds_budget_is_kept(self):
        fit(small(), bent(500), max_steps=1, seed=0)  # what torch imports at the first step
        began = time.perf_counter()
        history = fit(small(), bent(500), max_seconds=1.0, patience=9.0, seed=0, baselines=())
        assert history.steps > 0
        assert 0.8 < time.perf_counter() - began < 15.0  # adapting comes before the first step, and machines are busy
        assert fit(small(), bent(500), max_seconds=60.0, max_steps=7, seed=0).steps == 7

    def test_context_is_learned_and_the_linear_baseline_is_honest(self):
        c = draw(3000, 1, seed=3)
        x = draw(3000, 2, seed=4) * 0.1 + torch.cat([0 * c, -c], 1)
        history = fit(small(context=1), x, context=c, max_steps=400, lr=0.05, seed=0)
        noise = -(1 + math.log(2 * math.pi)) - 2 * math.log(0.1)
        assert history.baselines["linear"] == pytest.approx(noise, abs=0.1)
        assert history.baselines["gaussian"] < noise - 1
        assert history.held_out > history.baselines["gaussian"] + 1
        tail = fit(small(context=1), x, context=c, validation=(x[:200], c[:200]), max_steps=20, seed=0)
        assert (tail.rows, tail.held_rows) == (3000, 200)

    def test_dropout_is_off_where_it_is_judged(self):
        history = fit(Noisy(), draw(400, 2) + 3, max_steps=400, lr=0.05, seed=0, baselines=())
        assert history.held_out == pytest.approx(-(1 + math.log(2 * math.pi)), abs=2.0)
        assert history.held_out > -min(value for _, value in history.training)

    def test_objectives_get_the_flow_and_unit_mean_weights(self):
        seen = []

        def half(flow, x, context, weight):
            seen.append((x.shape[0], float(weight.mean()), flow.training))
            return 0.5 * likelihood(flow, x, context, weight)

        weight = torch.rand(100, generator=torch.Generator().manual_seed(0)) + 0.5
        history = fit(small(), bent(100), half, weight=7 * weight, validation=0, max_steps=3, seed=0)
        assert [(rows, mode) for rows, _, mode in seen] == [(100, True)] * 3
        assert seen[0][1] == pytest.approx(1.0, abs=1e-6)
        assert history.held_out is None


class TestRandomness:
    def test_a_seed_repeats_bit_by_bit_and_the_callers_stream_is_left_alone(self):
        x = bent(700)
        outer = torch.get_rng_state()
        flows = [small() for _ in range(3)]
        first, second, other = (
            fit(f, x, max_steps=45, batch=64, seed=s) for f, s in zip(flows, (5, 5, 6), strict=True)
        )
        assert same(flows[0], flows[1])
        assert not same(flows[0], flows[2])
        assert dataclasses.replace(first, seconds=0.0) == dataclasses.replace(second, seconds=0.0)
        assert torch.equal(outer, torch.get_rng_state())
        assert other.seed == 6

    def test_draws_inside_the_flow_follow_the_seed(self):
        x, flows = draw(300, 2), [Noisy(), Noisy()]
        for flow, noise in zip(flows, (1, 2), strict=True):
            events = steps(flow, x, max_steps=60, seed=3)
            torch.manual_seed(noise)
            for _ in events:
                torch.rand(noise)
        assert same(*flows)

    def test_an_unseeded_run_tells_its_seed(self):
        x, (a, b) = bent(200), (small(), small())
        again = fit(b, x, max_steps=30, seed=fit(a, x, max_steps=30).seed)
        assert same(a, b)
        assert again.steps == 30


class TestWeights:
    def test_a_row_of_no_weight_is_absent(self):
        x = bent(400)
        weight = 0.5 + torch.rand(400, generator=torch.Generator().manual_seed(1))
        weight[::3] = 0
        x[0] = torch.nan
        full, part = small(), small()
        kept = weight > 0
        histories = [
            fit(full, x, weight=weight, max_steps=40, batch=64, seed=0),
            fit(part, x[kept], weight=weight[kept], max_steps=40, batch=64, seed=0),
        ]
        assert same(full, part)
        assert histories[0].held_out == histories[1].held_out
        assert histories[0].baselines == histories[1].baselines

    def test_a_weight_of_two_is_two_rows(self):
        x = bent(40).double()
        weight = torch.tensor([1.0, 2.0] * 20, dtype=torch.float64)
        a, b = small().double(), small().double()
        fit(a, x, weight=weight, validation=0, max_steps=60, lr=0.01, seed=0)
        fit(b, x.repeat_interleave(weight.long(), 0), validation=0, max_steps=60, lr=0.01, seed=0)
        torch.testing.assert_close(a.log_prob(x), b.log_prob(x), rtol=1e-7, atol=1e-9)

    def test_only_ratios_matter(self):
        x, weight = bent(300), torch.rand(300, generator=torch.Generator().manual_seed(2)) + 0.1
        a, b = small(), small()
        fit(a, x, weight=weight, max_steps=30, seed=0)
        fit(b, x, weight=weight * 64, max_steps=30, seed=0)
        assert same(a, b)

    def test_weighted_figures(self):
        x = bent(500)
        weight = torch.where(x[:, 0] > 5, 3.0, 1.0)
        flow = small()
        history = fit(flow, x, validation=(x[:200], None, weight[:200]), weight=weight, max_steps=20, seed=0)
        values = flow.log_prob(x[:200]).double()
        expected = (values * weight[:200]).sum() / weight[:200].sum()
        assert history.held_out == pytest.approx(expected.item(), abs=1e-5)


class TestRecovery:
    @staticmethod
    def failing(at, how):
        """The likelihood, spoilt at the calls in `at` while training."""
        calls = iter(range(10**9))

        def objective(flow, x, context, weight):
            value = likelihood(flow, x, context, weight)
            if flow.training and next(calls) in at:
                return how(flow, value)
            return value

        return objective

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_a_bad_step_changes_nothing_but_the_count(self, bad):
        x, flow = bent(300), small()
        history = fit(flow, x, self.failing({7, 33}, lambda _, v: v * bad), max_steps=60, seed=0)
        assert (history.skipped, history.rollbacks, history.converged) == (2, 0, True)
        assert all(t.isfinite().all() for t in weights(flow))
        assert all(math.isfinite(value) for _, value in history.training)

    def test_weights_gone_bad_are_put_back_at_half_the_rate(self):
        def spoil(flow, value):
            with torch.no_grad():
                next(flow.parameters()).data.fill_(torch.nan)  # unseen by the gradient to come
            return value

        x, flow = bent(300), small()
        events = list(steps(flow, x, self.failing({45}, spoil), max_steps=200, seed=0))
        kinds = [e.event for e in events]
        assert kinds.count("rollback") == 1
        back = kinds.index("rollback")
        plain = Schedule(1e-2, 200)
        assert events[back].lr == pytest.approx(plain.rate(60, 0.0) / 2)
        assert events[-1].event == "done"
        assert events[-1].best < events[0].best
        assert all(t.isfinite().all() for t in weights(flow))

    def test_it_gives_up_with_the_last_good_weights(self):
        x, flow = bent(300), small()
        history = fit(flow, x, self.failing(range(60, 10**6), lambda _, v: v * math.nan), max_steps=2000, seed=0)
        assert (history.stopped, history.converged, history.rollbacks) == ("diverged", False, 6)
        assert history.steps < 250
        assert 0 < history.best_step <= 60
        assert all(t.isfinite().all() for t in weights(flow))
        assert "diverged" in history.summary()

    def test_bad_weights_at_the_start_are_refused(self):
        flow = small()
        with torch.no_grad():
            next(flow.parameters()).fill_(torch.inf)
        with pytest.raises(ConfigError, match="finite weights"):
            fit(flow, bent(50), max_steps=5)

    @pytest.mark.parametrize("where", ["event", "step"])
    def test_an_interrupt_keeps_the_best_so_far(self, where):
        def stop(*_):
            raise KeyboardInterrupt

        flow, x, seen = small(), bent(600), []

        def progress(step):
            seen.append(step)
            if where == "event" and step.step >= 100:
                stop()

        objective = self.failing({107}, stop) if where == "step" else likelihood
        history = fit(flow, x, objective, max_steps=1000, seed=0, progress=progress)
        assert history.interrupted
        assert not history.converged
        assert not flow.training
        assert history.best <= min(s.validation for s in seen if s.validation is not None)
        held = split(flow, x, None, None, 0.1, 0)[1]
        assert likelihood(flow, held.x).item() == pytest.approx(history.best, abs=1e-5)

    def test_ctrl_c_may_come_at_any_moment(self):
        outer, rng, x = torch.get_rng_state(), random.Random(0), bent(600)
        for _ in range(12):
            flow = small()
            press = threading.Timer(0.15 * rng.random(), os.kill, (os.getpid(), signal.SIGINT))

            def begin(event, press=press):
                if event.step == 0:
                    press.start()

            history = fit(flow, x[:500], validation=x[500:], max_steps=10**6, seed=0, progress=begin)
            press.join()
            assert history.interrupted
            assert not flow.training
            assert torch.is_grad_enabled()
            assert all(t.isfinite().all() for t in weights(flow))
            assert likelihood(flow, x[500:]).item() == pytest.approx(history.best, abs=1e-5)
        assert torch.equal(outer, torch.get_rng_state())
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_a_second_ctrl_c_does_not_wait(self):
        reached = []

        def press_twice():
            with HeldBack() as interrupt:
                os.kill(os.getpid(), signal.SIGINT)
                reached.append(interrupt.asked)
                os.kill(os.getpid(), signal.SIGINT)
                reached.append("beyond the second")

        with pytest.raises(KeyboardInterrupt):
            press_twice()
        assert reached == [True]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_leaving_the_generator_keeps_the_best_so_far(self):
        x, flow = bent(600), small()
        events = steps(flow, x[:500], validation=x[500:], max_steps=500, seed=0)
        best = min(e.validation for _, e in zip(range(20), events, strict=False) if e.validation is not None)
        assert flow.training
        events.close()
        assert not flow.training
        assert likelihood(flow, x[500:]).item() <= best + 1e-5


class TestSteps:
    def test_events_tell_the_run(self):
        events = list(steps(small(), bent(400), max_steps=100, batch=64, seed=0))
        assert (events[0].event, events[0].step) == ("validation", 0)
        assert [e.step for e in events if e.event == "train"] == [20, 40, 60, 80, 100]
        assert events[-1] == dataclasses.replace(events[-2], event="done", validation=None, seconds=events[-1].seconds)
        assert events[-1].progress == 1.0
        assert all(e.total == 100 for e in events)
        with pytest.raises(dataclasses.FrozenInstanceError):
            events[0].step = 3

    def test_consumers(self):
        lines = []
        show = json_lines(lines.append)
        with progress_bar() as bar:
            for event in steps(small(), bent(400), max_steps=100, batch=64, seed=0):
                show(event)
                bar(event)
        parsed = [json.loads(line) for line in lines]
        assert [p["event"] for p in parsed].count("train") <= 2
        assert parsed[-1]["event"] == "done"
        assert parsed[0]["loss"] is None  # before the first step

    def test_the_bar_is_drawn_on_a_terminal(self, monkeypatch):
        monkeypatch.setenv("TERM", "xterm")
        drawn = io.StringIO()
        with progress_bar(Console(file=drawn, force_terminal=True, width=100)) as bar:
            for event in steps(small(), bent(400), max_steps=40, seed=0):
                bar(event)
        assert "100%" in drawn.getvalue()
        assert "step 40: loss" in drawn.getvalue()
        quiet = io.StringIO()
        with progress_bar(Console(file=quiet, force_terminal=False)) as bar:
            bar(event)
        assert quiet.getvalue().strip() == ""

    def test_history_is_json(self):
        history = fit(small(), bent(200), max_steps=20, seed=0)
        again = json.loads(json.dumps(history.to_json(), allow_nan=False))
        assert again["held_out"] == history.held_out
        assert again["worth_it"] == history.worth_it

    def test_slow_steps_are_heard_of_between_looks(self, monkeypatch):
        monkeypatch.setattr(run_module, "_BEAT", 0.0)
        events = [e.step for e in steps(small(), bent(100), validation=0, max_steps=5, seed=0) if e.event == "train"]
        assert events == [1, 2, 3, 4, 5]


class TestParts:
    def test_schedule(self):
        plain = Schedule(1.0, 1000)
        rates = [plain.rate(t, 0.0) for t in range(1000)]
        assert rates[0] == pytest.approx(1 / 50, rel=1e-3)
        assert max(rates) > 0.99
        assert rates[-1] < 1e-5
        assert rates[50:] == sorted(rates[50:], reverse=True)
        timed = Schedule(1.0, None, 10.0)
        assert timed.rate(500, 5.0) == pytest.approx(0.5)
        assert timed.rate(3, 0.5) > 0.99  # a slow flow's few steps are not all warm-up
        assert Schedule(1.0, 100, 10.0).progress(20, 5.0) == 0.5
        assert Schedule(1.0, 100, 10.0).progress(90, 5.0) == 0.9
        assert Schedule(1.0, 0).progress(0, 0.0) == 1.0

    def test_guard(self):
        guard = Guard(torch.device("cpu"))
        for step in range(30):
            divisor, skip = guard.judge(torch.tensor(1.0 + step % 3), torch.tensor(5.0), step)
            assert not skip
        assert guard.limits.tolist() == [5.0, 20.0]
        assert guard.judge(torch.tensor(4.0), torch.tensor(5.0), 31)[0] == 1.0
        divisor, skip = guard.judge(torch.tensor(15.0), torch.tensor(5.0), 32)
        assert divisor == pytest.approx(3.0)
        assert not skip
        assert guard.judge(torch.tensor(21.0), torch.tensor(5.0), 33)[1] == 1.0
        for norm, loss in ((math.nan, 5.0), (math.inf, 5.0), (1.0, math.nan), (1.0, math.inf)):
            assert guard.judge(torch.tensor(norm), torch.tensor(loss), 34)[1] == 1.0
        assert guard.read() == (5.0, 32, 4)
        guard.reset()
        assert guard.read()[1:] == (0, 0)

    def test_what_stays_large_is_accepted_in_the_end(self):
        guard = Guard(torch.device("cpu"))
        skips = [
            bool(guard.judge(torch.tensor(1.0 if t < 100 else 100.0), torch.tensor(0.0), t)[1]) for t in range(200)
        ]
        assert skips[100]
        assert not skips[-1]

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_a_rejected_step_leaves_no_trace(self, dtype):
        torch.manual_seed(0)
        module = nn.Linear(3, 2).to(dtype)
        learner = Learner(module, weight_decay=0.1)
        for t in range(12):
            descend(learner, module(torch.ones(4, 3, dtype=dtype)).square().mean(), t)
        before = learner.snapshot()
        descend(learner, module(torch.ones(4, 3, dtype=dtype)).square().mean() * math.nan, 13)
        after = learner.snapshot()
        assert all(torch.equal(before[name], after[name]) for name in before if not name.startswith("guard"))

    def test_without_a_fused_kernel_it_learns_the_same(self, monkeypatch):
        def learn():
            torch.manual_seed(0)
            module = nn.Linear(3, 2)
            learner = Learner(module, weight_decay=0.1)
            for t in range(40):
                loss = (module(torch.ones(4, 3)) - 1).square().mean() * (math.nan if t == 20 else 1 + 4 * (t % 7 == 0))
                descend(learner, loss, t)
            return module

        fused = learn()
        monkeypatch.setattr("unwarp.functional._descent.descent", None)
        monkeypatch.setattr("unwarp.training._learner._FUSED", ())
        for a, b in zip(weights(fused), weights(learn()), strict=True):
            torch.testing.assert_close(a, b)

    def test_only_matrices_decay(self):
        learner = Learner(small(), weight_decay=0.5)
        before = {name: p.detach().clone() for name, p in learner.named.items()}
        for p in learner.named.values():
            p.grad = torch.zeros_like(p)
        learner.update(torch.zeros(()), 0.1, 0)
        for name, p in learner.named.items():
            factor = 1 - 0.1 * 0.5 if name.endswith("weight") and p.dim() > 1 else 1.0
            torch.testing.assert_close(p.detach(), before[name] * factor)

    def test_a_pass_takes_each_row_once_and_goes_on_anywhere(self):
        device = torch.device("cpu")
        stream = batches(10, 3, 0, 1, device)
        first = [next(stream) for _ in range(9)]
        assert len(set(torch.cat(first[:3]).tolist())) == 9
        assert torch.cat(first[:3]).tolist() != torch.cat(first[3:6]).tolist()
        later = batches(10, 3, 5, 1, device)
        assert all(torch.equal(next(later), b) for b in first[5:])
        assert next(batches(3, 3, 0, 1, device)) is None

    def test_the_frozen_beginning_is_applied_once(self, monkeypatch):
        x = bent(300).double()
        flow = small().double()
        flow.transform.adapt(x)
        prefix, rest = frozen_prefix(flow)
        assert [type(p) for p in prefix.parts] == [Standardize]
        assert len(rest.transform.parts) == 2
        rows = encoded(Rows(x), prefix, x.device, torch.float64, context=False)
        torch.testing.assert_close(rest.log_prob(rows.x) + rows.ladj, flow.log_prob(x))
        a, b = small().double(), small().double()
        once = fit(a, x, max_steps=40, seed=0)
        monkeypatch.setattr(run_module, "frozen_prefix", lambda flow: (None, flow))
        each = fit(b, x, max_steps=40, seed=0)
        torch.testing.assert_close(a.log_prob(x), b.log_prob(x), rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(torch.tensor(once.validation), torch.tensor(each.validation), rtol=1e-6, atol=1e-6)

    def test_a_flow_without_parameters_keeps_its_last_part(self):
        prefix, rest = frozen_prefix(Flow(Compose([Permute([1, 0]), Standardize(2)]), Normal(2)))
        assert len(prefix.parts) == len(rest.transform.parts) == 1

    def test_float64_data_far_from_zero_in_a_float32_flow(self):
        x = draw(1000, 2, dtype=torch.float64) + 1e6
        flow = small()
        history = fit(flow, x, max_steps=40, seed=0)
        assert next(flow.parameters()).dtype == torch.float32
        assert history.held_out == pytest.approx(-(1 + math.log(2 * math.pi)), abs=0.25)


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            ({"x": torch.zeros(0, 2)}, DataError, "at least one row"),
            ({"x": torch.zeros(5, 3)}, ShapeError, r"x of shape \(rows, 2\); got \(5, 3\)"),
            ({"x": torch.tensor([[0.0, 1.0], [torch.nan, 2.0]])}, DataError, "1 other, the first in row 1"),
            ({"weight": torch.ones(4)}, ShapeError, "weight with 50 rows"),
            ({"weight": -torch.ones(50)}, DataError, "weights >= 0"),
            ({"weight": torch.zeros(50)}, DataError, "not all 0"),
            ({"context": torch.ones(4, 1)}, ShapeError, "context with 50 rows"),
            ({"validation": 1.0}, ConfigError, "share in"),
            ({"validation": torch.zeros(5, 3)}, ShapeError, "validation of shape"),
            ({"batch": 0}, ConfigError, "batch"),
            ({"lr": 0.0}, ConfigError, "lr"),
            ({"max_steps": -1}, ConfigError, "max_steps"),
            ({"max_seconds": math.nan}, ConfigError, "max_seconds"),
            ({"average": 1.0}, ConfigError, "average"),
            ({"weight_decay": -0.1}, ConfigError, "weight_decay"),
            ({"seed": -3}, ConfigError, "seed"),
            ({"start": True}, ConfigError, '"adapt" or "keep"'),
        ],
    )
    def test_one_line_that_says_what_to_do(self, change, error, words):
        arguments = {"x": bent(50)} | change
        with pytest.raises(error, match=words) as caught:
            steps(small(), **arguments)
        assert "\n" not in str(caught.value)
        assert str(caught.value).endswith(".")


def test_wide_rows_are_adapted_to_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    model = small()
    plain = type(model).adapt
    monkeypatch.setattr(run_module, "_ADAPT", (50, 40))
    monkeypatch.setattr(type(model), "adapt", lambda self, x, *rest: (seen.append(len(x)), plain(self, x, *rest))[0])
    fit(model, torch.randn(100, 2), max_steps=1, seed=0)
    assert seen == [20]
