"""From a model's files to a working encoder."""

from __future__ import annotations

from pathlib import Path

from cartag.checkpoints import (
    BUNDLED_MODEL,
    FAKE_MODEL,
    GraphError,
    graphs_for,
    takes_graphs,
    vet,
    without_graphs,
)
from cartag.encoder.fake import FakeEncoder
from cartag.encoder.processor import read_image_spec
from cartag.encoder.protocol import Encoder
from cartag.encoder.several import SeveralEncoders
from cartag.values import ImageSpec, ModelFiles


def load(
    files: ModelFiles, *, device: str = "auto", dtype: str = "auto", fit: str = "auto", runtime: str = "auto"
) -> Encoder:
    """Loads an encoder, on every GPU that ``device`` stands for; takes seconds where torch has to be loaded for it and,
    for the large models, gigabytes.

    ``runtime`` says what computes it: ``torch``, ``onnx`` (a CPU, bundled models only), or ``auto``, whichever of the
    two starts sooner and can.

    Raises:
        ModelError: the checkpoint is no dual encoder, is damaged, would load something from elsewhere, or the device
            or the runtime is not there.
    """
    if files.spec.source == FAKE_MODEL:
        return FakeEncoder()
    folder, name = Path(files.folder), identity(files, dtype=dtype, fit=fit)
    vet(folder)
    why: GraphError | None = None
    if takes_graphs(runtime, device, dtype):
        from cartag.encoder.graph import DECIDED_BY, GraphEncoder

        try:
            graphs = graphs_for(folder, BUNDLED_MODEL, DECIDED_BY, runtime)
            if graphs is not None:
                return GraphEncoder(files, graphs, name, fit=fit)
        except GraphError as e:
            why = e
    from cartag.checkpoints import devices_of  # torch's
    from cartag.encoder.dual import DualEncoder

    encoders = [DualEncoder(files, name, device=one, dtype=dtype, fit=fit) for one in devices_of(device)]
    if why is not None:
        without_graphs(runtime, why)
    return SeveralEncoders(encoders) if len(encoders) > 1 else encoders[0]


def identity(files: ModelFiles, *, dtype: str = "auto", fit: str = "auto") -> str:
    """The key of a model's embeddings in the cache, known before anything is loaded.

    A dtype chosen by ``auto`` is left out: embeddings of one model in bfloat16 and float32 have a cosine above 0.999,
    so a gallery tagged on a GPU need not be embedded again on a laptop. A dtype that was asked for is kept apart.

    Raises:
        ModelError: the checkpoint has no processor config.
    """
    if files.spec.source == FAKE_MODEL:
        return FakeEncoder.identity
    spec = read_image_spec(Path(files.folder), fit)
    wanted = "" if dtype == "auto" else f"/{dtype}"
    name = files.spec.name.replace("/", "--")
    return f"{name}@{files.revision}/{spec.fit}{spec.width}x{spec.height}{wanted}"


def image_spec(files: ModelFiles, *, fit: str = "auto") -> ImageSpec:
    """How the model wants its pixels, known before it is loaded, so that decoding can begin at once.

    Raises:
        ModelError: the checkpoint has no processor config.
    """
    return FakeEncoder.image_spec if files.spec.source == FAKE_MODEL else read_image_spec(Path(files.folder), fit)
