"""The container of a model file: the safetensors layout, in one canonical form.

Eight bytes hold the header's length, then comes the header (JSON, padded with spaces to a multiple of eight), then the
tensors' bytes without a gap. We write the header ourselves, for the safetensors library puts metadata in random order.
Since only the canonical header is read, every flipped bit in it is found.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch

from unwarp.errors import BundleError
from unwarp.flows import _json

__all__ = ["MAX_CONFIG", "MAX_HEADER", "MAX_TENSORS", "Header", "Kind", "encode", "header_size", "parse"]

MAX_HEADER = 16 * 2**20
MAX_CONFIG = 2**23  # four columns of 100,000 levels
MAX_TENSORS = 20_000
_DTYPES = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_NAMES = {name: dtype for dtype, name in _DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Kind:
    """A tensor's dtype and shape."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.dtype.itemsize * math.prod(self.shape)

    @property
    def name(self) -> str:
        """Its dtype as safetensors spells it."""
        return _DTYPES[self.dtype]

    def __str__(self) -> str:
        return f"{self.name}{list(self.shape)}"


@dataclass(frozen=True, slots=True)
class Header:
    """All that stands before the data; `tensors` in the order of their bytes."""

    config: str
    digests: str
    tensors: dict[str, Kind]


def encode(header: Header) -> bytes:
    """The first bytes of a file: the header's length, the header and its padding."""
    fields: dict[str, object] = {"__metadata__": {"unwarp.config": header.config, "unwarp.digests": header.digests}}
    stop = 0
    for name, kind in sorted(header.tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        start, stop = stop, stop + kind.size
        fields[name] = {"dtype": kind.name, "shape": list(kind.shape), "data_offsets": [start, stop]}
    text = _json.dumps(fields, sort=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def header_size(where: str, start: bytes, size: int) -> int:
    """The header's length, from the first 64 bytes of a file of `size` bytes."""
    length = int.from_bytes(start[:8], "little")
    if start[8:9] != b"{" or length >= 2**48:
        raise BundleError(f"{where}: expected a model file (.safetensors); got {_sniff(start)}")
    if length > MAX_HEADER:
        raise BundleError(f"{where}: expected a header of at most {MAX_HEADER} bytes; got one of {length}. {_AGAIN}")
    if length > size - 8:
        raise BundleError(f"{where}: expected a header of {length} bytes; got a file of {size}. {_AGAIN}")
    return length


def parse(where: str, raw: bytes, size: int) -> Header:
    """Read the header `raw` (with its length) of a file of `size` bytes.

    Raises:
        BundleError: unless `raw` is, byte for byte, what `encode` writes and the file ends with its last tensor.
    """
    try:
        header = _header(_json.loads(raw[8:]))
        canonical = encode(header)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where}: expected the header of a model file; got {error}. {_AGAIN}") from error
    total = len(canonical) + sum(kind.size for kind in header.tensors.values())
    if canonical != raw:
        raise BundleError(f"{where}: expected a header as unwarp writes it; got one that was changed. {_AGAIN}")
    if total != size:
        raise BundleError(f"{where}: expected {total} bytes; got {size}. {_AGAIN}")
    return header


def _header(fields: object) -> Header:
    match fields:
        case {"__metadata__": {"unwarp.config": str(config), "unwarp.digests": str(digests)}, **rest}:
            pass
        case _:
            raise ValueError("a safetensors file without unwarp's configuration, so only weights of some other model")
    if len(rest) > MAX_TENSORS:
        raise ValueError(f"{len(rest)} tensors, above the limit of {MAX_TENSORS}")
    if len(config.encode()) > MAX_CONFIG:
        raise ValueError(f"a configuration above the limit of {MAX_CONFIG} bytes")
    return Header(config, digests, {name: _kind(name, entry) for name, entry in rest.items()})


def _kind(name: str, entry: object) -> Kind:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape)} if dtype in _NAMES and len(shape) <= 8:
            pass
        case _:
            raise ValueError(f"no dtype and shape of tensor {name[:80]!r} that unwarp knows")
    if not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"a shape of tensor {name[:80]!r} with sizes that are not whole numbers")
    return Kind(_NAMES[dtype], tuple(shape))


_AGAIN = "It was damaged or made by something else: get the file again from its source."
_SAVED = "Give a file that save(flow, path) or `unwarp fit` wrote."
_NEVER = (
    "unwarp never opens those, for reading one can run code hidden in it. "
    "Load it in a sandbox with what wrote it, and save the flow with unwarp's save(flow, path)."
)
_PICKLE = re.compile(rb"[](}]q\x00|\x80[\x00-\x05]|\(?[ldt]p?\d+\n|\(?[ic][\w.]+\n[\w.]+\n|[SVIFL][^\n]*\n\.")
_MAGIC = {
    b"PK\x03\x04": f"a zip archive (such as a PyTorch checkpoint or .npz); {_NEVER}",
    b"PK\x05\x06": f"an empty zip archive. {_SAVED}",
    b"\x93NUMPY": f"a NumPy array (.npy); {_NEVER}",
    b"\x78\x01": f"a zlib stream (such as a compressed joblib file); {_NEVER}",
    b"\x78\x5e": f"a zlib stream (such as a compressed joblib file); {_NEVER}",
    b"\x78\x9c": f"a zlib stream (such as a compressed joblib file); {_NEVER}",
    b"\x78\xda": f"a zlib stream (such as a compressed joblib file); {_NEVER}",
    b"\x1f\x8b": f"a gzip file. {_SAVED}",
    b"BZh": f"a bzip2 file. {_SAVED}",
    b"\xfd7zXZ": f"an xz file. {_SAVED}",
    b"\x28\xb5\x2f\xfd": f"a zstd file. {_SAVED}",
    b"\x04\x22\x4d\x18": f"an lz4 file. {_SAVED}",
    b"\x89HDF": f"an HDF5 file. {_SAVED}",
    b"GGUF": f"a GGUF file. {_SAVED}",
    b"PAR1": f"a Parquet file. {_SAVED}",
    b"ARROW1": f"an Arrow file. {_SAVED}",
}


def _sniff(start: bytes) -> str:
    """What a file that begins with `start` is, and what to do about it."""
    if not start:
        return "an empty file. Save the model again, or get the file again from its source."
    if _PICKLE.match(start):
        return f"a pickle; {_NEVER}"
    for magic, what in _MAGIC.items():
        if start.startswith(magic):
            return what
    if start[:1] == b"\x08" and start[2:3] in (b"\x12", b"\x1a", b"\x22", b"\x3a"):
        return f"what looks like an ONNX model. {_SAVED}"
    if all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in start):
        return f"a text file. {_SAVED}"
    return f"bytes that are no safetensors header. {_SAVED}"
