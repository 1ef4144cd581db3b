"""A trained model: both towers of one training, read from their checkpoints, and what can be asked of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from cartag.catalogs.prompts import prompt_classes
from cartag.scoring.scoring import ClassSet, class_set
from cartag.values import Catalog
from models.recipe import checkpoints
from models.recipe.cuts import shown
from models.recipe.names import OWN_CATALOG, Names, catalog_named
from models.recipe.photos import Photo
from models.recipe.pictures import RUN_HW, Pictures
from models.recipe.spellings import fitting, spellings
from models.recipe.text import TextTower, embed_texts, read_tokenizer
from models.recipe.towers import ImageTower, embed, round_weights, stage1_tower, stage2_tower
from models.recipe.world import World


@dataclass(frozen=True)
class Model:
    """Both towers."""

    image: ImageTower
    text: TextTower
    tokenizer: PreTrainedTokenizerFast

    @classmethod
    def read(cls, world: World, tag: str) -> Model:
        """What stage 3 left of the training `tag`, with the image tower it belongs to."""
        tokenizer = read_tokenizer(world.work / checkpoints.TOKENIZER)
        text = TextTower(len(tokenizer))
        state = checkpoints.read(checkpoints.stage3(world.work, tag), "stage3")
        text.load_state_dict(state["text"])
        image = stage1_tower(world.work) if tag == checkpoints.FIRST else stage2_tower(world.work, tag)
        round_weights(image)
        image.set_projection(state["project"])
        return cls(image.eval(), text.eval(), tokenizer)

    def see(self, world: World, pictures: Pictures, rows: list[int]) -> np.ndarray:
        """Unit embeddings (N, 256) of the largest car in each of some pictures, cut as the tool cuts it by the
        detector that ships."""
        return embed(self.image, shown(pictures, rows, world.cuts.boxes(pictures, rows)), RUN_HW).numpy()

    def see_photos(self, world: World, photos: list[Photo]) -> np.ndarray:
        """Unit embeddings (N, 256) of the largest car in each photograph, cut by a detector that never saw it."""
        parts = [photos[i : i + 64] for i in range(0, len(photos), 64)]
        seen = [
            embed(self.image, shown(world.wholes, rows, [world.photo_boxes[r] for r in rows]), RUN_HW)
            for rows in ([p.row for p in part] for part in parts)
        ]
        return np.concatenate([part.numpy() for part in seen])

    def read_texts(self, texts: list[str]) -> np.ndarray:
        """Unit embeddings (N, 256) of texts."""
        return embed_texts(self.text, self.tokenizer, texts).numpy()

    def classes(self, catalog: Catalog) -> ClassSet:
        """Class embeddings of a catalog, made by the tool's own code."""
        classes = prompt_classes(catalog)
        return class_set(classes, self.read_texts([t for c in classes for t in c.texts]))

    def names(self, names: Names, keys: list[str]) -> np.ndarray:
        """(len(keys), 256): mean over the templates, of a car's first spelling."""
        spelled, templates = spellings(names), catalog_named(OWN_CATALOG).templates
        rows = []
        for key in keys:
            texts = embed_texts(self.text, self.tokenizer, fitting(spelled[key], templates))
            rows.append(functional.normalize(texts.mean(0), dim=-1).numpy())
        return np.stack(rows)

    def precision_at_ten(self, vectors: np.ndarray, query: str, true: np.ndarray) -> float:
        """Share of right pictures among the ten (or all, if fewer) that `find --text query` would print first."""
        best = np.argsort(-(vectors @ self.read_texts([query])[0]))[: min(10, int(true.sum()))]
        return float(true[best].mean())
