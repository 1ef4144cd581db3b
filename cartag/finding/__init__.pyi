from .finding import find as find
from .hits import Hit as Hit, Match as Match
