from .adding import catalog_file as catalog_file, with_cars as with_cars
from .article import Mention as Mention, find_mentions as find_mentions, read_article as read_article
from .catalog import (
    Named as Named,
    guess_make as guess_make,
    load_catalog as load_catalog,
    match_car as match_car,
    match_exactly as match_exactly,
    slug as slug,
    squeezed as squeezed,
)
from .prompts import prompt_classes as prompt_classes, query_texts as query_texts
from .rivals import rivals as rivals
from .vocabulary import UNKNOWN as UNKNOWN, Meaning as Meaning, Vocabulary as Vocabulary, as_other as as_other
