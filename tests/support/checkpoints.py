"""Small random-weight checkpoints of every family cartag loads, made by `transformers`' own classes.

They are saved the way published checkpoints are, tokenizer and processor included, and load without network. Weights
are seeded and wide enough that photos and texts get clearly different embeddings.
"""

from __future__ import annotations

import json
import os
import shutil
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COMMIT = "a" * 40
IMAGE_SIZE = 32
PATCH_SIZE = 8
TEMPLATE = "This is a photo of {name}."
LABELS = ("Pagani Huayra", "Ferrari 458 Italia", "Wiesmann", "Porsche Carrera GT", "Lamborghini Countach")

_LETTERS = string.ascii_letters + string.digits + string.punctuation
_TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_VISION = {**_TOWER, "image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE}


def make_clip(folder: Path, seed: int = 1) -> Path:
    """CLIP: byte-level BPE, centre crop."""
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor, CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(
        vocab={word: i for i, word in enumerate(words)}, merges=[], pad_token="<|endoftext|>", model_max_length=77
    )
    text = {
        **_TOWER,
        "vocab_size": len(words),
        "max_position_embeddings": 77,
        "bos_token_id": len(words) - 2,
        "eos_token_id": len(words) - 1,
        "pad_token_id": len(words) - 1,
    }
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=_VISION, projection_dim=24))
    images = CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_SIZE}, crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    )
    return _save(folder, _seeded(model, seed), CLIPProcessor(images, tokenizer))


def make_siglip(folder: Path, seed: int = 2) -> Path:
    """SigLIP: texts padded to 64, sigmoid with a bias, squashed pictures; a tokenizer that lower-cases like its own."""
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel, SiglipProcessor

    tokenizer = _siglip_tokenizer()
    model = SiglipModel(SiglipConfig(text_config=_siglip_text(tokenizer), vision_config=_VISION))
    images = SiglipImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})
    return _save(folder, _seeded(model, seed), SiglipProcessor(images, tokenizer))


def make_siglip2(folder: Path, seed: int = 11) -> Path:
    """SigLIP 2 of a fixed resolution: a SigLIP model with Gemma's tokenizer, which keeps capitals."""
    from transformers import SiglipConfig, SiglipImageProcessorPil, SiglipModel, SiglipProcessor

    tokenizer = _gemma_tokenizer("GemmaTokenizer")
    model = SiglipModel(SiglipConfig(text_config=_siglip_text(tokenizer), vision_config=_VISION))
    images = SiglipImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, resample=2)
    return _save(folder, _seeded(model, seed), SiglipProcessor(images, tokenizer))


def make_siglip2_naflex(folder: Path, seed: int = 4) -> Path:
    """SigLIP 2 NaFlex: a photo keeps its aspect ratio and becomes at most 16 patches."""
    from transformers import Siglip2Config, Siglip2ImageProcessorPil, Siglip2Model, Siglip2Processor

    tokenizer = _gemma_tokenizer("Siglip2Tokenizer")
    vision = {**_TOWER, "patch_size": PATCH_SIZE, "num_patches": 16}
    model = Siglip2Model(Siglip2Config(text_config=_siglip_text(tokenizer), vision_config=vision))
    images = Siglip2ImageProcessorPil(patch_size=PATCH_SIZE, max_num_patches=16)
    return _save(folder, _seeded(model, seed), Siglip2Processor(images, tokenizer))


def make_vit_bert(folder: Path, seed: int = 5) -> Path:
    """A VisionTextDualEncoderModel of a ViT and a BERT."""
    from transformers import (
        BertConfig,
        BertModel,
        VisionTextDualEncoderModel,
        VisionTextDualEncoderProcessor,
        ViTConfig,
        ViTImageProcessorPil,
        ViTModel,
    )

    tokenizer = _bert_tokenizer(folder)
    text = BertModel(BertConfig(**_TOWER, vocab_size=len(tokenizer), max_position_embeddings=128))
    model = VisionTextDualEncoderModel(vision_model=ViTModel(ViTConfig(**_VISION)), text_model=text)
    images = ViTImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})
    return _save(folder, _seeded(model, seed), VisionTextDualEncoderProcessor(images, tokenizer))


