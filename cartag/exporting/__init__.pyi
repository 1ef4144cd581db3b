from .exporting import FORMATS as FORMATS, ExportReport as ExportReport, Format as Format, export as export
from .packet import why_torn as why_torn
