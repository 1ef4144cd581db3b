"""What `train.csv` says of the training pictures: names, makes, bodies, colours, and groups of what is no car."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

BODIES = ["coupe", "convertible", "roadster", "sedan", "wagon", "suv", "hatchback", "minivan", "van", "cab"]
ROOFS = ["closed", "open"]
# Which bodies a word is true of. A spider is a roadster by another name, and any car without a fixed roof is called a
# convertible; of a convertible nobody knows whether it is small enough for a roadster.
OPEN = {
    "spider": ("spider",),
    "roadster": ("roadster", "spider"),
    "convertible": ("convertible", "roadster", "spider"),
}
UNSURE = ("targa", "racer", "")  # a roof that may be off, cars of both kinds, and what no catalog knows
COLOURS = [
    "black",
    "silver",
    "grey",
    "blue",
    "white",
    "red",
    "yellow",
    "green",
    "brown",
    "orange",
    "purple",
    "beige",
    "gold",
    "maroon",
    "turquoise",
]
TWO_WORD_MAKES = ("Aston Martin", "Land Rover", "AM General", "De Tomaso", "Alfa Romeo", "Range Rover")
# ImageNet synsets without a car, by word: each group has prompts of its own in the rejection list.
# fmt: off
NO_CAR_GROUPS: list[tuple[str, str]] = [
    ("dog", r"^n0208[5-9]|^n0209|^n0210|^n0211[0-3]"),
    ("bird", r"^n015[1-9]|^n016[01]|^n0179|^n018[0-9]|^n0200[0-9]|^n0201|^n0202|^n0203|^n0205"),
    ("animal", r"^n01|^n020|^n021|^n022|^n023|^n024|^n025|^n026[0-5]"),
    ("food", r"^n07|bakery|plate|hotdog"),
    ("landscape", r"^n09|lakeside|seashore|valley|volcano|alp|cliff|promontory|sandbar|coral"),
    ("person", r"^n10|groom|scuba"),
    ("plant", r"^n11|^n12|^n13|greenhouse|flower|pot_"),
    ("screen", r"^n06|screen|monitor|laptop|notebook|television|web_site|menu|comic|envelope|book|computer|keyboard"),
    ("cycle", r"bicycle|tricycle|unicycle|moped|scooter|motor"),
    ("train", r"locomotive|train|streetcar|trolley|tram"),
    ("boat", r"boat|ship|liner|canoe|yawl|schooner|catamaran|trimaran|gondola|submarine|airliner|warplane|airship|"
             r"wreck|pirate|aircraft|dock|missile|space|parachute|balloon"),
    ("truck", r"truck|bus|trailer|tractor|tank|harvester|van$|ambulance|snowplow|forklift|plow|cart|wagon|half_track"),
    ("wheel", r"car_wheel|disk_brake|odometer|seat_belt|car_mirror|paddlewheel"),
    ("building", r"church|castle|palace|monastery|mosque|dome|barn|boathouse|library|prison|restaurant|shop|store|"
                 r"theater|theatre|cinema|planetarium|stupa|obelisk|pier|bridge|viaduct|dam|patio|fence|roof|house|"
                 r"bannister|steel_arch|triumphal|yurt|tower|beacon|fountain|wall|maze|grille|thatch|lumber"),
    ("furniture", r"chair|sofa|couch|table|desk|bed$|bed_|crib|cradle|bench|wardrobe|cabinet|bookcase|chest|cupboard|"
                  r"chiffonier|lamp|curtain|throne|stove|refrigerator|washer|microwave|tub|toilet_seat|bureau|"
                  r"quilt|pillow|rug|altar|entertainment|dining|medicine|file|shade|fire_screen|washbasin"),
    ("clothing", r"shirt|jersey|coat|suit|dress|gown|skirt|jean|shoe|sandal|boot|hat$|bonnet|cap$|sock|stole|scarf|"
                 r"tie$|bikini|maillot|swim|apron|poncho|kimono|robe|cloak|pajama|brassiere|diaper|sunglass|wig|mask|"
                 r"helmet|mitten|glove|sweat|cardigan|sarong|miniskirt|overskirt|hoop|trench|abaya|vest|clog|loafer"),
    ("instrument", r"violin|guitar|piano|organ|harp|flute|oboe|sax|horn|trombone|drum|gong|chime|maraca|marimba|"
                   r"accordion|banjo|bassoon|cello|harmonica|ocarina|panpipe|steel_drum|upright"),
    ("thing", r"."),
]
# fmt: on


@dataclass(frozen=True)
class Item:
    """One training picture: where it lies in its cache and everything its label says."""

    row: int
    file: str
    name: str  # "" where no car is to be named
    year: str
    colour: str
    body: str
    group: str  # no-car group, "" for a car
    cutout: bool = False

    @property
    def make(self) -> str:
        return make_of(self.name) if self.name else ""

    @property
    def kind(self) -> str:
        """As what it is augmented."""
        return "cut-out" if self.cutout else "crop" if self.name else "no car"

    @property
    def key(self) -> str:
        """Its class: a car, of Stanford's with its year, or a group of what is no car."""
        year = f" {self.year}" if self.file.startswith("stanford/") else ""
        return self.name + year if self.name else f"no car: {self.group}"


