"""`cartag review`."""

from __future__ import annotations

import os
import shlex
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from cartag.cli import output
from cartag.cli.options import Gallery, IndexFile

FAILED = 1


def command(
    gallery: Gallery,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep these hand labels (CSV file,label) in step; made if it is not there.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Port on this machine; 0: any that is free.", min=0, max=65535)] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    index: IndexFile = None,
) -> None:
    """Confirm and correct tags on a page in the browser, photo by photo or many at once.

    What you say is kept in the index at once, and no run of `tag` ever changes it. The page is served to this machine
    only. End it with Done on the page, or with Ctrl-C.
    """
    import webbrowser

    import cartag

    def ready(address: str) -> None:
        output.put(address)
        sys.stdout.flush()
        output.say("cartag: open this address in a browser of this machine; Ctrl-C, or Done on the page, ends it")

    def browser(address: str) -> None:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    opens = not no_browser and _has_screen()
    report = cartag.review(
        gallery, labels=labels, port=port, ready=ready, browser=browser if opens else None, index=index
    )
    kept = f"{report.index} and {report.labels}" if report.labels else report.index
    output.say(f"cartag: {report.confirmed} confirmed, {report.corrected} corrected, {report.to_do} to do; in {kept}")
    learns_from = report.labels or report.index
    if (report.confirmed or report.corrected) and isinstance(learns_from, Path):  # not from an index on object storage
        words = ["cartag", "learn", str(gallery), str(learns_from)]
        words += ["--index", str(index)] if index is not None else []
        output.say(f"cartag: to have the next run learn from it: {shlex.join(words)}")
    if report.not_in_labels:
        output.say(
            f"cartag: {report.labels}: cannot be written, and lacks {report.not_in_labels} photo(s); the index has "
            "them: mend that and review again, or learn from the index"
        )
        raise typer.Exit(FAILED)


def _has_screen() -> bool:
    """Elsewhere a browser of the terminal would be opened, in the midst of the messages."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
