"""A CLIP checkpoint of the size of ViT-B/32 with random weights: for speed the weights do not matter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cartag.catalogs import catalog
from cartag.catalogs.prompts import prompt_classes
from cartag.resources import shipped_catalogs

_VOCABULARY = 49408  # as OpenAI's: the embedding table has its true size, the words are those of the shipped catalogs
_TEXT_LENGTH = 77


def clip_b32(folder: Path) -> Path:
    """Makes the checkpoint in ``folder``, unless it is there: 151 million parameters, 605 MB in float32."""
    if (folder / "processor_config.json").is_file():  # written last
        return folder
    import torch
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPProcessor

    tokenizer = _tokenizer()
    special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text = {"vocab_size": _VOCABULARY, "max_position_embeddings": _TEXT_LENGTH, **special}
    torch.manual_seed(0)
    # The defaults of CLIPConfig are ViT-B/32's towers.
    model = CLIPModel(CLIPConfig(text_config=text, vision_config={}, projection_dim=512)).eval()
    model.save_pretrained(folder)
    CLIPProcessor(CLIPImageProcessorPil(), tokenizer).save_pretrained(folder)
    return folder


def _tokenizer() -> Any:
    """CLIP's byte-pair encoding, learnt on the shipped catalogs' prompts: texts are as long as with the real one."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    texts = [
        text for name in shipped_catalogs() for c in prompt_classes(catalog.load_catalog(name)) for text in c.texts
    ]
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY - 2,
        end_of_word_suffix="</w>",
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    state = json.loads(learner.to_str())["model"]
    vocabulary = dict(state["vocab"])
    for letter in pre_tokenizers.ByteLevel.alphabet():
        vocabulary.setdefault(letter + "</w>", len(vocabulary))
    for word in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary.setdefault(word, len(vocabulary))
    merges = [tuple(pair) for pair in state["merges"]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token="<|endoftext|>", model_max_length=_TEXT_LENGTH)
