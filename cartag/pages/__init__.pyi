from .filling import one_page as one_page, text as text
