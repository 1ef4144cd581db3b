"""Articles: which cars a text names, in the words it names them with."""

from cartag.catalogs.article.mentions import Mention, find_mentions
from cartag.catalogs.article.page import read_article

__all__ = ["Mention", "find_mentions", "read_article"]
