"""A second, independent writer of model files, with which the tests forge hostile ones."""

import hashlib
import json

import torch

SPELLING = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.bool: "BOOL",
    torch.uint8: "U8",
}


def canonical(value, *, sort=True):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort)


def digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def content(tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def digests(tensors, config: str) -> dict:
    each = {
        name: digest(canonical([name, SPELLING[t.dtype], list(t.shape)]).encode() + content(t))
        for name, t in tensors.items()
    }
    return {"config": digest(config.encode("utf-8", "surrogatepass")), "tensors": each}


def fields(tensors, metadata) -> tuple[dict, bytes]:
    """The header's fields and the data behind them."""
    header, data = {"__metadata__": metadata}, b""
    for name in sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name)):
        start, data = len(data), data + content(tensors[name])
        tensor = tensors[name]
        header[name] = {
            "dtype": SPELLING[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, len(data)],
        }
    return header, data


def pack(header, data: bytes, *, length=None) -> bytes:
    """A file of this header (fields or raw text) and data, with the right length or a lie."""
    raw = header if isinstance(header, bytes) else canonical(header, sort=False).encode("utf-8", "surrogatepass")
    raw += b" " * (-len(raw) % 8)
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def forge(tensors, config, **metadata) -> bytes:
    """A file whose every digest is right, whatever `config` (fields or raw text) and `tensors` say."""
    text = config if isinstance(config, str) else canonical(config)
    metadata = {
        "unwarp.config": text,
        "unwarp.digests": canonical(digests(tensors, text)),
        **{key.replace("_", "."): value for key, value in metadata.items()},
    }
    return pack(*fields(tensors, metadata))


def parts(blob: bytes):
    """The tensors, the configuration and the header's fields of a good file."""
    stop = 8 + int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8:stop])
    config = json.loads(header["__metadata__"]["unwarp.config"])
    dtypes = {spelling: dtype for dtype, spelling in SPELLING.items()}
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = (stop + offset for offset in entry["data_offsets"])
            dtype, raw = dtypes[entry["dtype"]], bytearray(blob[start:end])
            flat = torch.frombuffer(raw, dtype=dtype) if raw else torch.empty(0, dtype=dtype)
            tensors[name] = flat.reshape(entry["shape"])
    return tensors, config, header, blob[stop:]
