"""Model files: a whole flow in one safetensors file, written atomically and read without trust."""

from __future__ import annotations

import hashlib
import io
import math
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unwarp import _files
from unwarp.distributions import Distribution
from unwarp.errors import BundleError
from unwarp.flows import _config, _header, _json
from unwarp.flows._budget import Budget
from unwarp.flows._header import Header, Kind
from unwarp.flows._recipe import build

__all__ = ["from_bytes", "load", "load_with_config", "read_config", "save", "to_bytes"]

MAX_FILE = 4 * 2**30


def save(
    flow: Distribution,
    path: str | os.PathLike[str],
    *,
    columns: Sequence[Mapping[str, Any]] | None = None,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write `flow` to one `.safetensors` file, which `load` reads back.

    The file holds the weights, the recipe with its options, and a digest of each, but no code. It appears at `path`
    whole or not at all: whatever happens meanwhile, `path` holds the old file or the new one. Use it for every flow
    that a recipe made (`nsf(...)`, `flow("maf", ...)`); of one put together by hand, keep the code and `state_dict()`.

    Args:
        flow: made by a recipe, on any device, in float32 or float64.
        path: where to write; by custom it ends in `.safetensors`.
        columns: what the columns are, as JSON-able data (`data.Schema` makes it).
        training: how it was trained, as JSON-able data (`History.to_json` makes it).

    Raises:
        BundleError: when the flow can't be saved (no recipe, weights that are not finite) or the file can't be written.

    Example:
        >>> import pathlib, tempfile
        >>> flow = nice(2, layers=2, hidden=(8,))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "model.safetensors")
        ...     save(flow, path)
        ...     again = load(path)
        >>> x = torch.tensor([[0.5, -1.0]])
        >>> torch.equal(again.log_prob(x), flow.log_prob(x))
        True
    """
    where = f"save({_shown(path)})"
    head, tensors = _pack(where, flow, columns, training)
    try:
        _files.write_atomically(path, _chunks(head, tensors))
    except OSError as error:
        raise BundleError(
            f"{where}: expected a place to write to; got {error.strerror or error}. Choose a folder that exists, "
            "with space and the right to write."
        ) from error


def to_bytes(
    flow: Distribution,
    *,
    columns: Sequence[Mapping[str, Any]] | None = None,
    training: Mapping[str, Any] | None = None,
) -> bytes:
    """The content of the file that `save` would write, for instance to send it; the same flow gives the same bytes."""
    return b"".join(_chunks(*_pack("to_bytes", flow, columns, training)))


def load(path: str | os.PathLike[str], *, max_bytes: int = MAX_FILE) -> Any:
    """Read a flow that `save` wrote.

    Nothing in the file is ever executed or trusted: sizes are capped, the configuration is held to its bounds, names,
    shapes and dtypes are compared with what the recipe builds before weights are read, and each byte is under a
    digest. (The digests find damage; they are no signature.) The flow is on the CPU, in `eval` mode.

    Args:
        path: a file that `save` or `unwarp fit` wrote.
        max_bytes: refuse larger files.

    Raises:
        BundleError: when the file is missing, no model file, damaged, hostile, or written by a later unwarp.
    """
    return load_with_config(path, max_bytes=max_bytes)[0]


def load_with_config(path: str | os.PathLike[str], *, max_bytes: int = MAX_FILE) -> tuple[Any, dict[str, Any]]:
    """`load` and `read_config` of one and the same file, even while another process replaces it."""
    where = f"load({_shown(path)})"
    try:
        with _open(where, path) as file:
            return _read(where, file, os.fstat(file.fileno()).st_size, max_bytes)
    except OSError as error:
        raise _unreadable(where, error) from error


def from_bytes(content: bytes) -> Any:
    """The flow in `content`, which `to_bytes` made; as careful as `load`."""
    return _read("from_bytes", io.BytesIO(content), len(content), MAX_FILE)[0]


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the model file at `path` says about its model, without reading the weights.

    Returns:
        The schema's version `unwarp`, `spec` (recipe, features, options), `dtype`, `columns`, `training`, `versions`.

    Raises:
        BundleError: as `load`, but the weights' digests are not checked.
    """
    where = f"read_config({_shown(path)})"
    try:
        with _open(where, path) as file:
            header = _read_header(where, file, os.fstat(file.fileno()).st_size, MAX_FILE)
    except OSError as error:
        raise _unreadable(where, error) from error
    return _read_texts(where, header)[0].model_dump()