def make_of(name: str) -> str:
    """First word of a car's name, or the first two of makes with two."""
    return next((m for m in TWO_WORD_MAKES if name.startswith(m)), name.split(" ")[0])


def body_of(name: str) -> str:
    """Body style as a Stanford Cars name ends with it, else ''."""
    last = name.lower().split(" ")[-1]
    return last if last in BODIES else ""


def roof_of(body: str) -> str:
    """ "open" where a car of that body has no fixed roof, "closed" where it has one, "" where the body does not say."""
    return "" if body in UNSURE else "open" if body in OPEN["convertible"] else "closed"


def is_called(body: str, word: str) -> bool | None:
    """Whether a car of that body is what `word`, a body too, says; None where one may see it either way."""
    if word not in OPEN:
        return None if body == "" else body == word
    if body in OPEN[word]:
        return True
    return None if body in UNSURE or (body in OPEN["convertible"] and word != "spider") else False


def porsche_name(name: str, year: int) -> str:
    """Name with generation: a Porsche keeps its name over generations that look unlike each other."""
    bounds = {
        "Porsche 911": [(1997, "993"), (2004, "996"), (2011, "997"), (2018, "991"), (9999, "992")],
        "Porsche Boxster": [(2004, "986"), (2012, "987"), (9999, "981")],
        "Porsche Cayman": [(2012, "987"), (9999, "981")],
        "Porsche Cayenne": [(2010, "955"), (2017, "958"), (9999, "9Y0")],
        "Porsche Panamera": [(2016, "970"), (9999, "971")],
    }
    return next((f"{name} ({g})" for last, g in bounds.get(name, []) if year <= last), name)


def no_car_group(file: str) -> str:
    """Group of a picture of ImageNet without a car, by the class in its file name."""
    stem = Path(file).stem
    return next(
        g
        for g, pattern in NO_CAR_GROUPS
        if re.search(pattern, stem if "^n" in pattern else stem[10:]) or re.search(pattern, stem)
    )


def read_train(data: Path) -> list[Item]:
    """Rows of train.csv as items; 'vehicle scene' pictures are left out, they name no single car."""
    items = []
    for row, r in enumerate(csv.DictReader((data / "train.csv").open(encoding="utf-8"))):
        if r["kind"] == "vehicle scene":
            continue
        if r["kind"] == "no car":
            items.append(Item(row, r["file"], "", "", "", "", no_car_group(r["file"])))
        elif r["kind"] == "cut-out":
            name = porsche_name(r["name"], int(r["year"] or 0)) if r["year"] else r["name"]
            items.append(Item(row, r["file"], name, r["year"], r["colour"], "", "", cutout=True))
        else:
            items.append(Item(row, r["file"], r["name"], r["year"], r["colour"], body_of(r["name"]), ""))
    return items


def held_out(item: Item) -> bool:
    """One Stanford crop in ten is never trained on, by its file number."""
    return item.file.startswith("stanford/") and int(Path(item.file).stem) % 10 == 3
