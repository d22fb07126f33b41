"""The stored rows of ``speed.py`` as tables and as one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import _record

if TYPE_CHECKING:
    from pathlib import Path

MARKS = ("<!-- tables: begin -->", "<!-- tables: end -->")
ONE_PASS = 6.0  # what a sample of autoregressive splines may take, in times its log_prob
TASKS = ("train", "log_prob", "sample", "sample_and_log_prob")
PEERS = ("unwarp fit", "unwarp compiled", "zuko", "nflows", "normflows", "torchflows", "FrEIA", "FlowJAX", "distrax")
COLOURS = ("#8fb8de", "#1f4e8c", "#d95f02", "#7570b3", "#e7298a", "#66a61e", "#a6761d", "#1b9e77", "#666666")

Cells = dict[str, dict[str, Any]]


def page(cells: Cells, *, clock: str) -> str:
    """All tables, in Markdown."""
    found = [cell for cell in cells.values() if "row" in cell]
    found.sort(key=lambda cell: (cell["row"]["threads"], -cell["row"]["batch"], cell["row"]["features"]))
    parts: list[str] = []
    if found:
        parts += [_machine(found), _times(found, clock), _one_pass(found, clock), _sizes(found), _remarks(found)]
    if "starting" in cells:
        parts.append(_starting(cells["starting"]))
    return "\n\n".join(part for part in parts if part)


def _machine(found: list[dict[str, Any]]) -> str:
    first = found[0]["machine"]
    lines = [f"{first['cpu']}, {first['cores']} cores, {first['memory_gib']} GiB, {first['system']}", ""]
    table = []
    for threads in sorted({cell["row"]["threads"] for cell in found}):
        limits = [cell["limits"] for cell in found if cell["row"]["threads"] == threads and cell["limits"]]
        if limits:
            span = {name: (min(one[name] for one in limits), max(one[name] for one in limits)) for name in limits[0]}
            figures = [
                f"{span[name][0] * unit:.3g} to {span[name][1] * unit:.3g}"
                for name, unit in (("gemm", 1e-9), ("copy", 1e-9), ("exp", 1e-9), ("dispatch", 1e6))
            ]
            table.append([str(threads), *figures])
    header = ["threads", "GEMM, GFLOP/s", "copy, GB/s", "exp, billions/s", "smallest operation, us"]
    return "\n".join(lines) + _record.table(table, header)


def _times(found: list[dict[str, Any]], clock: str) -> str:
    """One line a row and task: unwarp's milliseconds, its shares of the machine, and its peers' times in its own.

    Of several threads what counts is wall time.
    """
    lines, usual = [], clock
    present = [name for name in PEERS if any(clock in c["libraries"].get(name, {}).get("train", {}) for c in found)]
    for task in TASKS:
        for cell in found:
            row, ours = cell["row"], cell["libraries"].get("unwarp", {}).get(task, {})
            clock = usual if row["threads"] == 1 else "wall"
            if clock not in ours:
                continue
            times, limits = ours[clock], _limits(found, row["threads"])
            line = [f"{task}: {row['model']}", *(str(row[name]) for name in ("features", "batch", "threads"))]
            line.append(f"{_ms(times['median'])} ({_ms(times['low'])} to {_ms(times['high'])})")
            line.append(f"{ours['flop'] / times['median'] / limits['gemm']:.0%}" if "flop" in ours else "-")
            line.append(f"{_floor(ours, limits) / times['median']:.0%}" if "flop" in ours else "-")
            for name in present:
                ratio = cell["libraries"].get(name, {}).get(task, {}).get(f"{clock}_ratio")
                line.append(f"{ratio['median']:.2f}" if ratio else "-")
            lines.append(line)
    header = [
        "task: model",
        "features",
        "batch",
        "threads",
        "unwarp, ms (quartiles)",
        "of GEMM",
        "of the floor",
        *present,
    ]
    return _record.table(lines, header)


def _limits(found: list[dict[str, Any]], threads: int) -> dict[str, float]:
    """The best that was measured beside any row: the machine can do that."""
    known = [cell["limits"] for cell in found if cell["row"]["threads"] == threads and cell["limits"]]
    return {
        "gemm": max(limits["gemm"] for limits in known),
        "dispatch": min(limits["dispatch"] for limits in known),
    }


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.3g}"


def _floor(task: dict[str, Any], limits: dict[str, float]) -> float:
    """Seconds in which the machine could do the matrix products, and start the operations, of a task."""
    return task["flop"] / limits["gemm"] + task["operations"] * limits["dispatch"]


def _one_pass(found: list[dict[str, Any]], clock: str) -> str:
    """Autoregressive sampling beside one pass of the network, at the size of the bar."""
    for cell in found:
        row, ours = cell["row"], cell["libraries"].get("unwarp", {})
        if (row["model"], row["features"], row["batch"], row["threads"]) == ("nsf autoregressive", 64, 512, 1):
            ratio = ours["sample"][clock]["median"] / ours["log_prob"][clock]["median"]
            verdict = "kept" if ratio <= ONE_PASS else "MISSED"
            return (
                f"Autoregressive nsf of 64 features, batch 512: sample takes {ratio:.1f} times what log_prob does "
                f"(at most {ONE_PASS:g}: {verdict})."
            )
    return ""


def put(text: str, path: Path) -> None:
    """Write the tables between the marks of a page."""
    before, rest = path.read_text().split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    path.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}")


def _sizes(found: list[dict[str, Any]]) -> str:
    """Parameters, and MiB that training takes, of every library."""
    lines = []
    present = [name for name in ("unwarp", *PEERS[1:]) if any("parameters" in _of(c, name) for c in found)]
    for cell in found:
        row, line = cell["row"], []
        for name in present:
            one = _of(cell, name)
            memory = one.get("memory")
            mib = f" ({memory:.0f} MiB)" if isinstance(memory, float) else ""
            line.append(f"{one['parameters']:,}{mib}" if "parameters" in one else "-")
        lines.append([row["model"], *(str(row[name]) for name in ("features", "batch", "threads")), *line])
    text = "Parameters, and in brackets the memory that a training step needs at its height beyond what stays:\n\n"
    return text + _record.table(lines, ["model", "features", "batch", "threads", *present])


def _of(cell: dict[str, Any], name: str) -> dict[str, Any]:
    return cell["libraries"].get(name, {})


def _remarks(found: list[dict[str, Any]]) -> str:
    """What differs, and why cells are empty."""
    said: dict[str, list[str]] = {}
    for cell in found:
        for name, one in cell["libraries"].items():
            model = cell["row"]["model"]
            if one.get("note"):
                said.setdefault(f"{name}: {one['note']}", []).append(model)
            if "empty" in one:
                said.setdefault(f"{name}: {one['empty']}", []).append(model)
            for task in TASKS:
                if "empty" in one.get(task, {}):
                    where = f"{model}, {cell['row']['features']} features"
                    said.setdefault(f"{name}, {task}: {one[task]['empty']}", []).append(where)
    return "\n".join(f"- {text} ({', '.join(dict.fromkeys(models))})" for text, models in sorted(said.items()))


def _starting(cell: dict[str, Any]) -> str:
    lines = []
    for name, figures in cell["starting"].items():
        bar = cell["bars"].get(name)
        quartiles = [
            f"{figures[c]['median']:.2f} ({figures[c]['low']:.2f} to {figures[c]['high']:.2f})" for c in ("cpu", "wall")
        ]
        verdict = "" if bar is None else f"{bar:g}: {'yes' if figures['wall']['median'] <= bar else 'NO'}"
        lines.append([name, *quartiles, verdict])
    return _record.table(lines, ["fresh process", "processor s", "wall s", "within"])


def draw(cells: Cells, path: Path, *, clock: str) -> None:
    """Each peer's time in unwarp's, one panel a task, one line a row, at the largest batch that is stored."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib import ticker

    found = [cell for cell in cells.values() if "row" in cell and cell["row"]["threads"] == 1]
    largest = max(cell["row"]["batch"] for cell in found if cell["row"]["batch"] <= 512)
    found = [cell for cell in found if cell["row"]["batch"] == largest]
    found.sort(key=lambda cell: (cell["row"]["model"], cell["row"]["features"]), reverse=True)
    figure, axes = plt.subplots(1, 3, figsize=(12, 1.5 + 0.42 * len(found)), sharey=True, layout="constrained")
    for ax, task in zip(axes, TASKS[:3], strict=True):
        for name, colour in zip(PEERS, COLOURS, strict=True):
            points = [
                (cell["libraries"][name][task][f"{clock}_ratio"], y)
                for y, cell in enumerate(found)
                if f"{clock}_ratio" in cell["libraries"].get(name, {}).get(task, {})
            ]
            if points:
                xs, ys = [p["median"] for p, _ in points], [y for _, y in points]
                low = [max(0.0, p["median"] - p["low"]) for p, _ in points]
                high = [max(0.0, p["high"] - p["median"]) for p, _ in points]
                ax.errorbar(xs, ys, xerr=[low, high], fmt="o", ms=6, color=colour, label=name, alpha=0.85)
        ax.axvline(1.0, color="black", lw=1)
        ax.set_xscale("log")
        ax.set_title({"train": "training step", "log_prob": "log_prob", "sample": "sample"}[task])
        ax.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 3.0)))
        ax.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        ax.xaxis.set_minor_formatter(ticker.NullFormatter())
        ax.grid(axis="x", which="both", alpha=0.2)
    axes[1].set_xlabel("a peer's time in unwarp's: to the right of 1, unwarp is faster")
    labels = [f"{cell['row']['model']}, {cell['row']['features']}" for cell in found]
    axes[0].set_yticks(range(len(found)), labels)
    handles = {text: mark for ax in axes for mark, text in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles), frameon=False)
    figure.suptitle(f"Batch {largest}, one thread, {'processor' if clock == 'cpu' else 'wall'} time")
    figure.savefig(path, dpi=110)
    plt.close(figure)
