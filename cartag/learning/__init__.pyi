from .following import LabelRows as LabelRows, owes_rows as owes_rows
from .learned import Learned as Learned, learned_files as learned_files, load_learned as load_learned
from .learning import (
    LearnReport as LearnReport,
    Proposal as Proposal,
    learn as learn,
    propose as propose,
    refit as refit,
)
