from .decisions import Decision as Decision
from .pictures import THUMBS as THUMBS, is_whole_thumb as is_whole_thumb
from .reviewing import ReviewReport as ReviewReport, review as review
from .session import Session as Session
