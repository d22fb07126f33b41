"""Saving and loading flows."""

import io
import json
import math
import os
import pickle
import stat
import subprocess
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch

from forge import forge, parts
from unwarp import _files, flows
from unwarp.distributions import Flow, Normal
from unwarp.errors import BundleError
from unwarp.flows import _bundle
from unwarp.transforms import ActNorm, Standardize
from zoo.recipes import known

GOLDEN = Path(__file__).parent / "golden"
SHAPES = [
    {"features": 1},
    {"features": 2, "layers": 1, "hidden": (1,)},
    {"features": 3, "context": 2, "tails": "heavy", "base": "mixture", "components": 3, "marginals": 4},
    {"features": 4, "support": ["real", "positive", ("interval", -1.0, 2.5), "real"], "base": "student"},
    {"features": 100, "layers": 2, "hidden": (8,)},
]


@pytest.fixture
def flow():
    return trained("nsf", features=2, layers=2, hidden=(4,), bins=4)


def trained(name, *, features, **options):
    """A flow away from its start, as after training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = flows.flow(name, features, **known(name, options))
        with torch.no_grad():
            for value in made.parameters():
                value.add_(torch.randn_like(value), alpha=0.1)
    return made


def points(flow, n=16):
    generator = torch.Generator().manual_seed(2)
    dtype = next(flow.parameters()).dtype
    context = None
    if flow.context_shape is not None:
        context = torch.randn(n, *flow.context_shape, generator=generator, dtype=dtype)
    return flow.space.draw(n, generator=generator, dtype=dtype), context


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("name", "shape"),
    [(name, shape) for name in flows.names("tables") for shape in SHAPES]
    + [("sphere", {"features": 3})]
    + [(name, {"features": (1, 4, 4)}) for name in flows.names("images")],
    ids=lambda value: value if isinstance(value, str) else f"{value['features']}",
)
def test_a_loaded_flow_is_the_saved_one(tmp_path, name, shape):
    """In float32; the laws save and load every recipe in float64."""
    saved = trained(name, **shape).eval()
    path = tmp_path / "model.safetensors"
    flows.save(saved, path)
    loaded = flows.load(path)
    assert loaded.spec == saved.spec
    assert not loaded.training
    for (key, value), (other, again) in zip(saved.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert key == other
        assert value.dtype == again.dtype
        assert torch.equal(value, again)
    x, context = points(saved)
    assert torch.equal(loaded.log_prob(x, context), saved.log_prob(x, context))
    assert all(value.requires_grad for value in loaded.parameters())
    (-loaded.log_prob(x, context).mean()).backward()
    assert all(value.grad is not None for value in loaded.parameters())


@pytest.mark.parametrize("name", ["glow", "realnvp_image"])
def test_a_loaded_actnorm_does_not_start_again(tmp_path, name):
    """Neither training mode nor a first batch far from the data sets it anew."""
    saved = trained(name, features=(1, 4, 4))
    flows.save(saved, tmp_path / "model.safetensors")
    loaded = flows.load(tmp_path / "model.safetensors").train()
    assert any(isinstance(part, ActNorm) for part in loaded.modules())
    x, context = points(saved)
    with torch.no_grad():
        loaded.log_prob(torch.zeros_like(x), context)
    for key, value in saved.named_parameters():
        assert torch.equal(loaded.get_parameter(key), value)


def test_configuration_is_kept(tmp_path, flow):
    path = tmp_path / "model.safetensors"
    columns = [{"name": "größe", "kind": "real", "low": None}, {"name": "b\n", "kind": "positive", "low": 0.1}]
    training = {"steps": 10, "curve": [1.5, 1.25], "baselines": {"gaussian": 2.0}}
    flows.save(flow, path, columns=columns, training=training)
    config = flows.read_config(path)
    assert config["columns"] == columns
    assert config["training"] == training
    assert config["spec"] == flow.spec
    assert config["dtype"] == "float32"
    assert config["unwarp"] == 1
    assert config["versions"]["torch"] == version("torch")
    loaded, again = flows.load_with_config(path)
    assert again == config
    assert isinstance(loaded, Flow)


def test_bytes_are_the_file_and_always_the_same(tmp_path, flow):
    path = tmp_path / "model.safetensors"
    flows.save(flow, path, training={"b": 1, "a": 2})
    content = flows.to_bytes(flow, training={"a": 2, "b": 1})
    assert path.read_bytes() == content
    x, _ = points(flow)
    assert torch.equal(flows.from_bytes(content).log_prob(x), flow.log_prob(x))
    assert flows.to_bytes(flows.from_bytes(content), training={"a": 2, "b": 1}) == content


def test_safetensors_reads_the_same_weights(tmp_path, flow):
    path = tmp_path / "model.safetensors"
    flows.save(flow, path)
    weights = safetensors.torch.load_file(path)
    state = flow.state_dict()
    assert weights.keys() == state.keys()
    assert all(torch.equal(weights[name], state[name]) for name in state)
    with safetensors.safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["unwarp.config"])["spec"] == flow.spec


def test_loading_leaves_the_callers_state_alone(tmp_path, flow):
    path = tmp_path / "model.safetensors"
    before = torch.random.get_rng_state()
    flows.save(flow, path)
    try:
        torch.set_default_device("meta")
        loaded = flows.load(path)
    finally:
        torch.set_default_device(None)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert {value.device.type for value in (*loaded.parameters(), *loaded.buffers())} == {"cpu"}


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.safetensors")), ids=lambda path: path.stem)
def test_golden_files_give_the_densities_they_always_gave(path):
    loaded = flows.load(path)
    golden = json.loads(path.with_suffix(".json").read_text())
    dtype = getattr(torch, flows.read_config(path)["dtype"])
    context = None if golden["context"] is None else torch.tensor(golden["context"], dtype=dtype)
    found = loaded.log_prob(torch.tensor(golden["x"], dtype=dtype), context).double()
    expected = torch.tensor(golden["log_prob"], dtype=torch.float64)
    limit = 1e-5 if dtype == torch.float32 else 1e-10
    assert ((found - expected).abs() <= limit * expected.abs().clamp(min=1)).all()


def test_there_is_a_golden_file_for_each_recipe():
    recipes = {flows.read_config(path)["spec"]["recipe"] for path in GOLDEN.glob("*.safetensors")}
    assert recipes == set(flows.names())


@pytest.mark.parametrize("damage", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_not_saved(tmp_path, flow, damage):
    path = tmp_path / "model.safetensors"
    path.write_text("before")
    with torch.no_grad():
        next(flow.parameters()).view(-1)[0] = damage
    with pytest.raises(BundleError, match="expected finite weights"):
        flows.save(flow, path)
    assert path.read_text() == "before"
    assert names(tmp_path) == {path.name}


def test_flows_that_cannot_be_rebuilt_are_not_saved(tmp_path, flow):
    path = tmp_path / "model.safetensors"
    with pytest.raises(BundleError, match=r"made by a recipe; got one put together by hand.*save flow.state_dict\(\)"):
        flows.save(Flow(Standardize(2), Normal(2)), path)
    with pytest.raises(BundleError, match=r"float32 or float64; got torch.float16. Call flow.float\(\)"):
        flows.save(trained("nice", features=2).half(), path)
    flow.extra = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(BundleError, match="expected tensor 'extra' to be absent"):
        flows.save(flow, path)
    del flow.extra
    part = flow.transform.parts[-1]
    part.double()
    with pytest.raises(BundleError, match="all of one dtype"):
        flows.save(flow, path)
    assert not names(tmp_path)


@pytest.mark.parametrize(
    "given",
    [
        {"training": {"x": math.nan}},
        {"training": {"x": np.float32(1)}},
        {"training": {"x": 10**30}},
        {"training": {"x": "x" * 2**23}},
        {"columns": [{"x": {1, 2}}]},
        {"columns": [{"x" * 300: 1}]},
    ],
    ids=lambda given: str(given)[:40],
)
def test_what_is_not_json_is_not_saved(tmp_path, flow, given):
    with pytest.raises(BundleError) as caught:
        flows.save(flow, tmp_path / "model.safetensors", **given)
    assert str(caught.value).isprintable()
    assert not names(tmp_path)


def archive():
    file = io.BytesIO()
    torch.save({"weight": torch.zeros(2)}, file)
    return file.getvalue()


def weights():
    return safetensors.torch.save({"weight": torch.zeros(2)}, {"format": "pt"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"weights": [1.0]}), "got a pickle; unwarp never opens those"),
        (archive(), "got a zip archive (such as a PyTorch checkpoint or .npz); unwarp never opens those"),
        (weights(), "got a safetensors file without unwarp's configuration"),
        (b"", "got an empty file"),
        (b"x,y\n1,2\n", "got a text file"),
        (b"\x1f\x8b\x08\x00", "got a gzip file"),
        (b"\x93NUMPY\x01\x00v\x00", "got a NumPy array"),
    ],
    ids=["pickle", "zip", "weights", "empty", "csv", "gzip", "npy"],
)
def test_other_files_are_named_and_refused(tmp_path, content, message):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    for read in (flows.load, flows.read_config):
        with pytest.raises(BundleError) as caught:
            read(path)
        assert message in str(caught.value)
        assert str(path) in str(caught.value)
        assert str(caught.value).isprintable()


def test_paths_without_a_file_are_refused(tmp_path):
    loop, pipe = tmp_path / "loop", tmp_path / "pipe"
    loop.symlink_to(loop)
    os.mkfifo(pipe)
    for path, message in {
        tmp_path: "got a folder",
        tmp_path / "missing": "No such file",
        tmp_path / "missing" / "model": "No such file",
        loop: "symbolic links",
        pipe: "a device or pipe",
        tmp_path / ("x" * 300): "name too long",
        Path("/dev/zero"): "a device or pipe",
    }.items():
        with pytest.raises(BundleError, match=message):
            flows.load(path)


def test_files_from_the_future_and_large_ones_are_refused(tmp_path, flow):
    path = tmp_path / "model.safetensors"
    flows.save(flow, path)
    size = path.stat().st_size
    assert flows.load(path, max_bytes=size).spec == flow.spec
    with pytest.raises(BundleError, match=f"pass max_bytes={size}"):
        flows.load(path, max_bytes=size - 1)
    state, config, _, _ = parts(path.read_bytes())
    path.write_bytes(forge(state, config | {"unwarp": 2, "news": 1}))
    with pytest.raises(BundleError, match=r"got schema 2\. Update unwarp"):
        flows.load(path)


def test_booleans_of_other_bytes_are_refused():
    with pytest.raises(BundleError, match="expected booleans; got other bytes in 'flag'"):
        _bundle._check_values("load", "flag", torch.tensor([0, 1, 2], dtype=torch.uint8).view(torch.bool), "Ask again.")


def test_permissions_follow_the_umask(tmp_path, flow):
    path = tmp_path / "model.safetensors"
    old = os.umask(0o027)
    try:
        flows.save(flow, path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_symbolic_links_are_followed(tmp_path, flow):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.safetensors"
    link.symlink_to(tmp_path / "real" / "model.safetensors")
    flows.save(flow, link)
    assert link.is_symlink()
    assert flows.load(tmp_path / "real" / "model.safetensors").spec == flow.spec


@pytest.mark.parametrize("name", ["m" * 243 + ".safetensors", "модель ünïcode.safetensors", ".hidden", "a\nb"])
def test_names_of_every_kind(tmp_path, flow, name):
    assert len(name) <= 255
    flows.save(flow, tmp_path / name)
    assert flows.load(tmp_path / name).spec == flow.spec


def test_places_that_cannot_be_written_are_named(tmp_path, flow):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "no" / "model.safetensors", tmp_path / "folder"):
        with pytest.raises(BundleError) as caught:
            flows.save(flow, path)
        assert str(path) in str(caught.value)
    assert names(tmp_path) == {"folder"}


def test_only_temporary_files_of_dead_processes_are_swept(tmp_path, flow):
    dead = subprocess.Popen(["true"])
    dead.wait()
    living = _files._temp_name()
    pid = f"-{os.getpid()}-"
    start = living.split("-")[3]
    gone = living.replace(pid, f"-{dead.pid}-")
    reused = living.replace(f"{pid}{start}", f"{pid}1")  # an earlier process of the same number
    elsewhere = gone.replace(living.split("-")[1], "00000000")  # on another machine, for all that we know
    for name in (living, gone, reused, elsewhere, "model.tmp"):
        (tmp_path / name).touch()
    flows.save(flow, tmp_path / "model.safetensors")
    assert names(tmp_path) == {living, elsewhere, "model.tmp", "model.safetensors"}
