from .following import LabelRows as LabelRows, damaged_rows_note as damaged_rows_note, owes_rows as owes_rows
from .learned import (
    Learned as Learned,
    claim_learned as claim_learned,
    kept_tensors as kept_tensors,
    learned_files as learned_files,
    load_learned as load_learned,
    remove_learned as remove_learned,
    restore_tensors as restore_tensors,
)
from .learning import (
    LearnReport as LearnReport,
    Proposal as Proposal,
    learn as learn,
    propose as propose,
    refit as refit,
)
