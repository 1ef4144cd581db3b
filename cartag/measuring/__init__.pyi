from .datasets import DatasetResult as DatasetResult, evaluate_dataset as evaluate_dataset
from .evaluation import evaluate as evaluate
from .figures import Comparison as Comparison, Evaluation as Evaluation
from .labelfile import NO_LABELS as NO_LABELS, Change as Change, LabelFile as LabelFile, Rows as Rows
from .labels import read_labels as read_labels
from .metrics import (
    Answers as Answers,
    Interval as Interval,
    differences as differences,
    headline as headline,
    metric_values as metric_values,
)
from .rows import BoxLabel as BoxLabel, Label as Label
from .truth import Truth as Truth, other_cars as other_cars, read_truth as read_truth
