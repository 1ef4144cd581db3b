from .engines import ENGINES as ENGINES, tag as tag
from .report import ClusterReport as ClusterReport
