from .judging import Judge as Judge, pixels_of as pixels_of
from .looking import Forgetful as Forgetful, Looked as Looked, eyes_of as eyes_of
from .merging import (
    Learnt as Learnt,
    answer_of as answer_of,
    in_folders as in_folders,
    merged as merged,
    model_answer as model_answer,
    record_of as record_of,
)
from .run import Basis as Basis, basis_of as basis_of, judge_of as judge_of, reading_spec as reading_spec
from .saving import say_where as say_where
from .tagging import TagReport as TagReport, tag as tag
