"""The recipe of `look`, the detector that ships: `python -m models.recipe.look --data PATH --work SCRATCH`.

`scenes` makes views with known boxes out of photographs, crops and scenery; `targets` says what the network is to
answer; `train` trains it, in folds and as it ships; `measure` holds it against photographs that it never saw, `tool`
the whole tool; `card` writes figures into `models/look/`.
"""
