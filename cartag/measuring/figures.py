"""What an evaluation found: every figure of it, as values. `evaluation` works them out, `report` draws them."""

from __future__ import annotations

from dataclasses import dataclass, field

from cartag.measuring.metrics import Bin, Coverage, Interval
from cartag.values import Box


@dataclass(frozen=True)
class CarFigures:
    """Precision, recall and F1 of the tags of one car; None where nothing was tagged or nothing was there."""

    car: str
    name: str
    photos: int
    """Labelled photos that show it."""
    tagged: int
    """Photos tagged with it."""
    right: int
    precision: float | None
    recall: float | None
    f1: float | None
    top1: int
    """Labelled photos of which it, or another car they truly show, is the likeliest of the catalog."""
    precision_interval: Interval | None
    """95 % Wilson interval of the precision; to a bootstrap, three right of three would be certain."""
    recall_interval: Interval | None


@dataclass(frozen=True)
class BoxFigures:
    """How far the boxes that were found are those that are labelled: the same where their IoU is at least 0.5, one to
    one. Shares are with their 95 % Wilson intervals; None where there is nothing to count."""

    photos: int
    """Photos whose labels have boxes; no others count."""
    labelled: int
    found: int
    matched: int
    precision: Interval | None
    """Share of the found boxes that are labelled ones."""
    recall: Interval | None
    """Share of the labelled boxes that were found."""
    tags: int
    """Of the found boxes."""
    tags_right: Interval | None
    """Share of these that name the car that is labelled there."""
    cars: int
    """Labelled boxes of a car of the catalog."""
    cars_right: Interval | None
    """Share of these that were found and have the right tag."""


@dataclass(frozen=True)
class Group:
    """The figures of some of the photos."""

    photos: int
    accuracy: float | None
    """Tags and outcome exactly as labelled."""
    precision: float | None
    """Micro-averaged over all tags."""
    recall: float | None
    boxes: BoxFigures | None


@dataclass(frozen=True)
class Mistake:
    """A photo whose answer is wrong."""

    path: str
    kind: str
    """``wrong tag``, ``missed``, or ``wrong box``: right for the photo, and not for the car that it is put to."""
    truth: tuple[str, ...]
    """Car ids, or unknown, or none."""
    answer: str
    """The wrong car, or the outcome of a photo whose car was missed."""
    score: float
    """Of the wrong tag, or of the car that was missed (0 where the index did not keep it)."""
    box: Box | None = None
    """Where the wrong tag is put, or where the car that was missed stands, as far as that is known."""


@dataclass(frozen=True)
class SuspiciousLabel:
    """A hand label that is probably wrong: worth another look."""

    path: str
    label: tuple[str, ...]
    likely: str
    """Car id, or ``other`` for a photo with none of the catalog's cars."""
    score: float
    """Probability of ``likely``."""


@dataclass(frozen=True)
class Comparison:
    """This index against another one, on the photos that both answered."""

    against: str
    photos: int
    differences: dict[str, Interval | None]
    """This less the other, with paired bootstrap intervals; an interval that holds 0 shows no difference."""
    gained: int
    """Photos that only this index answers exactly right."""
    lost: int
    """Photos that only the other does."""
    p_value: float
    """McNemar's exact test of gained against lost."""


@dataclass(frozen=True)
class Evaluation:
    """How right an index is. Rates are fractions in [0, 1]; None where there was nothing to count."""

    photos: int
    """Labelled photos that were evaluated."""
    accuracy: float | None
    """Photos whose answer (tags and outcome) is exactly the label."""
    top1: float | None
    """Of photos with a car of the catalog: the likeliest car of the catalog is one they show, tag or not."""
    top5: float | None
    right_car_tagged: float | None
    """Of photos with a car of the catalog: at least one right tag."""
    wrong_car_tagged: float | None
    """Of the same photos: at least one wrong tag."""
    other_car_tagged: float | None
    """Of photos that show only other cars: tagged all the same."""
    no_car_found: float | None
    """Of photos without a car: outcome `no-car`."""
    no_car_tagged: float | None
    """Of photos without a car: tagged all the same."""
    precision: float | None
    """Micro-averaged over all tags."""
    recall: float | None
    f1: float | None
    macro_f1: float | None
    """Mean F1 over the cars that the labels hold."""
    outcomes: dict[str, dict[str, int]]
    """Truth (car, unknown, none) by outcome: counts that add up to ``photos``."""
    cars: tuple[CarFigures, ...]
    confusion: dict[str, dict[str, int]]
    """Photos with one label: truth (car id, unknown, none) by likeliest answer (car id, unknown, no-car, error)."""
    not_in_index: tuple[str, ...]
    """Labelled files that the index does not hold."""
    without_label: int
    """Photos of the index that have no label."""
    settled_by_hand: int
    """Labelled photos left out because a person tagged them and the index does not keep what the model says (it does
    after a review): they say nothing about the model."""
    names_outside_catalog: dict[str, int]
    """Names of cars that the catalog does not hold, with their counts; they count as another car."""
    labels_outside_catalog: int
    """Photos whose label holds such a name, or several."""
    near_misses: dict[str, str]
    """Of these names those that look like a car of the catalog, and which."""
    silent_folders: tuple[str, ...]
    """Of labels that are folders: those whose name is no car's; their photos count as without a label."""
    near_folders: dict[str, str]
    """Of these folders those whose name looks like a car of the catalog, and which."""
    recall_at_95_precision: float | None
    """Greatest share of shown cars that one cut-off of the score finds while 95 % of what it finds is right."""
    auroc_other_cars: float | None
    """Chance that a photo of a catalog car has a higher best score than one of another car."""
    fpr95_other_cars: float | None
    """Photos of other cars let through by the cut-off that lets 95 % of the catalog cars' photos through."""
    auroc_no_car: float | None
    """The same against photos without a car."""
    fpr95_no_car: float | None
    brier: float | None
    """Mean squared error of the likeliest car's score as the probability of being right."""
    ece: float | None
    """Expected calibration error of that score, in bins of equal mass."""
    aurc: float | None
    """Area under the risk-coverage curve: mean share of wrong likeliest cars while answering ever more photos."""
    intervals: dict[str, Interval | None]
    """95 % bootstrap intervals by the name of the figure."""
    reliability: tuple[Bin, ...]
    coverage: tuple[Coverage, ...]
    mistakes: tuple[Mistake, ...]
    """Wrong tags, the surest first, then missed cars, the least sure first."""
    suspicious: tuple[SuspiciousLabel, ...]
    """Hand labels that are probably wrong, worst first."""
    uses_learned: bool
    """The tags were made with what `learn` fitted: on the labels it learned from, these figures flatter."""
    against: Comparison | None
    groups: dict[str, Group] = field(default_factory=dict)
    """Photos with ``one`` car and with ``several``, by what the labels say; those without a car are in neither."""
    boxes: BoxFigures | None = None
    """Where labels have boxes."""
    without_picture: dict[str, str] = field(default_factory=dict)
    """Photos that the page of the report names and could not show, with the reason."""
