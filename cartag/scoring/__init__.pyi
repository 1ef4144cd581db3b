from .basis import class_set_of as class_set_of, default_catalog as default_catalog, model_facts as model_facts
from .calibration import (
    Calibration as Calibration,
    Presence as Presence,
    adjusted as adjusted,
    calibration_of as calibration_of,
)
from .chosen import Chooser as Chooser, Chosen as Chosen
from .others import (
    Others as Others,
    named_other as named_other,
    named_others as named_others,
    others_of as others_of,
)
from .presence import is_doubtful as is_doubtful, presence_of as presence_of, weighed as weighed
from .regions import follow as follow, region_of as region_of
from .scoring import (
    ClassSet as ClassSet,
    Scores as Scores,
    Verdict as Verdict,
    class_set as class_set,
    decide as decide,
    passing as passing,
    pooled as pooled,
    score as score,
)
from .sight import Sight as Sight, sight_in as sight_in, sight_of as sight_of
