"""Models: the two-method seam to everything that embeds photos and texts, and how a name becomes an encoder.

`resolve` finds a model's files without loading anything heavy; `load` makes an `Encoder` of them. The transformers
encoder (`cartag.encoder.dual`) is the only importer of torch; `FakeEncoder` is shipped for tests, also for yours.
"""

from cartag.encoder.fake import FakeEncoder
from cartag.encoder.loading import identity, image_spec, load
from cartag.encoder.protocol import Encoder
from cartag.encoder.table import known_models, resolve, resolve_auto

__all__ = ["Encoder", "FakeEncoder", "identity", "image_spec", "known_models", "load", "resolve", "resolve_auto"]
