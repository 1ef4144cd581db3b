"""From a catalog to the classes of the softmax, each with the texts that stand for it."""

from __future__ import annotations

import re

from cartag.values import Car, Catalog, PromptClass


def prompt_classes(catalog: Catalog) -> tuple[PromptClass, ...]:
    """The classes a photo is scored against: the catalog's cars, other cars, and things that are no car.

    Other cars go by the first template alone. There are hundreds of them and one class is made of all, so what a
    template more says of each is lost in it, while a large model computes for minutes on thousands of texts.
    """
    cars = [PromptClass("car", car.id, car_texts(car, catalog.templates)) for car in catalog.cars]
    others = [PromptClass("other-car", car.id, car_texts(car, catalog.templates[:1])) for car in catalog.other_cars]
    no_car = [PromptClass("no-car", text, (text,)) for text in catalog.no_car]
    return (*cars, *others, *no_car)


def car_texts(car: Car, templates: tuple[str, ...]) -> tuple[str, ...]:
    """Every name of a car in every template that fits it (a template with {year} needs a car with years)."""
    year = _first_year(car)
    usable = [template for template in templates if year is not None or "{year}" not in template]
    if not usable:  # a catalog with nothing but {year} templates, and a car without years
        usable = [re.sub(r"{year}\s*", "", template) for template in templates]
    names = car.prompts or (car.name,)
    return tuple(t.replace("{name}", name).replace("{year}", year or "") for t in usable for name in names)


def query_texts(text: str) -> tuple[str, ...]:
    """The texts whose mean embedding stands for a free-text query: the words themselves, and as a caption."""
    return (text, f"a photo of {text}.")


def _first_year(car: Car) -> str | None:
    found = re.search(r"\d{4}", car.years or "")
    return found.group() if found else None
