from .fake import FakeEncoder as FakeEncoder
from .loading import identity as identity, image_spec as image_spec, load as load
from .protocol import Encoder as Encoder
from .reference import OwnProcessor as OwnProcessor, embedded_by_transformers as embedded_by_transformers