def _pack(
    where: str, flow: Distribution, columns: Sequence[Mapping[str, Any]] | None, training: Mapping[str, Any] | None
) -> tuple[bytes, list[Tensor]]:
    """The head of the file and the tensors that follow it, in order."""
    if flow.spec is None:
        raise BundleError(
            f"{where}: expected a flow made by a recipe; got one put together by hand, which a file without code can't "
            "hold. Make it with unwarp.flow(name, features, ...), or keep its code and save flow.state_dict() yourself."
        )
    tensors = {name: _plain(where, name, value) for name, value in flow.state_dict().items()}
    dtype = next((value.dtype for value in tensors.values() if value.is_floating_point()), torch.float32)
    if dtype not in (torch.float32, torch.float64):
        raise BundleError(f"{where}: expected weights in float32 or float64; got {dtype}. Call flow.float() first.")
    fields = {
        "unwarp": _config.SCHEMA,
        "spec": flow.spec,
        "dtype": str(dtype).removeprefix("torch."),
        "columns": None if columns is None else [dict(column) for column in columns],
        "training": None if training is None else dict(training),
        "versions": _config.versions(),
    }
    text = _config.dump(where, fields)
    kinds = {name: Kind(value.dtype, tuple(value.shape)) for name, value in tensors.items()}
    _build(where, _config.parse(where, text), kinds, "Save it as the recipe made it, all of one dtype.")
    digests = {"config": _digest(text.encode()), "tensors": {name: _digest_of(name, t) for name, t in tensors.items()}}
    header = Header(text, _json.dumps(digests), kinds)
    head = _header.encode(header)
    size = len(head) + sum(kind.size for kind in kinds.values())
    names = list(_header.parse(where, head, size).tensors)
    return head, [tensors[name] for name in names]


def _plain(where: str, name: str, value: object) -> Tensor:
    if not isinstance(value, Tensor):
        raise BundleError(
            f"{where}: expected tensors only; got {type(value).__name__} {name!r}. Take it out of the flow."
        )
    value = value.detach().to("cpu").contiguous()
    _check_values(where, name, value, "Train it again with a lower learning rate, or from a checkpoint.")
    return value


def _read(where: str, file: io.BufferedIOBase, size: int, max_bytes: int) -> tuple[Any, dict[str, Any]]:
    header = _read_header(where, file, size, max_bytes)
    config, digests = _read_texts(where, header)
    flow = _build(where, config, header.tensors, _AGAIN)
    state: dict[str, Tensor] = {}
    for name, kind in header.tensors.items():
        state[name] = value = torch.empty(kind.shape, dtype=kind.dtype, device="cpu")
        if file.readinto(_bytes(value)) != kind.size or digests[name] != _digest_of(name, value):
            raise BundleError(f"{where}: expected tensor {name!r} as it was saved; got other bytes. {_AGAIN}")
        _check_values(where, name, value, _AGAIN)
    flow.load_state_dict(state, assign=True)
    return flow.eval(), config.model_dump()


def _read_header(where: str, file: io.BufferedIOBase, size: int, max_bytes: int) -> Header:
    if size > max_bytes:
        raise BundleError(
            f"{where}: expected a file of at most {max_bytes} bytes; got {size}. To read it, pass max_bytes={size}."
        )
    start = file.read(64)
    length = _header.header_size(where, start, size)
    file.seek(0)
    return _header.parse(where, file.read(8 + length), size)


