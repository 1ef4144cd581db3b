from .checking import CheckReport as CheckReport, check as check
from .findings import Finding as Finding
