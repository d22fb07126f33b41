"""Hostile model files: what a careless or malicious sender may put where a model should be."""

import gzip
import io
import json
import lzma
import pickle
import zipfile
import zlib

import numpy as np
import torch

from forge import canonical, digests, forge, pack, parts

HUGE = (0, -1, 10**9, 2**62, 2**63, 2**64, 1.5, "x", None, [], {}, [10**9], [[1]], True, 1e308, 10**30)


class Canary:
    """Unpickling this writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def lengths(good):
    true = int.from_bytes(good[:8], "little")
    lies = [0, 1, 2, 7, 8, true - 1, true + 1, true - 8, true + 8, len(good), len(good) - 7, len(good) - 8]
    for lie in [*lies, 2**24, 2**24 + 1, 2**31, 2**32, 2**47, 2**48, 2**63, 2**64 - 1]:
        yield f"length {lie}", lie.to_bytes(8, "little") + good[8:]


def truncations(good):
    stop = 8 + int.from_bytes(good[:8], "little")
    for size in (*range(12), 64, stop - 9, stop - 1, stop, stop + 1, len(good) - 1):
        yield f"truncated to {size}", good[:size]


def tails(good):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("data.pkl", b"x")
    for name, tail in {"byte": b"\0", "word": bytes(8), "zip": archive.getvalue(), "itself": good}.items():
        yield f"tail of a {name}", good + tail


def paddings(good):
    _, _, header, data = parts(good)
    text = canonical(header, sort=False).encode()
    pads = {"tab": b"\t" * 8, "line": b"\n" * 8, "spaces": b" " * 8, "many": b" " * (15 * 2**20), "nul": b"\0" * 8}
    for name, pad in pads.items():
        yield f"padding {name}", pack(text + pad, data)
    yield "leading space", pack(b" " + text, data)
    yield "indented", pack(json.dumps(header, indent=1).encode(), data)
    yield "escaped", pack(text.replace(b"dtype", b"\\u0064type"), data)
    yield "sorted", pack(canonical(header).encode(), data)


def texts():
    """Texts that are no JSON, or too much of it."""
    for depth in (33, 1000, 10**5, 10**7):
        yield f"[ x {depth}", b"{" + b"[" * depth
        yield f"[] x {depth}", b'{"a":' + b"[" * depth + b"]" * (depth // 2) + b"}"
        yield f"{{ x {depth}", b'{"a":' * min(depth, 10**6) + b"1"
        yield f"[{{ x {depth}", b'{"a":[' * min(depth, 10**6) + b"]}" * min(depth, 10**6)
    big = 15 * 2**20
    yield "strings", b"{" + b'"",' * (big // 3) + b"}"
    yield "quotes", b"{" + b'"' * big + b"}"
    yield "escapes", b'{"' + b'\\"' * (big // 2) + b'":1}'
    yield "backslashes", b'{"' + b"\\" * big + b'":1}'
    yield "commas", b'{"a":[' + b"1," * (big // 2) + b"1]}"
    yield "pairs", b'{"a":[' + b"[]," * (big // 3) + b"1]}"
    yield "digits", b'{"a":' + b"9" * big + b"}"
    yield "decimals", b'{"a":0.' + b"9" * big + b"}"
    yield "exponent", b'{"a":1e' + b"9" * 1000 + b"}"
    yield "long key", b'{"' + b"k" * big + b'":1}'
    yield "same key", b"{" + b",".join([b'"a":1'] * 10**5) + b"}"
    for text in (
        "{}",
        "{ }",
        "{]",
        '{"a":1,}',
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":-Infinity}',
        '{"a":1e999}',
        "{'a':1}",
    ):
        yield text, text.encode()
    yield "not UTF-8", b'{"\xff":1}'
    yield "UTF-16", '{"a":1}'.encode("utf-16-le")
    yield "surrogate", b'{"\\ud800":1}'
    yield "NUL", b'{"a\0":1}'


def headers(good):
    _, _, header, data = parts(good)
    for name, text in texts():
        yield f"header {name}", pack(text, data)
    text = canonical(header, sort=False).encode()
    first = next(name for name in header if name != "__metadata__")
    entry = canonical(header[first], sort=False).encode()
    yield "tensor twice", pack(text[:-1] + b"," + canonical(first).encode() + b":" + entry + b"}", data)
    yield "metadata twice", pack(text[:-1] + b',"__metadata__":{}}', data)
    yield "dtype twice", pack(text.replace(b'{"dtype":', b'{"dtype":"F64","dtype":', 1), data)
    for count in (20_001, 100_000):
        empty = {f"t{i}": {"dtype": "F64", "shape": [0], "data_offsets": [0, 0]} for i in range(count)}
        yield f"{count} tensors", pack({"__metadata__": header["__metadata__"]} | empty, b"")
    for name, metadata in {
        "none": None,
        "empty": {},
        "list": [],
        "number": {"unwarp.config": 1, "unwarp.digests": 2},
        "nested": {"unwarp.config": {}, "unwarp.digests": {}},
        "config only": {"unwarp.config": header["__metadata__"]["unwarp.config"]},
        "extra": header["__metadata__"] | {"format": "pt"},
    }.items():
        yield f"metadata {name}", pack(header | {"__metadata__": metadata}, data)
    del header["__metadata__"]
    yield "no metadata", pack(header, data)


def entries(good):
    """Lies about one tensor in the header."""
    _, _, header, data = parts(good)
    names = [name for name in header if name != "__metadata__"]
    for name in (names[0], names[len(names) // 2], names[-1]):
        start, stop = header[name]["data_offsets"]
        shape = header[name]["shape"]
        lies = {
            "data_offsets": [
                *([start, stop + 8], [start + 8, stop + 8], [stop, start - 1], [-8, stop], [0, len(data) + 1]),
                *([start, 2**63], [2**63, 2**64], [float(start), stop], [str(start), stop], [start, stop, stop]),
                *([], None, "0,8", [True, stop], [start], {"a": 1}, [start + 1, stop + 1], [10**30, 10**31]),
            ],
            "shape": [
                *([2**63], [2**64], [2**31] * 4, [2**62, 4], [2**32, 2**32, 0], [-1], [-1, -1], [1.0], ["2"]),
                *([[2]], [1] * 9, [1] * 10**4, [True], None, "2", 2, {}, [*shape, 1], [0], [0, 2**63], [10**9]),
            ],
            "dtype": [
                "F16",
                "BF16",
                "U32",
                "U64",
                "F8_E4M3",
                "C64",
                "I16",
                "f64",
                "",
                None,
                1,
                ["F64"],
                "F64 ",
                "F" * 10**6,
            ],
        }
        for field, values in lies.items():
            for value in values:
                lie = header | {name: header[name] | {field: value}}
                yield f"{name} {field} {str(value)[:20]}", pack(lie, data)
        yield f"{name} extra field", pack(header | {name: header[name] | {"pickle": "x"}}, data)
        yield f"{name} no shape", pack(header | {name: {"dtype": "F64", "data_offsets": [0, 0]}}, data)
        yield f"{name} null", pack(header | {name: None}, data)
    other = dict(header)
    other[names[0]], other[names[-1]] = header[names[-1]], header[names[0]]
    yield "two tensors' entries swapped", pack(other, data)


def tensors(good):
    """Right digests over wrong tensors."""
    state, config, _, _ = parts(good)
    for name, value in state.items():
        rest = {other: state[other] for other in state if other != name}
        yield f"{name} missing", forge(rest, config)
        yield f"{name} renamed", forge(rest | {name + "_": value}, config)
        yield f"{name} extra", forge(state | {"extra." + name: value}, config)
        yield f"{name} reshaped", forge(state | {name: value.reshape(1, *value.shape)}, config)
        if value.is_floating_point():
            same = torch.int32 if value.dtype == torch.float32 else torch.int64
            yield f"{name} other dtype", forge(state | {name: value.view(same)}, config)
            wide = torch.float64 if value.dtype == torch.float32 else torch.float32
            yield f"{name} other width", forge(state | {name: value.to(wide)}, config)
            for bad in (torch.nan, torch.inf, -torch.inf):
                broken = value.clone()
                broken.reshape(-1)[-1:] = bad
                if value.numel():
                    yield f"{name} {bad}", forge(state | {name: broken}, config)
        elif value.dtype == torch.bool and value.numel():
            yield (
                f"{name} no boolean",
                forge(state | {name: torch.full(value.shape, 2, dtype=torch.uint8).view(torch.bool)}, config),
            )
    yield "no tensors", forge({}, config)
    yield "20,000 tensors", forge({f"t{i}": torch.empty(0) for i in range(20_000)}, config)
    yield "1 GB claim", forge({"x": torch.empty(0, 2**62)}, config)


def configs(good):
    """Right digests over a wrong configuration."""
    state, config, _, _ = parts(good)
    for field in config:
        yield f"without {field}", forge(state, {key: config[key] for key in config if key != field})
        for value in (3, "x", [3], True, 1e308, [[]], {"a": 3}):
            if not (field in ("training", "columns") and isinstance(value, dict)):
                yield f"{field} = {value}", forge(state, config | {field: value})
    for field in ("extra", "__class__", "__reduce__"):
        yield f"with {field}", forge(state, config | {field: "os.system"})
    for schema in (0, -1, 2, 10**6, 2**62, "1", 1.5, True, None, [1]):
        yield f"schema {schema}", forge(state, config | {"unwarp": schema})
    spec, options = config["spec"], config["spec"]["options"]
    for recipe in (
        "",
        "os.system",
        "__import__",
        "../../etc/passwd",
        "MAF",
        "m" * 65,
        "builtins",
        "nope",
        "maf\n",
        None,
        1,
    ):
        yield f"recipe {recipe!r}", forge(state, config | {"spec": spec | {"recipe": recipe}})
    for features in (0, -1, 10**9, 2**20, 2**63, 1.5, "2", None, [], [0], [2**20] * 4, [1] * 5, True):
        yield f"features {features}", forge(state, config | {"spec": spec | {"features": features}})
    for name in options:
        for value in HUGE:
            fine = (name == "bound" and value in (1.5, True)) or (name == "adjacency" and value in ([], None))
            if value != options[name] and not fine:
                yield f"{name} = {value}", forge(state, config | {"spec": spec | {"options": options | {name: value}}})
    for name in ("eval", "self", "features", "__class__", "a b", "", "device", "recipe"):
        yield f"option {name!r}", forge(state, config | {"spec": spec | {"options": options | {name: 1}}})
    yield "no options", forge(state, config | {"spec": {"recipe": spec["recipe"], "features": 2}})
    text = canonical(config)
    for name, raw in texts():
        if len(raw) <= 2**16 or name in ("strings", "digits"):
            yield f"config {name}", forge(state, raw[: 2**20].decode("utf-8", "replace"))
    yield "config twice a key", forge(state, text[:-1] + ',"unwarp":1}')
    yield "config with a tail", forge(state, text + "x")
    yield "config with a BOM", forge(state, "\ufeff" + text)
    yield "config above 8 MB", forge(state, config | {"training": {"a": "x" * 2**23}})
    yield "config of 1e6 columns", forge(state, config | {"columns": [{}] * 3 * 10**5})
    deep = "[" * 40 + "]" * 40
    yield "config of deep columns", forge(state, text.replace('"columns":null', f'"columns":[{{"a":{deep}}}]'))


def digest_lies(good):
    state, config, _, _ = parts(good)
    text = canonical(config)
    right = digests(state, text)
    first, second = list(state)[:2]
    each = right["tensors"]
    lies = {
        "swapped": right | {"tensors": each | {first: each[second], second: each[first]}},
        "of another config": right | {"config": each[first]},
        "upper case": right | {"config": right["config"].upper()},
        "short": right | {"config": right["config"][:8]},
        "one missing": right | {"tensors": {name: each[name] for name in each if name != first}},
        "one more": right | {"tensors": each | {"more": each[first]}},
        "null": right | {"tensors": each | {first: None}},
        "list": right | {"tensors": list(each.values())},
        "empty": {},
        "extra": right | {"algorithm": "none"},
        "number": 1,
    }
    for name, lie in lies.items():
        yield f"digests {name}", forge(state, text, unwarp_digests=canonical(lie))
    yield "digests with a space", forge(state, text, unwarp_digests=canonical(right) + " ")
    yield "digests indented", forge(state, text, unwarp_digests=json.dumps(right, indent=1))
    for name, raw in {"no JSON": "x", "none": "", "deep": "[" * 10**5, "twice": '{"config":1,"config":1}'}.items():
        yield f"digests {name}", forge(state, text, unwarp_digests=raw)


def foreigners(canary):
    """Files of other formats; reading the pickles among them would write the file `canary`."""
    bomb = Canary(canary)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield f"pickle {protocol}", pickle.dumps(bomb, protocol)
        yield f"pickled list {protocol}", pickle.dumps([1.0, bomb], protocol)
    raw = pickle.dumps(bomb, 4)
    for name, squeeze in {"zlib": zlib.compress, "gzip": gzip.compress, "xz": lzma.compress}.items():
        yield f"joblib {name}", squeeze(raw)
    for legacy in (False, True):
        file = io.BytesIO()
        torch.save({"x": bomb}, file, _use_new_zipfile_serialization=not legacy)
        yield f"torch {'legacy' if legacy else 'zip'}", file.getvalue()
    file = io.BytesIO()
    np.save(file, np.array([bomb], dtype=object), allow_pickle=True)
    yield "npy", file.getvalue()
    file = io.BytesIO()
    np.savez(file, a=np.zeros(3))
    yield "npz", file.getvalue()
    for inner in ("schema.json", "model.safetensors", "archive/data.pkl"):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(inner, raw)
        yield f"zip of {inner}", file.getvalue()
    yield "onnx", b"\x08\x0a\x12\x07pytorch\x1a\x052.13" + bytes(100)
    yield "hdf5", b"\x89HDF\r\n\x1a\n" + bytes(100)
    yield "parquet", b"PAR1" + bytes(100)
    yield "csv", b"cat,column\n1,2\n"
    yield "json", b'{"unwarp": 1}'
    yield "zeros", bytes(1000)
    yield "ones", b"\xff" * 1000
    for offset in (8, 16):
        yield f"pickle behind {offset} bytes", bytes(offset) + raw
    yield "length then pickle", len(raw).to_bytes(8, "little") + raw


def families(good):
    """All but the foreigners: pairs of a name and the bytes of a file."""
    for family in (lengths, truncations, tails, paddings, headers, entries, tensors, configs, digest_lies):
        yield from family(good)
