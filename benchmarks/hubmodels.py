"""What a photo costs with each model of the table, as times of `clip-b32`: `cost` in configs/models.yaml.

The image towers have their published shapes and random weights: for speed the weights do not matter, and nobody needs
the hub. Each runs alone in float32 on one thread, and processor time is counted, so that other work on the machine
says little. The bundled model runs through cartag's own encoder, likewise.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks import measuring
from benchmarks.measuring import Report
from cartag import checkpoints, encoder
from cartag.checkpoints import known_models
from cartag.progress import Silent

_BASE: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
_LARGE: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
}
_SO400M: dict[str, Any] = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
}
# As their published configs have them: family, size and patch of the picture, shape of both towers, words.
SHAPES: dict[str, tuple[str, int, int, dict[str, Any], dict[str, Any], int]] = {
    "clip-b32": (
        "clip",
        224,
        32,
        _BASE,
        {**_BASE, "hidden_size": 512, "intermediate_size": 2048, "num_attention_heads": 8},
        49408,
    ),
    "siglip-b16": ("siglip", 256, 16, _BASE, _BASE, 32000),
    "siglip2-b16": ("siglip", 224, 16, _BASE, _BASE, 256000),
    "clip-l14": ("clip", 224, 14, _LARGE, {**_BASE}, 49408),
    "siglip2-l16": ("siglip", 384, 16, _LARGE, _LARGE, 256000),
    "siglip-so400m": ("siglip", 384, 14, _SO400M, _SO400M, 32000),
}
_REFERENCE = "clip-b32"


def measure(names: Sequence[str], passes: int) -> Report:
    """One model after the other, each in turns with the reference, so that a slow hour is slow for both."""
    columns = ("model", "input", "parameters (M)", "MB in float32", "core-ms a photo", "times clip-b32")
    report = Report("hubmodels", columns)
    reference = tower(_REFERENCE)
    for name in names:
        run = reference if name == _REFERENCE else tower(name)
        ratios, spent = [], []
        run(), reference()  # warms up
        for _ in range(passes):
            own = run()
            spent.append(own)
            ratios.append(own / reference())
        millions = parameters(name) if name in SHAPES else 0
        size = known_models()[name].input_size
        megabytes = millions * 4 if name in SHAPES else known_models()[name].size_mb
        report.add(
            name, size, round(millions), round(megabytes or 0), 1000 * min(spent), sorted(ratios)[len(ratios) // 2]
        )
        del run
        gc.collect()
    return report


def tower(name: str) -> Callable[[], float]:
    """Runs the image tower of a model on one photo; the call returns its seconds of processor time."""
    if name not in SHAPES:
        model = encoder.load(checkpoints.resolve(name, Silent()), device="cpu", dtype="float32")
        spec = model.image_spec
        pixels = [np.zeros((spec.height, spec.width, 3), np.uint8)] * 8
        return lambda: _spent(lambda: model.embed_images(pixels)) / len(pixels)
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModel, SiglipVisionConfig, SiglipVisionModel

    family, size, patch, shape, _, _ = SHAPES[name]
    torch.set_num_threads(1)
    facts = {**shape, "image_size": size, "patch_size": patch}
    vision: Any = (
        CLIPVisionModel(CLIPVisionConfig(**facts))
        if family == "clip"
        else SiglipVisionModel(SiglipVisionConfig(**facts))
    )
    vision.eval()
    many = 8 if shape is _BASE else 1
    batch = torch.zeros(many, 3, size, size)

    def once() -> None:
        with torch.inference_mode():
            vision(pixel_values=batch)

    return lambda: _spent(once) / many


def parameters(name: str) -> float:
    """Millions of parameters of the whole model, both towers: nothing is allocated for them."""
    import torch
    from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

    family, size, patch, shape, text, words = SHAPES[name]
    towers = {
        "vision_config": {**shape, "image_size": size, "patch_size": patch},
        "text_config": {
            **text,
            "vocab_size": words,
            **({"projection_size": shape["hidden_size"]} if family != "clip" else {}),
        },
    }
    with torch.device("meta"):
        model: Any = (
            CLIPModel(CLIPConfig(**towers, projection_dim=512 if shape is _BASE else 768))
            if family == "clip"
            else SiglipModel(SiglipConfig(**towers))
        )
    return float(sum(p.numel() for p in model.parameters()) / 1e6)


def _spent(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = measuring.parser("hubmodels", __doc__ or "")
    parser.add_argument("models", nargs="*", help="names of the table; all of them")
    options = parser.parse_args(arguments)
    names = options.models or ["mini", *SHAPES]
    measuring.publish(measure(names, options.runs or (1 if options.quick else 3)), options)


if __name__ == "__main__":
    main()
