from .tagging import TagReport as TagReport, tag as tag
