"""Runs on disk: one safetensors file that holds all a killed run needs to go on as if it had not been killed."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from unwarp._files import write_atomically
from unwarp.errors import BundleError

__all__ = ["read_checkpoint", "write_checkpoint"]

_FORMAT = "unwarp training run 1"


def write_checkpoint(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write named tensors and JSON-able facts; `path` holds the old checkpoint or the new one at every moment.

    Raises:
        OSError: when the folder or the file cannot be written.
    """
    flat = {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    text = json.dumps(facts, allow_nan=False, sort_keys=True)
    metadata = {"format": _FORMAT, "facts": text, "digest": _digest(flat, text)}
    write_atomically(path, [safetensors.torch.save(flat, metadata)])


def read_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The tensors and facts of a checkpoint; None when there is no file.

    Raises:
        BundleError: when the file is not a whole checkpoint.
    """
    if not Path(path).exists():
        return None
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise _refused(path, f"a file that does not read ({error})") from error
    if metadata.get("format") != _FORMAT:
        raise _refused(path, "another kind of file")
    text = metadata.get("facts", "")
    if metadata.get("digest") != _digest(tensors, text):
        raise _refused(path, "a damaged one")
    return tensors, json.loads(text)


def _refused(path: str | os.PathLike[str], what: str) -> BundleError:
    return BundleError(f"{os.fspath(path)}: expected a training checkpoint; got {what}. Remove it or name another.")


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    total = hashlib.blake2b(text.encode(), digest_size=32)
    for name in sorted(tensors):
        total.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        total.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
