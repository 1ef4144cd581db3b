from .engines import tag as tag
from .report import ClusterReport as ClusterReport
