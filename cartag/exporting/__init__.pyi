from .exporting import FORMATS as FORMATS, ExportReport as ExportReport, Format as Format, export as export
