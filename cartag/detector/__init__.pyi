from .fake import FakeDetector as FakeDetector
from .loading import identity as identity, image_spec as image_spec, kind as kind, load as load
from .protocol import Detector as Detector
from .tiling import boxes_in as boxes_in