def make_timm_bert(folder: Path, seed: int = 6) -> Path:
    """A VisionTextDualEncoderModel of a timm EfficientNet and a BERT, the kind that `mini` is."""
    from transformers import (
        BertConfig,
        BertModel,
        TimmWrapperConfig,
        TimmWrapperModel,
        VisionTextDualEncoderConfig,
        VisionTextDualEncoderModel,
        VisionTextDualEncoderProcessor,
        ViTImageProcessorPil,
    )

    tokenizer = _bert_tokenizer(folder)
    text = BertConfig(**_TOWER, vocab_size=len(tokenizer), max_position_embeddings=128)
    vision = TimmWrapperConfig(architecture="test_efficientnet", num_labels=0)
    towers = {"vision_model": TimmWrapperModel(vision), "text_model": BertModel(text)}
    vision.hidden_size = towers["vision_model"].timm_model.num_features
    config = VisionTextDualEncoderConfig.from_vision_text_configs(vision, text, projection_dim=24)
    model = VisionTextDualEncoderModel(config=config, **towers)
    images = ViTImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})
    return _save(folder, _seeded(model, seed), VisionTextDualEncoderProcessor(images, tokenizer))


def make_bert_only(folder: Path, seed: int = 7) -> Path:
    """No dual encoder: a text model, beside an image processor so that the folder looks complete."""
    from transformers import BertConfig, BertModel, ViTImageProcessorPil

    tokenizer = _bert_tokenizer(folder)
    model = BertModel(BertConfig(**_TOWER, vocab_size=len(tokenizer), max_position_embeddings=128))
    ViTImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}).save_pretrained(folder)
    return _save(folder, _seeded(model, seed), tokenizer)


MAKERS: dict[str, Callable[[Path], Path]] = {
    "clip": make_clip,
    "siglip": make_siglip,
    "siglip2": make_siglip2,
    "siglip2-naflex": make_siglip2_naflex,
    "vit-bert": make_vit_bert,
    "timm-bert": make_timm_bert,
}
PUBLISHED = ("clip", "siglip", "siglip2", "siglip2-naflex")
"""The families that `transformers`' zero-shot pipeline is the reference for."""


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``checkpoints("clip")`` is the folder of that checkpoint, made on first use. Not to be written to."""
    root = tmp_path_factory.mktemp("checkpoints")

    def folder_of(kind: str) -> Path:
        folder = root / kind
        return folder if folder.is_dir() else MAKERS[kind](folder)

    return folder_of


def _siglip_text(tokenizer: Any) -> dict[str, Any]:
    return {
        **_TOWER,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 64,
        "projection_size": _TOWER["hidden_size"],
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def _siglip_tokenizer() -> Any:
    """What the published `tokenizer.json` of SigLIP does: lower case, no punctuation, pieces, ``</s>`` at the end."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    pieces = [("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in _LETTERS)]
    backend = Tokenizer(models.Unigram(pieces, unk_id=1))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Lowercase(), normalizers.Replace(Regex(r"[!-/:-@\[-`{-~]"), ""), normalizers.Strip()]
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="</s>",
        model_max_length=64,
        model_input_names=["input_ids"],
    )


def _gemma_tokenizer(class_name: str) -> Any:
    import transformers

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    pieces = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *_LETTERS]
    return getattr(transformers, class_name)(
        vocab={piece: i for i, piece in enumerate(pieces)},
        merges=[],
        add_bos_token=False,
        add_eos_token=True,
        padding_side="right",
        model_max_length=64,
        model_input_names=["input_ids"],
    )


def _bert_tokenizer(folder: Path) -> Any:
    from transformers import BertTokenizer

    letters = sorted(set(_LETTERS.lower()))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    return BertTokenizer(vocab={word: i for i, word in enumerate(words)}, do_lower_case=True)


def _seeded(model: Any, seed: int, gain: float = 1.4) -> Any:
    """Random weights of a size that lets neither tower collapse to one direction."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if name == "logit_scale":
                parameter.fill_(3.0)
            elif name == "logit_bias":
                parameter.fill_(-1.5)
            elif parameter.ndim > 1:
                fan_in = parameter[0].numel() if "embedding" not in name else 1
                parameter.normal_(0, gain * fan_in**-0.5, generator=generator)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.1, generator=generator)
    return model.eval()


def _save(folder: Path, model: Any, processor: Any) -> Path:
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def edit_json(path: Path, **changes: Any) -> None:
    """Changes top-level keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


class Touch:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def put_in_cache(cache: Path, hub_id: str, folder: Path, revision: str = "main") -> Path:
    """Lays a checkpoint down as the hub's client does: blobs, a snapshot of links to them, and a ref."""
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    for part in (repository / "blobs", repository / "refs", snapshot):
        part.mkdir(parents=True)
    (repository / "refs" / revision).write_text(COMMIT)
    for number, path in enumerate(sorted(folder.iterdir())):
        blob = repository / "blobs" / f"{number:040x}"
        shutil.copyfile(path, blob)
        (snapshot / path.name).symlink_to(os.path.relpath(blob, snapshot))
    return snapshot


def copy_of(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to
