"""`cartag tag`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import typer

from cartag.cli import output, stops
from cartag.cli.options import CatalogName, Format, TableFormat
from cartag.cli.output import counted
from cartag.paths import as_typed, printable

UNREADABLE = 3
INTERRUPTED = 130  # as shells report SIGINT
_SHOWN = 8


class Regions(StrEnum):
    """What is looked at in a photo by itself."""

    all = "all"
    main = "main"
    off = "off"


class Runtime(StrEnum):
    """What computes a bundled model."""

    auto = "auto"
    onnx = "onnx"
    torch = "torch"


class Engine(StrEnum):
    """Where photos are looked at."""

    local = "local"
    ray = "ray"


class RawPairs(StrEnum):
    """Which photo a RAW file and the JPEG beside it are."""

    jpeg = "jpeg"
    raw = "raw"
    both = "both"


def command(
    gallery: Annotated[
        str, typer.Argument(metavar="GALLERY", help="The folder of photos; with ray a URI too.", show_default=False)
    ],
    catalog: CatalogName = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|HUB_ID|DIR",
            help="See `cartag models`; also auto:best, auto:fast. [default: auto]",
            show_default=False,
        ),
    ] = None,
    regions: Annotated[
        Regions | None,
        typer.Option(
            help="Look at every car by itself, at the largest, or at the photo. [default: all]", show_default=False
        ),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|HUB_ID|DIR", help="What finds them; see `cartag models`. [default: look]", show_default=False
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE", help="auto, cpu, cuda (all), cuda:N or mps. [default: auto]", show_default=False
        ),
    ] = None,
    index: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|URI",
            help="Where the index lies, if not at GALLERY/cartag.json; with ray a folder or a URI.",
            show_default=False,
        ),
    ] = None,
    runtime: Annotated[
        Runtime | None,
        typer.Option(help="What computes a bundled model. [default: auto, which is onnx on a CPU]", show_default=False),
    ] = None,
    retag: Annotated[bool, typer.Option("--retag", help="Forget what is cached and read every photo again.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 3 if a photo could not be read.")] = False,
    raw_pairs: Annotated[
        RawPairs | None,
        typer.Option(help="Which photo a RAW file and its JPEG are. [default: jpeg]", show_default=False),
    ] = None,
    isolate: Annotated[
        bool,
        typer.Option("--isolate", help="Decode in processes: a photo that crashes one, or hangs, costs itself only."),
    ] = False,
    gone: Annotated[
        bool, typer.Option("--gone", help="All photos are really gone: empty an index that finds none of its own.")
    ] = False,
    engine: Annotated[Engine, typer.Option(help="This machine as it is, or Ray: a cluster, or all that is here.")] = (
        Engine.local
    ),
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="The Ray cluster; 'auto': the one that runs here.", show_default=False),
    ] = None,
    format: Format = TableFormat.table,
) -> None:
    """Tag every photo of a gallery and write its index.

    A second run touches only what changed. Tags that a person gave are never altered, photos are only read.
    """
    import cartag

    progress = output.TerminalProgress()
    try:
        with stops.held_back():
            tag = cartag.tag  # which imports it
        report = tag(
            gallery,
            catalog=catalog,
            model=model,
            regions=regions,
            detector=detector,
            device=device,
            runtime=runtime,
            index=index,
            retag=retag,
            raw_pairs=raw_pairs,
            isolate=isolate or None,
            gone=gone,
            engine=engine,
            address=address,
            progress=progress,
        )
    except (KeyboardInterrupt, RuntimeError) as e:
        if not stops.is_stop(e):
            raise
        progress.finish()
        output.say("cartag: stopped; what was done is kept, run the same command to go on")
        raise typer.Exit(INTERRUPTED) from None
    for folder in report.unreadable_folders:
        output.say(
            f"cartag: {gallery.rstrip('/')}/{folder}: this folder cannot be listed; what is known of its photos stays"
        )
    if report.raw_files:
        output.say(f"cartag: {report.raw_files} RAW file(s) left out; to read them: pip install 'cartag[raw]'")
    if report.raw_pairs:
        output.say(f"cartag: {report.raw_pairs} RAW file(s) are one photo with the JPEG beside them")
    if report.left_out:
        what = f"{sum(report.left_out.values())} folder(s) or file(s) left out that are no photos of yours"
        output.say(f"cartag: {what}: {_counted(report.left_out)} (settings: leave_out)")
    if report.unreadable_kinds:
        what = f"{sum(report.unreadable_kinds.values())} file(s) left out that look like photos and cannot be read"
        output.say(
            f"cartag: {what}: {_counted(report.unreadable_kinds)}; export them as JPEG or TIFF to have them tagged"
        )
    photos = sum(report.outcomes.values())
    if not photos:
        output.say(f"cartag: no photos in {gallery}")
    header = report.index.header
    uri, shards, seconds = (getattr(report, name, None) for name in ("uri", "shards", "seconds"))  # of a cluster's
    where = printable(str(report.index.path) if uri is None else uri)
    more = {} if uri is None else {"engine": "ray", "shards": shards, "seconds": round(seconds or 0, 1)}
    if format is TableFormat.json:
        output.put_json(
            {
                "index": where,
                "model": header.model.name,
                "catalog": header.catalog.name,
                "photos": photos,
                "outcomes": report.outcomes,
                "unchanged": report.unchanged,
                "scored": report.scored,
                "embedded": report.embedded,
                "unreadable": report.unreadable,
                "gone": report.gone,
                "left_out": report.left_out,
                "unreadable_kinds": report.unreadable_kinds,
                **more,
            }
        )
    else:
        done = f"{report.embedded} embedded, {report.scored} from the cache, {report.unchanged} unchanged"
        output.put(f"{counted(photos, 'photo')} with {header.model.name} for {header.catalog.name}: {done}")
        output.put_table(("outcome", "photos"), report.outcomes.items(), right=[1])
        if shards and seconds:
            rate = (report.embedded + report.unreadable) / seconds
            output.put(f"{counted(shards, 'shard')} in {seconds:.1f} s after the start, {rate:.1f} photos/s")
        output.put(f"index: {where}")
    if report.unreadable:
        show = as_typed("show", gallery, index=index if uri is None else where)
        output.say(f"cartag: {report.unreadable} photo(s) could not be read; {show} says why")
    if strict and (report.unreadable or report.unreadable_folders):
        raise typer.Exit(UNREADABLE)


def _counted(found: Mapping[str, int]) -> str:
    """``9 .jxl, 3 .psd``: most first, and of many kinds only the first ones."""
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    more = ["..."] if len(ordered) > _SHOWN else []
    return ", ".join([f"{count} {name}" for name, count in ordered[:_SHOWN]] + more)
