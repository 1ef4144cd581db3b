"""Articles: which cars a text names, in the words it names them with."""

from cartag.article.mentions import Mention, find
from cartag.article.page import read

__all__ = ["Mention", "find", "read"]