def _read_texts(where: str, header: Header) -> tuple[_config.Config, dict[str, str]]:
    """The configuration and the tensors' digests, once the header's own are right."""
    try:
        digests = _json.loads(header.digests)
    except ValueError as error:
        raise BundleError(f"{where}: expected digests in strict JSON; got {error}. {_AGAIN}") from error
    match digests:
        case {"config": str(own), "tensors": dict(each)} if len(digests) == 2 and each.keys() == header.tensors.keys():
            pass
        case _:
            raise BundleError(f"{where}: expected one digest for each tensor; got others. {_AGAIN}")
    if header.digests != _json.dumps(digests) or own != _digest(header.config.encode()):
        raise BundleError(f"{where}: expected configuration and digests as saved; got other texts. {_AGAIN}")
    return _config.parse(where, header.config), each


def _build(where: str, config: _config.Config, kinds: Mapping[str, Kind], advice: str) -> Any:
    """The flow that `config` describes, once its tensors are known to have the names, shapes and dtypes of `kinds`.

    It is built on the CPU, in memory that the file's own size bounds, so that whatever it does not save is there too.
    """
    numbers = sum(math.prod(kind.shape) for kind in kinds.values())
    try:
        with torch.random.fork_rng(devices=[]), torch.device("cpu"), Budget(tensors=len(kinds), numbers=numbers):
            flow = build(config.spec.model_dump()).to(getattr(torch, config.dtype))
    except (ValueError, TypeError, RuntimeError, OverflowError, MemoryError) as error:  # whatever hostile options cause
        raise BundleError(f"{where}: expected options that unwarp can build; got this: {_brief(error)}") from error
    built = {name: Kind(value.dtype, tuple(value.shape)) for name, value in flow.state_dict().items()}
    for name in [*built, *kinds]:
        if kinds.get(name) != built.get(name):
            raise BundleError(
                f"{where}: expected tensor {name[:80]!r} to be {built.get(name, 'absent')} as "
                f"{config.spec.recipe!r} builds it; got {kinds.get(name, 'none')}. {advice}"
            )
    return flow


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:297] + "..."


def _check_values(where: str, name: str, value: Tensor, advice: str) -> None:
    if value.is_floating_point() and not torch.isfinite(value).all():
        raise BundleError(f"{where}: expected finite weights; got NaN or infinity in {name!r}. {advice}")
    if value.dtype == torch.bool and value.view(torch.uint8).gt(1).any():
        raise BundleError(f"{where}: expected booleans; got other bytes in {name!r}. {advice}")


def _chunks(head: bytes, tensors: Sequence[Tensor]) -> Iterator[bytes | memoryview]:
    yield head
    for value in tensors:
        yield _bytes(value)


def _bytes(value: Tensor) -> memoryview:
    """The memory of `value`, not a copy."""
    return value.reshape(-1).view(torch.uint8).numpy().data


def _digest_of(name: str, value: Tensor) -> str:
    kind = Kind(value.dtype, tuple(value.shape))
    return _digest(_json.dumps([name, kind.name, list(kind.shape)]).encode(), _bytes(value))


def _digest(*parts: bytes | memoryview) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _open(where: str, path: str | os.PathLike[str]) -> io.BufferedReader:
    mode = Path(path).stat().st_mode
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a device or pipe"
        raise BundleError(f"{where}: expected a model file; got {what}. Give the path of the .safetensors file.")
    return Path(path).open("rb")


def _unreadable(where: str, error: OSError) -> BundleError:
    return BundleError(f"{where}: expected a model file; got {error.strerror or error}. Check the path.")


def _shown(path: str | os.PathLike[str]) -> str:
    return repr(os.fspath(path))


_AGAIN = "The file was damaged or changed: get it again from its source."
