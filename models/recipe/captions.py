"""What is written of a picture: random captions by name, colour, body, make and family, and texts of what is no car."""

from __future__ import annotations

import numpy as np

from models.recipe.bank import Bank
from models.recipe.labels import OPEN, is_called
from models.recipe.names import shows
from models.recipe.spellings import Spelling

ATTRIBUTE_TEMPLATES = ["a photo of a {}.", "a photo of the {}.", "{}", "a {}", "a picture of a {}.", "a {} on the road"]
# fmt: off
NO_CAR_TEXTS = {
    "dog": ["a photo of a dog.", "a photo of an animal."], "bird": ["a photo of a bird.", "a photo of an animal."],
    "animal": ["a photo of an animal."], "food": ["a photo of food.", "a photo of people eating at a table."],
    "landscape": ["a photo of a road through a landscape.", "a photo of mountains and sky.", "a photo of the sea and a "
                  "beach.", "a photo of an empty street."],
    "person": ["a portrait of a person.", "a photo of a crowd of people."],
    "plant": ["a photo of flowers and plants."], "screen": ["a photo of a screen, a sign or a page of text."],
    "cycle": ["a photo of a motorcycle.", "a photo of a bicycle."], "train": ["a photo of a train."],
    "boat": ["a photo of a boat or an aeroplane."], "truck": ["a photo of a truck or a bus."],
    "wheel": ["a close-up of a wheel and a tyre.", "a photo of the interior of a car.", "a close-up of a steering "
              "wheel and a dashboard.", "a close-up of an engine.", "a close-up of a car badge."],
    "building": ["a photo of a building.", "a photo of a city square with old buildings.",
                 "a photo of an empty street."],
    "furniture": ["a photo of furniture in a room."], "clothing": ["a photo of a piece of clothing."],
    "instrument": ["a photo of a musical instrument."],
    "thing": ["a photo of a tool or a household object.", "a photo of something that is not a car."],
}
# fmt: on
CALLED = {body: [word for word, bodies in OPEN.items() if body in bodies] for body in OPEN["convertible"]}
BODY_ALONE = 0.25  # of the captions of a picture with a body; by chance few would say nothing else
NOT_A_CAR = ["a photo of something that is not a car.", "not a car", "no car", "a photo without a car"]


def caption(spelling: Spelling, templates: tuple[str, ...], rng: np.random.Generator) -> str:
    """One random caption of a car: a name of it in a template that fits."""
    usable = [t for t in templates if spelling.year or "{year}" not in t] + ["{name}"]
    text = usable[rng.integers(len(usable))].replace("{year}", spelling.year)
    return text.replace("{name}", spelling.names[0 if rng.random() < 0.4 else rng.integers(len(spelling.names))])


def attribute_captions(
    bank: Bank, chosen: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """`count` captions by colour, body, make and family, each with the images of the batch it is true of (count, B),
    and with those of which nobody knows (count, B)."""
    texts: list[str] = []
    truth: list[np.ndarray] = []
    unsure: list[np.ndarray] = []
    colours, makes = (np.array([values[j] for j in chosen]) for values in (bank.colour, bank.make))
    families, bodies = ([values[j] for j in chosen] for values in (bank.family, bank.body))
    empty = bank.empty[chosen].astype(bool)
    pick = [i for i in chosen if bank.colour[i] or bank.body[i] or bank.make[i] or bank.empty[i]]
    while len(texts) < count and pick:
        i = pick[rng.integers(len(pick))]
        if bank.empty[i]:
            texts.append(NOT_A_CAR[rng.integers(len(NOT_A_CAR))])
            truth.append(empty)
            unsure.append(np.zeros_like(empty))
            continue
        use = {k: rng.random() < 0.55 for k in ("colour", "body", "make", "family")}
        if bank.body[i] and rng.random() < BODY_ALONE:
            use = {k: k == "body" for k in use}
        use["make"] = use["make"] and not use["family"]
        parts = [
            bank.colour[i] if use["colour"] else "",
            bank.make[i] if use["make"] else "",
            bank.family[i] if use["family"] else "",
            rng.choice(CALLED.get(bank.body[i], [bank.body[i]])) if use["body"] else "",
        ]
        if not any(parts):
            continue
        said = " ".join(p for p in parts if p)
        if not parts[3] and not parts[2] and rng.random() < 0.6:
            said += " car"
        texts.append(ATTRIBUTE_TEMPLATES[rng.integers(len(ATTRIBUTE_TEMPLATES))].format(said))
        fits = ~empty
        if parts[0]:
            fits = fits & (colours == parts[0])
        if parts[1]:
            fits = fits & (makes == parts[1])
        if parts[2]:
            fits = fits & _each(families, {family: shows(family, parts[2]) for family in set(families)})
        called = {body: is_called(body, parts[3]) if parts[3] else True for body in set(bodies)}
        truth.append(fits & _each(bodies, {body: found is True for body, found in called.items()}))
        unsure.append(fits & _each(bodies, {body: found is None for body, found in called.items()}))
    return texts, np.array(truth, dtype=bool), np.array(unsure, dtype=bool)


def _each(values: list[str], holds: dict[str, bool]) -> np.ndarray:
    """Of which values it holds: every kind of them has been asked once."""
    return np.array([holds[value] for value in values], dtype=bool)
