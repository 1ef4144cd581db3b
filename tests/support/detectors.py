"""Small random-weight detectors of several families, made by `transformers`' own classes and saved as published ones are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import _seeded

ID2LABEL = {0: "person", 1: "bicycle", 2: "car", 3: "bus", 4: "traffic light", 5: "truck"}
SIDE = 64

_RESNET: dict[str, Any] = {
    "embedding_size": 8,
    "hidden_sizes": [8, 8, 16, 16],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
    "out_features": ["stage2", "stage3", "stage4"],
}
_REAL_TIME: dict[str, Any] = {
    "encoder_hidden_dim": 16,
    "encoder_in_channels": [8, 16, 16],
    "encoder_ffn_dim": 16,
    "encoder_attention_heads": 2,
    "d_model": 16,
    "decoder_in_channels": [16, 16, 16],
    "decoder_ffn_dim": 16,
    "decoder_attention_heads": 2,
    "decoder_layers": 2,
    "num_queries": 12,
    "num_denoising": 0,
    "id2label": ID2LABEL,
}
_DETR: dict[str, Any] = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "num_queries": 12,
    "id2label": ID2LABEL,
}


def make_dfine(folder: Path, seed: int = 2) -> Path:
    """D-FINE on an HGNet-V2, photos squashed."""
    from transformers import DFineConfig, DFineForObjectDetection, HGNetV2Config

    backbone = HGNetV2Config(
        stem_channels=[3, 8, 8],
        stage_in_channels=[8, 8, 8, 16],
        stage_mid_channels=[8, 8, 8, 8],
        stage_out_channels=[8, 8, 16, 16],
        stage_num_blocks=[1, 1, 1, 1],
        stage_numb_of_layers=[1, 1, 1, 1],
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 16, 16],
        embedding_size=8,
        out_features=["stage2", "stage3", "stage4"],
    )
    config = DFineConfig(**{**_REAL_TIME, "decoder_n_points": [2, 2, 2]}, backbone_config=backbone)
    return _saved(folder, DFineForObjectDetection(config), seed, _squashing())


def make_rtdetr(folder: Path, seed: int = 2) -> Path:
    """RT-DETR on a ResNet, photos squashed."""
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig

    config = RTDetrConfig(**_REAL_TIME, backbone_config=RTDetrResNetConfig(**_RESNET))
    return _saved(folder, RTDetrForObjectDetection(config), seed, _squashing())


def make_rtdetr_v2(folder: Path, seed: int = 3) -> Path:
    """RT-DETRv2 on a ResNet, photos squashed."""
    from transformers import RTDetrResNetConfig, RTDetrV2Config, RTDetrV2ForObjectDetection

    config = RTDetrV2Config(**_REAL_TIME, backbone_config=RTDetrResNetConfig(**_RESNET))
    return _saved(folder, RTDetrV2ForObjectDetection(config), seed, _squashing())


def make_detr(folder: Path, seed: int = 24) -> Path:
    """DETR on a ResNet of `transformers`; photos keep their shape."""
    from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

    config = DetrConfig(**_DETR, use_timm_backbone=False, backbone=None, backbone_config=ResNetConfig(**_RESNET))
    return _saved(folder, DetrForObjectDetection(config), seed, _shape_keeping())


def make_detr_of_timm(folder: Path, seed: int = 35) -> Path:
    """DETR on a network of timm, named as the published checkpoints name theirs."""
    from transformers import DetrConfig, DetrForObjectDetection

    config = DetrConfig(**_DETR, use_timm_backbone=True, backbone="test_resnet")
    return _saved(folder, DetrForObjectDetection(config), seed, _shape_keeping())


def make_conditional_detr(folder: Path, seed: int = 6) -> Path:
    """Conditional DETR; photos keep their shape."""
    from transformers import ConditionalDetrConfig, ConditionalDetrForObjectDetection, ResNetConfig
    from transformers.models.conditional_detr import ConditionalDetrImageProcessorPil

    config = ConditionalDetrConfig(
        **_DETR, use_timm_backbone=False, backbone=None, backbone_config=ResNetConfig(**_RESNET)
    )
    processor = ConditionalDetrImageProcessorPil(size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE})
    return _saved(folder, ConditionalDetrForObjectDetection(config), seed, processor)


def make_yolos(folder: Path, seed: int = 17) -> Path:
    """YOLOS, a plain transformer; photos keep their shape."""
    from transformers import YolosConfig, YolosForObjectDetection
    from transformers.models.yolos import YolosImageProcessorPil

    config = YolosConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[SIDE, 2 * SIDE],
        patch_size=8,
        num_detection_tokens=12,
        id2label=ID2LABEL,
    )
    processor = YolosImageProcessorPil(
        size={"shortest_edge": SIDE, "longest_edge": 10 * SIDE}
    )  # it rounds to 16 pixels
    return _saved(folder, YolosForObjectDetection(config), seed, processor)


MAKERS: dict[str, Callable[[Path], Path]] = {
    "dfine": make_dfine,
    "rtdetr": make_rtdetr,
    "rtdetr-v2": make_rtdetr_v2,
    "detr": make_detr,
    "detr-of-timm": make_detr_of_timm,
    "conditional-detr": make_conditional_detr,
    "yolos": make_yolos,
}


@pytest.fixture(scope="session", name="detectors")
def made_detectors(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``detectors("dfine")`` is the folder of that checkpoint, made on first use. Not to be written to."""
    root = tmp_path_factory.mktemp("detectors")

    def folder_of(kind: str) -> Path:
        folder = root / kind
        return folder if folder.is_dir() else MAKERS[kind](folder)

    return folder_of


def painted(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A photo (height, width, 3) of soft noise and a few rectangles."""
    rng = np.random.default_rng(seed)
    photo = rng.integers(90, 130, (height, width, 3)).astype(np.uint8)
    for _ in range(5):
        top, left = rng.integers(0, height), rng.integers(0, width)
        photo[top : top + height // 3 + 1, left : left + width // 4 + 1] = rng.integers(0, 256, 3)
    return photo


def _squashing() -> Any:
    from transformers.models.rt_detr import RTDetrImageProcessorPil

    return RTDetrImageProcessorPil(size={"height": SIDE, "width": SIDE})


def _shape_keeping() -> Any:
    from transformers.models.detr import DetrImageProcessorPil

    return DetrImageProcessorPil(size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE})


def _saved(folder: Path, model: Any, seed: int, processor: Any) -> Path:
    """With random weights that say something of every photo, surely enough of some to be kept."""
    _seeded(model, seed).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
