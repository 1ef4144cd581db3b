from .merging import MergeReport as MergeReport, merge as merge
