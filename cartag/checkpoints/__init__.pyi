from .carrying import fetch_to as fetch_to
from .choosing import front as front, is_auto as is_auto, resolve_auto as resolve_auto
from .device import (
    DTYPES as DTYPES,
    Passes as Passes,
    alone_at_loading as alone_at_loading,
    choose_device as choose_device,
    choose_dtype as choose_dtype,
    devices_of as devices_of,
    one_thread as one_thread,
    room_for_a_model as room_for_a_model,
    without_tf32 as without_tf32,
)
from .folding import folded as folded, has_batch_norms as has_batch_norms
from .graphs import Graph as Graph, GraphError as GraphError, read_weights as read_weights
from .passes import CorePasses as CorePasses
from .processor import image_config as image_config, reducing_gap as reducing_gap, triple as triple
from .replicas import Replicas as Replicas
from .runtime import graphs_for as graphs_for, takes_graphs as takes_graphs, without_graphs as without_graphs
from .table import (
    BUNDLED_DETECTOR as BUNDLED_DETECTOR,
    BUNDLED_MODEL as BUNDLED_MODEL,
    FAKE_MODEL as FAKE_MODEL,
    is_here as is_here,
    known_detectors as known_detectors,
    known_models as known_models,
    resolve as resolve,
    resolve_detector as resolve_detector,
    resolve_either as resolve_either,
    revision_at as revision_at,
)
from .vetting import vet as vet
