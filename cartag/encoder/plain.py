"""The image towers of CLIP and SigLIP in torch alone.

`transformers` has them too, but imports torch's compiler and half of scipy with them, which takes longer than a photo.
Where the texts of a gallery are cached, its next photos need the image tower and nothing else; texts, and checkpoints
that are not built exactly as these, go through `transformers`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional


class _Vision(msgspec.Struct, frozen=True):
    """`vision_config`, with what `transformers` takes where a config leaves something out: CLIP's."""

    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    num_channels: int = 3
    image_size: int = 224
    patch_size: int = 32
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5


class _SiglipVision(_Vision, frozen=True):
    patch_size: int = 16
    hidden_act: str = "gelu_pytorch_tanh"
    layer_norm_eps: float = 1e-6
    vision_use_head: bool = True


class _Text(msgspec.Struct, frozen=True):
    num_hidden_layers: int = 12


class _Clip(msgspec.Struct, frozen=True, tag_field="model_type", tag="clip"):
    vision_config: _Vision
    text_config: _Text
    projection_dim: int = 512
    quantization_config: None = None
    vision_config_dict: None = None
    """What the first configs had; some held something else than `vision_config`."""


class _Siglip(msgspec.Struct, frozen=True, tag_field="model_type", tag="siglip"):
    vision_config: _SiglipVision
    text_config: _Text
    quantization_config: None = None


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "gelu": functional.gelu,
    "gelu_pytorch_tanh": lambda x: functional.gelu(x, approximate="tanh"),
}
_DOES_NOT_FIT = (
    *(OSError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError),
    *(SafetensorError, msgspec.MsgspecError),
)
_TEXT_LAYER = tuple(
    f"{part}.{kind}"
    for part in (
        *("layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2"),
        *("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"),
    )
    for kind in ("weight", "bias")
)


def image_tower(folder: Path, size: tuple[int, int], dtype: torch.dtype) -> ImageTower | None:
    """The image tower of a checkpoint in ``folder`` for photos of ``size`` (height, width), with its weights as
    ``dtype``; None where the checkpoint is not built as these are, or is not whole: `transformers` knows more of them,
    and says what is wrong."""
    try:
        config = msgspec.json.decode((folder / "config.json").read_bytes(), type=_Clip | _Siglip)
        vision = config.vision_config
        if size != (vision.image_size, vision.image_size) or vision.hidden_act not in _ACTIVATIONS:
            return None
        if vision.hidden_size % vision.num_attention_heads or not getattr(vision, "vision_use_head", True):
            return None
        with torch.device("meta"):
            tower = ImageTower(vision, config.projection_dim if isinstance(config, _Clip) else None)
        wanted = set(tower.state_dict())
        weights: dict[str, Tensor] = {}
        found: set[str] = set()
        for path in _weight_files(folder):
            with safe_open(path, framework="pt") as file:
                names = set(file.keys())
                found |= names
                weights |= {name: file.get_tensor(name) for name in names & wanted}
        if not _text_names(config) <= found or not all(w.is_floating_point() for w in weights.values()):
            return None
        tower.load_state_dict({name: weight.to(dtype) for name, weight in weights.items()}, assign=True)
    except _DOES_NOT_FIT:
        return None
    return tower.eval().requires_grad_(requires_grad=False)


def _weight_files(folder: Path) -> list[Path]:
    """One file, which `transformers` prefers, or those that the index of several names."""
    if (whole := folder / "model.safetensors").is_file():
        return [whole]
    names = json.loads((folder / "model.safetensors.index.json").read_bytes())["weight_map"].values()
    return [folder / name for name in sorted(set(names))]


def _text_names(config: _Clip | _Siglip) -> set[str]:
    """The weights of the text tower, which are not loaded here: a checkpoint without them is no dual encoder."""
    numbers = {"logit_scale", "text_projection.weight"}
    if isinstance(config, _Siglip):
        numbers = {"logit_scale", "logit_bias", "text_model.head.weight", "text_model.head.bias"}
    around = {f"text_model.embeddings.{kind}_embedding.weight" for kind in ("token", "position")}
    around |= {f"text_model.final_layer_norm.{kind}" for kind in ("weight", "bias")}
    layers = range(config.text_config.num_hidden_layers)
    return numbers | around | {f"text_model.encoder.layers.{n}.{part}" for n in layers for part in _TEXT_LAYER}


