"""The text tower and its tokenizer."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import WordPieceTrainer
from torch import Tensor, nn
from torch.nn import functional
from transformers import BatchEncoding, BertConfig, BertModel, BertTokenizerFast, PreTrainedTokenizerFast

from models.recipe.captions import ATTRIBUTE_TEMPLATES, NO_CAR_TEXTS, NOT_A_CAR
from models.recipe.labels import BODIES, COLOURS
from models.recipe.names import OWN_CATALOG, Names, catalog_named
from models.recipe.spellings import spellings
from models.recipe.towers import DIMS

TEXT_LENGTH, VOCABULARY, LOGIT_SCALE = 32, 4000, 30.0


def train_tokenizer(names: Names, to: Path) -> PreTrainedTokenizerFast:
    """Lower-casing WordPiece on the captions of the cars with pictures; digits stay in one piece where they are names.

    Unseen names fall into seen pieces, so only words of training captions become pieces. One that is there is read.
    """
    if not (to / "tokenizer.json").exists():
        core = Tokenizer(WordPiece(unk_token="[UNK]"))
        core.normalizer = BertNormalizer(lowercase=True)
        core.pre_tokenizer = BertPreTokenizer()
        core.decoder = WordPieceDecoder()
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        alphabet = list("abcdefghijklmnopqrstuvwxyz0123456789")
        core.train_from_iterator(
            training_texts(names),
            WordPieceTrainer(vocab_size=VOCABULARY, min_frequency=3, special_tokens=special, initial_alphabet=alphabet),
        )
        core.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
        fast = BertTokenizerFast(tokenizer_object=core, model_max_length=TEXT_LENGTH, do_lower_case=True)
        fast.save_pretrained(to)
    return read_tokenizer(to)


def read_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer that was trained.

    Raises:
        SystemExit: there is none yet.
    """
    if not (folder / "tokenizer.json").exists():
        raise SystemExit(f"{folder}: no tokenizer there; run python -m models.recipe.stage3 first")
    tokenizer: PreTrainedTokenizerFast = BertTokenizerFast.from_pretrained(folder)
    return tokenizer


def training_texts(names: Names) -> list[str]:
    """Captions, each as often as its words should count."""
    spelled = spellings(names)
    texts = [n for s in spelled.values() for n in s.names for _ in range(3)]
    texts += [
        t.replace("{name}", s.names[0]).replace("{year}", s.year or "2010")
        for s in spelled.values()
        for t in catalog_named(OWN_CATALOG).templates
    ]
    texts += [t for group in NO_CAR_TEXTS.values() for t in group] * 20 + NOT_A_CAR * 20
    texts += [t.format(f"{c} {b} car") for t in ATTRIBUTE_TEMPLATES for c in COLOURS for b in BODIES]
    return texts


class TextTower(nn.Module):
    """A small BERT (Devlin et al. 2019) and a linear projection to unit vectors (B, 256)."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.config = BertConfig(
            vocab_size=vocabulary,
            hidden_size=256,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=512,
            max_position_embeddings=TEXT_LENGTH * 2,
        )
        self.bert = BertModel(self.config)
        self.project = nn.Linear(256, DIMS, bias=False)

    def read(self, **tokens: Tensor) -> Tensor:
        """Features (B, 256) before the projection."""
        found: Tensor = self.bert(**tokens).pooler_output
        return found

    def forward(self, **tokens: Tensor) -> Tensor:
        """Unit embeddings (B, 256)."""
        return functional.normalize(self.project(self.read(**tokens)), dim=-1)


def written_of(text: TextTower, tokens: BatchEncoding) -> Tensor:
    """Unit embeddings (N, 256) of texts in training. The longer half of them is read apart: were all padded to the
    longest one, a third of all tokens would be padding."""
    lengths = tokens["attention_mask"].sum(1)
    order = lengths.argsort(stable=True)
    parts = []
    for rows in order.chunk(2):
        longest = int(lengths[rows].max())
        parts.append(text(**{name: values[rows, :longest] for name, values in tokens.items()}))
    return torch.cat(parts)[order.argsort()]


def embed_texts(text: TextTower, tokenizer: PreTrainedTokenizerFast, texts: list[str], pooled: bool = False) -> Tensor:
    """Unit embeddings (N, 256) of texts, in evaluation mode; the features (N, 256) before the projection where
    `pooled`."""
    text.eval()
    read = text.read if pooled else text
    parts = []
    with torch.inference_mode():
        for i in range(0, len(texts), 256):
            parts.append(read(**tokens_of(tokenizer, texts[i : i + 256])))
    return torch.cat(parts)


def tokens_of(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> BatchEncoding:
    """Texts as the tower takes them."""
    return tokenizer(texts, padding=True, truncation=True, max_length=TEXT_LENGTH, return_tensors="pt")
