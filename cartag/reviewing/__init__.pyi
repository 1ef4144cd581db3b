from .decisions import Decision as Decision
from .reviewing import ReviewReport as ReviewReport, review as review
from .session import Session as Session
