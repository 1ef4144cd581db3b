from .fake import FakeEncoder as FakeEncoder
from .loading import identity as identity, image_spec as image_spec, load as load
from .protocol import Encoder as Encoder
from .table import (
    fetch_to as fetch_to,
    is_here as is_here,
    known_models as known_models,
    resolve as resolve,
    resolve_auto as resolve_auto,
)