class ImageTower(nn.Module):
    """From normalised pixels (n, 3, height, width) to features (n, d); CLIP's where there is a ``projection``, else
    SigLIP's. Its modules have the names of the weights in the files."""

    def __init__(self, config: _Vision, projection: int | None) -> None:
        super().__init__()
        self.vision_model = _VisionModel(config, is_clip=projection is not None)
        if projection is not None:
            self.visual_projection = nn.Linear(config.hidden_size, projection, bias=False)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Features, not of unit length."""
        pooled = self.vision_model(pixel_values)
        return self.visual_projection(pooled) if hasattr(self, "visual_projection") else pooled  # type: ignore[no-any-return]


class _VisionModel(nn.Module):
    def __init__(self, config: _Vision, *, is_clip: bool) -> None:
        super().__init__()
        self.is_clip = is_clip
        self.embeddings = _Embeddings(config, is_clip=is_clip)
        if is_clip:
            self.pre_layrnorm = _norm(config)  # as the files spell it
        self.encoder = nn.Module()
        self.encoder.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))
        self.post_layernorm = _norm(config)
        if not is_clip:
            self.head = _Head(config)

    def forward(self, pixel_values: Tensor) -> Tensor:
        x = self.embeddings(pixel_values)
        if self.is_clip:
            x = self.pre_layrnorm(x)
        for layer in self.encoder.layers:  # type: ignore[union-attr]
            x = layer(x)
        if self.is_clip:
            return self.post_layernorm(x[:, 0])  # type: ignore[no-any-return]
        return self.head(self.post_layernorm(x))  # type: ignore[no-any-return]


class _Embeddings(nn.Module):
    """Patches and their places, and before them, in CLIP, the one that the answer is read from."""

    def __init__(self, config: _Vision, *, is_clip: bool) -> None:
        super().__init__()
        width, patch = config.hidden_size, config.patch_size
        self.patch_embedding = nn.Conv2d(config.num_channels, width, patch, stride=patch, bias=not is_clip)
        self.position_embedding = _Places((config.image_size // patch) ** 2 + is_clip, width)
        if is_clip:
            self.class_embedding = nn.Parameter(torch.empty(width))

    def forward(self, pixel_values: Tensor) -> Tensor:
        x = self.patch_embedding(pixel_values).flatten(2).transpose(1, 2)
        if hasattr(self, "class_embedding"):
            x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], dim=1)
        return x + self.position_embedding.weight  # type: ignore[no-any-return]


class _Places(nn.Module):
    """As `nn.Embedding`, whose making on the meta device imports torch's compiler."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, width))


class _Layer(nn.Module):
    def __init__(self, config: _Vision) -> None:
        super().__init__()
        self.layer_norm1, self.self_attn = _norm(config), _Attention(config)
        self.layer_norm2, self.mlp = _norm(config), _Mlp(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))  # type: ignore[no-any-return]


class _Attention(nn.Module):
    def __init__(self, config: _Vision) -> None:
        super().__init__()
        self.heads, width = config.num_attention_heads, config.hidden_size
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:2], self.heads, -1)
        parts = (projection(x).view(shape).transpose(1, 2) for projection in (self.q_proj, self.k_proj, self.v_proj))
        found = functional.scaled_dot_product_attention(*parts)
        return self.out_proj(found.transpose(1, 2).reshape(x.shape))  # type: ignore[no-any-return]


class _Mlp(nn.Module):
    def __init__(self, config: _Vision) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.activation = _ACTIVATIONS[config.hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)))  # type: ignore[no-any-return]


class _Head(nn.Module):
    """SigLIP's: what a probe that was learnt attends to among the patches."""

    def __init__(self, config: _Vision) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.empty(1, 1, config.hidden_size))
        self.attention = nn.MultiheadAttention(config.hidden_size, config.num_attention_heads, batch_first=True)
        self.layernorm, self.mlp = _norm(config), _Mlp(config)

    def forward(self, x: Tensor) -> Tensor:
        found = self.attention(self.probe.expand(len(x), -1, -1), x, x, need_weights=False)[0]
        return (found + self.mlp(self.layernorm(found)))[:, 0]  # type: ignore[no-any-return]


def _norm(config: _Vision) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
