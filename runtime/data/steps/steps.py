"""The steps of a field's pipe: each may be fitted on the training split, is applied to every split, and some can be
undone.

A fitted step is plain data (JSON), saved with the run. Arrays come with the sample in front, a chunk of rows at a time,
so that a table need not fit into memory.
"""

from netc.runtime.data.steps.bucket import BUCKET
from netc.runtime.data.steps.cycle import CYCLE
from netc.runtime.data.steps.data_step import DataStep
from netc.runtime.data.steps.date import DATE
from netc.runtime.data.steps.impute import IMPUTE
from netc.runtime.data.steps.labels import CLASSES, ONE_HOT
from netc.runtime.data.steps.number import NUMBER
from netc.runtime.data.steps.numeric import CLIP, LOG, MINMAX, SCALE, STANDARDIZE
from netc.runtime.data.steps.shape import FLATTEN, NEXT, RESHAPE, TRAIN_ONLY, WINDOW
from netc.runtime.data.steps.texts import CHARACTERS, ENDS, NGRAMS, VOCABULARY, WORDS
from netc.runtime.data.steps.written import LOWERCASE, NORMALIZE_UNICODE, STRIP

STEPS: dict[str, DataStep] = {
    step.name: step
    for step in (
        STANDARDIZE,
        MINMAX,
        SCALE,
        LOG,
        CLIP,
        BUCKET,
        CLASSES,
        CHARACTERS,
        WORDS,
        ENDS,
        VOCABULARY,
        ONE_HOT,
        IMPUTE,
        STRIP,
        LOWERCASE,
        NORMALIZE_UNICODE,
        NUMBER,
        DATE,
        CYCLE,
        NGRAMS,
        WINDOW,
        NEXT,
        RESHAPE,
        TRAIN_ONLY,
        FLATTEN,
    )
}
