"""``unwarp posterior``: draws of a sampler in, the posterior as a flow out, and whether to believe it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer

from unwarp import report as pages
from unwarp._space import POSITIVE, Interval, Support
from unwarp.applications import Draws, Posterior, fit_posterior
from unwarp.cli._fit import progress_of
from unwarp.cli._out import PAGES, TABLES, Failure, check_output, need_matplotlib, say, writing
from unwarp.cli._rows import Json
from unwarp.data import read_table, write_table
from unwarp.errors import ConfigError, DataError, NotConvergedError
from unwarp.flows import names, read_config

_NETCDF = (".nc", ".nc4", ".netcdf", ".cdf", ".h5", ".hdf5")
_OF_SAMPLERS = ("draw", ".draw", "iteration", ".iteration")
_NO_EVIDENCE = "Evidence needs a log density, which draws lack: in Python, fit_posterior(draws, target).log_evidence()."
_Names = list[str] | None


def posterior(
    draws: Annotated[
        Path,
        typer.Argument(help="Draws: NetCDF as ArviZ writes it, or CSV or Parquet with a column for each number."),
    ],
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The posterior to write: NAME.safetensors.", show_default=False),
    ] = None,
    ignore: Annotated[_Names, typer.Option(metavar="NAME", help="Leave a parameter out; may be repeated.")] = None,
    positive: Annotated[_Names, typer.Option(metavar="NAME", help="It is above 0.")] = None,
    bounded: Annotated[_Names, typer.Option(metavar="NAME:LOW:HIGH", help="It lies between two bounds.")] = None,
    flow: Annotated[str, typer.Option(help=f"The recipe: auto, {', '.join(names('tables'))}.")] = "auto",
    seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Train for so long at most.", show_default=False)
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Train for so many steps at most.")] = 3000,
    new: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Also write 4000 draws of the flow: CSV, Parquet or NetCDF.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Makes the run repeatable.")] = 0,
    report: Annotated[
        Path | None, typer.Option(help="Also write a page about it: NAME.html.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Learn a posterior from a sampler's draws, and say whether to believe it.

    It tells whether the chains agree, what the draws are worth, and whether the flow meets them. In CSV and Parquet the
    column `chain` tells chains apart. `Posterior.load` in Python reads what is written.
    """
    if output is not None:
        check_output(output, suffixes=(".safetensors",), inputs=(draws,))
    if new is not None:
        check_output(new, suffixes=(*TABLES, *_NETCDF), inputs=(draws,))
    if report is not None:
        check_output(report, suffixes=PAGES, inputs=(draws,))
        need_matplotlib()
    support = _support(positive or (), bounded or ())
    given = _read(draws, ignore or ())
    with progress_of(as_json=as_json) as progress:
        model = fit_posterior(
            given, support=support, flow=None if flow == "auto" else flow, max_steps=steps, max_seconds=seconds,
            random_state=seed, progress=progress,
        )  # fmt: skip
    if model.history is None or not model.history.converged:
        raise NotConvergedError(
            f"posterior: expected training to settle; got a loss that kept going bad in {draws}. Try --flow maf."
        )
    if output is not None:
        with writing(output):
            model.save(output)
    if new is not None:
        _write_draws(model, new, seed)
    found = pages.examine_posterior(model, source=f"{draws.name}, {len(given.rows):,} draws", seed=seed)
    if report is not None:
        with writing(report):
            pages.write_posterior(found, report, title=draws.name, card=_card(model, output))
    files = {"model": output, "new": new, "report": report}
    written = {name: str(path) for name, path in files.items() if path is not None}
    facts = {"event": "result", **written, **found.to_json(), "evidence": None, "history": model.history.to_json()}
    lines = "\n".join(f"{name}: {path}" for name, path in written.items())
    say(facts, f"{found.summary()}\n{_NO_EVIDENCE}\n{lines}", as_json=as_json)


