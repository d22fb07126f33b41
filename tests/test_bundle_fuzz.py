"""Model files from hostile or broken sources: refused by BundleError, at once, in little memory."""

import random
import time
from pathlib import Path

import pytest
import torch

import hostile
from forge import canonical, forge, pack, parts
from unwarp import flows
from unwarp.errors import BundleError
from unwarp.flows._budget import Budget

SECOND = 1.0
MEMORY = 64 * 2**20
RESET, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
LARGE = (
    {"layers": 256, "hidden": [16_384] * 16},
    {"layers": 256, "hidden": [1] * 16},
    {"hidden": [16_384, 16_384]},
    {"features": 100_000, "layers": 256, "hidden": [1]},
    {"features": 100_000, "layers": 256, "hidden": [1], "structure": "coupling"},
    {"features": 1_000, "layers": 256, "hidden": [16_384] * 16, "structure": "coupling"},
    {"features": 20_000, "layers": 1, "hidden": [1], "components": 1024},
    {"context": 100_000, "hidden": [16_384]},
    {"marginals": 256, "bins": 256, "features": 10_000},
    {"features": 20_000, "support": [["interval", 0, i + 1] for i in range(20_000)]},
)


@pytest.fixture(scope="module")
def good():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return flows.to_bytes(flows.flow("maf", 2, layers=2, hidden=(4,)))


def refusal(blob):
    """The message with which `blob` is refused, after checks of its form, of the time and of the memory it took."""
    start, held = time.process_time(), memory()
    with pytest.raises(BundleError) as caught:
        flows.from_bytes(blob)
    assert time.process_time() - start < SECOND
    assert memory() - held <= 2 * len(blob) + MEMORY
    message = str(caught.value)
    assert message.isprintable(), message
    assert 20 < len(message) < 600
    return message


def memory():
    """The most memory that this process held since the last call; zero where the system does not tell."""
    if not RESET.exists():
        return 0
    most = next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    RESET.write_text("5")
    return most * 1024


def test_forged_file_of_the_same_content_is_the_saved_file(good):
    state, config, _, _ = parts(good)
    assert forge(state, config) == good


def test_hostile_files(good):
    count = 0
    for name, blob in hostile.families(good):
        assert blob != good, name
        count += 1
        try:
            refusal(blob)
        except (Exception, pytest.fail.Exception) as error:
            raise AssertionError(f"hostile file {name!r}: {error!r}") from error
    assert count >= 300


def test_hostile_sizes_of_splines():
    flow = flows.flow("nsf", 3, layers=2, bins=4, hidden=(4,), structure="autoregressive", base="mixture", components=2)
    good = flows.to_bytes(flow)
    state, config, _, _ = parts(good)
    for name, blob in hostile.configs(good):
        assert refusal(blob), name
    for lie in LARGE:  # each within a recipe's bounds, together far beyond the file
        spec = config["spec"] | {"features": lie.pop("features", 3)}
        spec["options"] = spec["options"] | lie
        assert "larger than its file" in refusal(forge(state, config | {"spec": spec})), lie


def test_foreign_files(tmp_path):
    canary, path = tmp_path / "canary", tmp_path / "model.safetensors"
    for name, blob in hostile.foreigners(canary):
        path.write_bytes(blob)
        with pytest.raises(BundleError) as caught:
            flows.load(path)
        message = str(caught.value)
        assert repr(str(path)) in message
        assert message.isprintable()
        assert not canary.exists(), name
        if name.startswith(("pickle ", "pickled", "torch", "np", "zip", "joblib zlib")) and "behind" not in name:
            assert "unwarp never opens those" in message, name


def mutate(rng, good):
    """One of six kinds of damage to the bytes `good`."""
    stop = 8 + int.from_bytes(good[:8], "little")
    match rng.randrange(6):
        case 0:  # bytes of the header
            blob = bytearray(good)
            for _ in range(rng.randint(1, 4)):
                blob[rng.randrange(8, stop)] = rng.randrange(256)
            return bytes(blob)
        case 1:  # truncation
            return good[: rng.randrange(len(good))]
        case 2:  # the length
            lie = rng.choice([rng.randrange(2 * len(good)), rng.randrange(2**64), stop - 8 + rng.randint(-16, 16)])
            return lie.to_bytes(8, "little") + good[8:]
        case 3:  # a field's value
            return field_changed(rng, good)
        case 4:  # bytes after the end, or in the data
            if rng.random() < 0.5:
                return good + rng.randbytes(rng.randint(1, 64))
            blob = bytearray(good)
            blob[rng.randrange(stop, len(good))] ^= 1 << rng.randrange(8)
            return bytes(blob)
        case _:  # deep JSON
            at, depth = rng.randrange(8, stop), rng.choice([10, 40, 1000, 30_000])
            text = good[8:at] + rng.choice([b"[", b'{"a":', b'[{"a":']) * depth + good[at:stop]
            return pack(text, good[stop:])


def field_changed(rng, good):
    _, _, header, data = parts(good)
    entry = header[rng.choice(list(header))]
    key = rng.choice(list(entry))
    value = entry[key]
    junk = [0, -1, 2**63, 1.5, None, True, "", "x", [], {}, [0, 8], "F32", "I64", str(value)[:-1], str(value) + " "]
    entry[key] = rng.choice(junk)
    if rng.random() < 0.3:
        entry[key + rng.choice("_ x\0")] = entry.pop(key)
    return pack(canonical(header, sort=False).encode(), data)


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_files(good, count):
    rng = random.Random(count)
    tried = 0
    while tried < count:
        blob = mutate(rng, good)
        if blob != good:
            refusal(blob)
            tried += 1


def flipped(good, bit):
    blob = bytearray(good)
    blob[bit // 8] ^= 1 << bit % 8
    return bytes(blob)


def test_flipped_bits_are_found(good):
    bits = {*range(64), *random.Random(0).sample(range(8 * len(good)), 1500)}
    for bit in bits:
        refusal(flipped(good, bit))


@pytest.mark.slow
def test_every_flipped_bit_is_found(good):
    for bit in range(8 * len(good)):
        refusal(flipped(good, bit))


def test_a_refusal_within_a_block_without_gradients_ends_the_block():
    def fill() -> None:
        with torch.no_grad():
            for _ in range(10**6):
                torch.zeros(1)

    with Budget(tensors=1, numbers=10), pytest.raises(OverflowError):
        fill()
    assert torch.is_grad_enabled()
