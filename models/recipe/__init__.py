"""The recipe of `mini`, the bundled dual encoder: from a folder of labelled car photographs to `models/mini`.

Its stages are programs that meet only in checkpoints, in a scratch folder; each is resumable and deterministic by seed:

1. `stage1`: the image tower on single-car crops, in three cycles of the learning rate;
2. `stage2`: the image tower on whole photographs, cut around their cars, with balanced sampling, as the mean of
   several ends;
3. `stage3`: the text tower against the frozen image tower (Zhai et al., "LiT: Zero-Shot Transfer with Locked-image text
   Tuning", 2022), begun once on the tower of stage 1;
4. `export`: both towers as a folder that `transformers` reads, and by `graphs` what they compute, for ONNX Runtime.

Where the cars stand says `look`, the bundled detector, which has a recipe of its own in `models.recipe.look`.
Stages 2 and 3 run as grouped cross-validation. Of its image towers the one that ships is made, and `measure` and
`report` take the calibration and every figure of the model card from it. `python -m models.recipe` runs all of them in
their order; see `models/mini/README.md`.
"""

from __future__ import annotations

import os
import sys

# glibc gives large blocks back to the system after every convolution unless told otherwise; a third of the time goes
# there. numpy's linear algebra on several threads waits for ever where other programs want the cores.
SETTINGS = {
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TOP_PAD_": "536870912",
    "OPENBLAS_NUM_THREADS": "1",
}

# They are read when a process starts, so a program starts once more. "-m" stands there only while Python looks for the
# program that it was told to run: a test or a tool that imports this package is left alone.
if sys.argv[0] == "-m" and not SETTINGS.keys() <= os.environ.keys():
    os.environ.update({name: os.environ.get(name, value) for name, value in SETTINGS.items()})
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