def _support(positive: Sequence[str], bounded: Sequence[str]) -> dict[str, Support]:
    found: dict[str, Support] = dict.fromkeys(positive, POSITIVE)
    for text in bounded:
        name, *ends = text.rsplit(":", 2)
        try:
            low, high = map(float, ends)
        except ValueError as error:
            raise Failure(
                f"unwarp posterior: expected --bounded NAME:LOW:HIGH; got {text!r}. Give both bounds."
            ) from error
        if name in found:
            raise Failure(f"unwarp posterior: expected one kind for {name!r}; got two. Leave one out.")
        found[name] = Interval(low, high)
    return found


def _read(path: Path, ignore: Sequence[str]) -> Draws:
    """The draws in a file, but for the parameters to leave out."""
    given = _netcdf(path) if path.suffix.lower() in _NETCDF else _table(path)
    own = [str(name) for name in (given.column_names if isinstance(given, pa.Table) else given.data_vars)]
    absent = [name for name in ignore if name not in own]
    if absent:
        raise DataError(f"{path}: expected parameters {', '.join(own)}; got --ignore {absent[0]}. Name one of these.")
    kept = [name for name in own if name not in ignore and name != "chain"]
    try:
        return Draws.of(given, names=kept)
    except DataError as error:
        said = str(error).removeprefix("draws: ").replace("Leave it out", "Leave it out with --ignore")
        raise DataError(f"{path}: {said}") from error


def _table(path: Path) -> pa.Table:
    """Columns of draws; what else samplers write is left out: counters, and names that end in two underscores."""
    try:
        found = read_table(path, kinds="any")
    except DataError as error:
        raise DataError(str(error).replace("a name that ends in ", "a name that ends in .nc (NetCDF), ")) from error
    names = ["chain" if name == ".chain" else name for name in found.column_names]
    kept = [i for i, name in enumerate(names) if name not in _OF_SAMPLERS and not name.endswith("__")]
    return pa.table({names[i]: _plain(found.column(i)) for i in kept})


def _plain(column: pa.ChunkedArray) -> Any:
    """Whole numbers as CSV has them of a real parameter are real; text stays, to be refused by name."""
    return column.cast(pa.float64()) if pa.types.is_integer(column.type) else column


def _netcdf(path: Path) -> Any:
    """The posterior group of a NetCDF file, or the file's only one."""
    if not path.is_file():
        raise DataError(f"{path}: expected a NetCDF file; got none. Check the path.")
    try:
        xarray = import_module("xarray")
        import_module("h5netcdf")
        import_module("h5py")
    except ImportError as error:
        raise ConfigError(
            f'{path}: expected xarray, h5netcdf and h5py to read NetCDF; got none. Run: pip install "unwarp[bayes]"'
        ) from error
    try:
        try:
            return xarray.load_dataset(path, group="posterior", engine="h5netcdf")
        except (OSError, KeyError):
            found = xarray.load_dataset(path, engine="h5netcdf")
    except Exception as error:  # whatever the readers of damaged files raise
        raise DataError(f"{path}: expected a NetCDF file of draws; got this: {error}. Write it anew.") from error
    if not found.data_vars:
        raise DataError(f"{path}: expected a group 'posterior'; got none. Write it with ArviZ's to_netcdf.")
    return found


def _write_draws(model: Posterior, path: Path, seed: int) -> None:
    """Draws of the flow, in the form that the file's name asks for."""
    if path.suffix.lower() in _NETCDF:
        with writing(path):
            model.to_xarray(random_state=seed).to_netcdf(path, group="posterior", engine="h5netcdf")
        return
    made = model.draw(4000, random_state=seed)
    with writing(path):
        write_table(path, pa.table(list(made.rows.T), names=list(made.names)))


def _card(model: Posterior, output: Path | None) -> dict[str, str]:
    history, spec = model.history, model.flow.spec or {}
    card = {
        "Recipe": f"{spec.get('recipe')} of {spec.get('features')} numbers",
        "Parameters": f"{sum(value.numel() for value in model.flow.parameters()):,}",
    }
    if output is not None:
        versions = read_config(output)["versions"]
        card["Versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        card if history is None else card | {"Training": history.summary().splitlines()[0], "Seed": str(history.seed)}
    )
