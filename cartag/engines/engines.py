"""`cartag.tag`: on this machine, or on a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cartag.errors import SettingsError, UsageError
from cartag.progress import Progress
from cartag.settings import Settings
from cartag.tagging import TagReport, tag as tag_here

ENGINES = ("local", "ray")


def tag(
    gallery: Path | str,
    *,
    catalog: str | Path | None = None,
    model: str | None = None,
    regions: str | None = None,
    detector: str | None = None,
    device: str | None = None,
    runtime: str | None = None,
    index: Path | str | None = None,
    retag: bool = False,
    raw_pairs: str | None = None,
    isolate: bool | None = None,
    gone: bool = False,
    engine: str = "local",
    address: str | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> TagReport:
    """Tags every photo of a gallery and writes its index; a second run touches only what changed.

    Args:
        gallery: the folder of photos; with the engine ``ray`` a URI too (``file://``, ``s3://``, ``gs://``).
        index: where the index goes, if not to ``GALLERY/cartag.json``; with ``ray`` a folder or a URI, which holds it
            as shards.
        engine: ``local``, or ``ray``: on a Ray cluster, or on all cores and GPUs of this machine.
        address: of the cluster, ``HOST:PORT`` or ``auto``; None: a Ray of this machine.
        catalog, model, regions, detector, device, runtime, retag, raw_pairs, isolate, gone, settings, progress: see
            `cartag.tagging.tag`.

    Raises:
        EngineError: the cluster cannot be had, or the run on it stood still.
        GalleryError, IndexFileError, CatalogError, ModelError, SettingsError: see `cartag.errors`.
        KeyboardInterrupt: again; what was done so far is kept.
    """
    if engine not in ENGINES:
        raise SettingsError(f"no engine {engine!r}: use {' or '.join(ENGINES)}")
    options: dict[str, Any] = {
        "catalog": catalog,
        "model": model,
        "regions": regions,
        "detector": detector,
        "device": device,
        "runtime": runtime,
    }
    options |= {"raw_pairs": raw_pairs, "isolate": isolate, "index": index}
    if engine == "ray":
        from cartag.engines.running import tag_on_ray  # noqa: PLC0415 - Ray is an extra, and takes a second

        return tag_on_ray(
            gallery, options, address=address, retag=retag, gone=gone, settings=settings, progress=progress
        )
    if address is not None:
        raise UsageError("--address is a cluster's; use it with --engine ray")
    if "://" in str(gallery):
        raise UsageError(f"{gallery}: a URI is tagged with --engine ray; plain 'tag' takes a folder")
    return tag_here(
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
        isolate=isolate,
        gone=gone,
        settings=settings,
        progress=progress,
    )
