"""The export, a program: both towers as a folder that `transformers` reads."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import (
    AutoModel,
    AutoTokenizer,
    CLIPImageProcessor,
    TimmWrapperConfig,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
    VisionTextDualEncoderProcessor,
)

from models.recipe import digests, graphs, options
from models.recipe.cuts import shown
from models.recipe.model import Model
from models.recipe.pictures import GAP, MEAN, RUN_HW, STD
from models.recipe.progress import say
from models.recipe.text import LOGIT_SCALE, embed_texts, tokens_of
from models.recipe.towers import ARCHITECTURE, DIMS, POOLING, embed
from models.recipe.world import World, everything


def export(model: Model, to: Path) -> None:
    """Writes the towers as a VisionTextDualEncoderModel folder, weights in float16, to be loaded as float32."""
    to.mkdir(parents=True, exist_ok=True)
    dual_encoder(model).half().save_pretrained(to)
    path = to / "config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    for part in (written, written["text_config"], written["vision_config"]):
        if "dtype" in part or part is written:
            part["dtype"] = "float32"
    path.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    images = CLIPImageProcessor(
        size={"height": RUN_HW[0], "width": RUN_HW[1]},
        do_center_crop=False,
        crop_size={"height": RUN_HW[0], "width": RUN_HW[1]},
        image_mean=[MEAN] * 3,
        image_std=[STD] * 3,
        resample=Image.Resampling.BICUBIC,
    )
    tokens_of(model.tokenizer, [""])  # how it pads and cuts off is written with it, once it has been used
    VisionTextDualEncoderProcessor(images, model.tokenizer).save_pretrained(to)
    images.save_pretrained(to)
    processor = to / "preprocessor_config.json"
    how = json.loads(processor.read_text(encoding="utf-8")) | {"reducing_gap": GAP}
    processor.write_text(json.dumps(how, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def dual_encoder(model: Model) -> VisionTextDualEncoderModel:
    """Both towers as transformers knows them."""
    vision = TimmWrapperConfig(
        architecture=ARCHITECTURE, num_labels=0, do_pooling=True, model_args={"global_pool": POOLING}
    )
    vision.hidden_size = model.image.body.num_features
    config = VisionTextDualEncoderConfig.from_vision_text_configs(
        vision, model.text.config, projection_dim=DIMS, logit_scale_init_value=math.log(LOGIT_SCALE)
    )
    dual = VisionTextDualEncoderModel(config)
    dual.vision_model.timm_model.load_state_dict(model.image.body.state_dict())
    dual.text_model.load_state_dict(model.text.bert.state_dict())
    dual.visual_projection.load_state_dict(model.image.project.state_dict())
    dual.text_projection.load_state_dict(model.text.project.state_dict())
    with torch.no_grad():
        dual.logit_scale.fill_(math.log(LOGIT_SCALE))
    return dual


def check_export(model: Model, folder: Path, pixels: np.ndarray) -> float:
    """Smallest cosine between embeddings of the folder's model, loaded anew, and of the towers in memory."""
    dual = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = ["a photo of a Pagani Zonda F.", "2012 Ferrari F12 Berlinetta", "a photo of a dog."]
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    images = functional.interpolate(images, size=RUN_HW, mode="bicubic", antialias=True).clamp(0, 255) / 255
    with torch.inference_mode():
        seen = dual.get_image_features(pixel_values=(images - MEAN) / STD)
        read = dual.get_text_features(**tokenizer(texts, padding=True, return_tensors="pt"))
        seen, read = (x if isinstance(x, Tensor) else x.pooler_output for x in (seen, read))
        towers = embed(model.image, pixels, RUN_HW), embed_texts(model.text, model.tokenizer, texts)
        cosines = [
            (functional.normalize(found, dim=-1) * own).sum(1) for found, own in zip((seen, read), towers, strict=True)
        ]
    return float(torch.cat(cosines).min())


def run(world: World, tag: str, out: Path) -> None:
    """Writes the model of the training `tag` with its graphs, and looks whether it is the same when loaded anew."""
    model = Model.read(world, tag)
    export(model, out)
    sample = shown(world.crops, range(8), [[]] * 8)
    say(f"exported; smallest cosine to the towers {check_export(model, out, sample):.6f}")
    graphs.write(out)
    digests.write(out)


if __name__ == "__main__":
    options.run(
        options.with_out(options.parser(__doc__)), lambda world, args: run(world, everything(world).tag, args.out)
    )
