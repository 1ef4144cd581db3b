"""What a gallery is scored by: its catalog, the text side in the model's own space, and the model's numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from msgspec import UNSET

from cartag.catalogs import prompt_classes
from cartag.encoder import Encoder
from cartag.errors import CatalogError
from cartag.resources import shipped_catalogs
from cartag.scoring import scoring
from cartag.scoring.scoring import ClassSet
from cartag.settings import DEFAULT_CATALOG
from cartag.state import Index, SharedTexts, Store
from cartag.values import Catalog


def default_catalog(old: Index | None) -> str:
    """The catalog of the last run, so that a plain `tag` goes on with what the gallery was tagged for.

    Raises:
        CatalogError: its file is no longer there.
    """
    if old is None:
        return DEFAULT_CATALOG
    indexed = old.header.catalog
    if indexed.source is UNSET or indexed.source in shipped_catalogs():
        return indexed.name if indexed.source is UNSET else indexed.source
    if not Path(indexed.source).is_file():
        raise CatalogError(
            f"{old.path}: was made with the catalog {indexed.source}, which is no longer there; name one with --catalog"
        )
    return indexed.source


def class_set_of(catalog: Catalog, store: Store, shared: SharedTexts, encoder: Callable[[], Encoder]) -> ClassSet:
    """The text side: every text is computed once per model, whatever catalogs it stands in.

    ``encoder`` is called only where neither the gallery's cache nor the one of all galleries has a text.
    """
    classes = prompt_classes(catalog)
    texts = [text for c in classes for text in c.texts]
    embeddings = store.texts(texts)
    if missing := [text for text in dict.fromkeys(texts) if text not in embeddings]:
        known = shared.get(missing)
        if new := [text for text in missing if text not in known]:
            fresh = dict(zip(new, encoder().embed_texts(new), strict=True))
            shared.put(fresh)
            known |= fresh
        store.put_texts(known)
        embeddings |= known
    return scoring.class_set(classes, np.stack([embeddings[text] for text in texts]))


def model_facts(store: Store, encoder: Callable[[], Encoder]) -> dict[str, float | None]:
    """``logit_scale`` and ``logit_bias`` of the model."""
    facts = store.facts()
    if not {"logit_scale", "logit_bias"} <= set(facts):
        loaded = encoder()
        facts = {"logit_scale": loaded.logit_scale, "logit_bias": loaded.logit_bias}
        store.put_facts(facts)
    return facts
