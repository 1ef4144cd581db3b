"""The 37 scenes of the sample gallery, in the order of the route: Brescia to Rome and back."""

from __future__ import annotations

from functools import lru_cache

from .cars import CATALOG, COUNTACH_OPEN, OTHERS
from .model import Car
from .scenes import Scene, Standing

_HUAYRA, _ITALIA, _WIESMANN = "pagani-huayra", "ferrari-458-italia", "wiesmann"
_CARRERA_GT, _F12, _GTS = "porsche-carrera-gt", "ferrari-f12-berlinetta", "porsche-911-carrera-gts-997"
_APERTA, _VITESSE, _SLR = "ferrari-599-sa-aperta", "bugatti-veyron-grand-sport-vitesse", "mercedes-benz-slr-mclaren"
_ZONDA, _COUNTACH = "pagani-zonda-f", "lamborghini-countach"
_BY_NAME: dict[str, Car] = {**CATALOG, **{car.id: car for car in OTHERS}, "countach with open doors": COUNTACH_OPEN}


def _car(name: str, paint: int, yaw: float, at: float = 0.5, size: float = 0.72, steer: float = 0.0) -> Standing:
    car = _BY_NAME[name]
    return Standing(car, car.paints[paint], yaw, at, size, steer, roll=0.3)


def _label(car: Car) -> str:
    return car.id if car.id in CATALOG else "unknown"


@lru_cache(maxsize=1)
def _all() -> tuple[Scene, ...]:
    scenes: list[Scene] = []

    def add(caption: str, place: str, light: str, *cars: Standing, horizon: float = 0.43, eye: float = 1.3,
            upright: bool = False, away: bool = False) -> None:
        labels = tuple(dict.fromkeys(_label(one.car) for one in cars)) or ("none",)
        scenes.append(Scene(labels, caption, place, light, (2013, len(scenes) + 1, 37), cars, upright, horizon, eye,
            away))

    add("A silver Pagani Huayra rolls away from the start ramp in Brescia.", "start", "noon",
        _car(_HUAYRA, 0, 36, .50, .80, -.12))
    add("First sun in Brescia: a red Ferrari 599 SA Aperta leaves with its roof at home.", "start", "morning",
        _car(_APERTA, 0, 146, .52, .80, .1))
    add("The barriers are full long before the first engine is heard.", "street", "noon")
    add("The old guard goes first: an open racer of the 1930s under the red arch.", "start", "morning",
        _car(OTHERS[0].id, 0, 34, .50, .74, -.15))
    add("A yellow Ferrari 458 Italia passes the sailing boats of Lake Garda.", "lake", "morning",
        _car(_ITALIA, 1, 2, .50, .82),
        eye=1.2)
    add("Nothing but bonnet: a Mercedes-Benz SLR McLaren on the lake road.", "lake", "noon",
        _car(_SLR, 0, 150, .50, .84))
    add("A green Wiesmann and a green vineyard, late in the day near Verona.", "vineyard", "golden hour",
        _car(_WIESMANN, 1, 38, .48, .80, -.1))
    add("White Porsche 911 Carrera GTS, black wheels, on its way past the vines.", "vineyard", "noon",
        _car(_GTS, 0, 180, .50, .76), eye=1.2)
    add("Ferrara leans over the barrier for a Ferrari F12 Berlinetta.", "street", "noon",
        _car(_F12, 0, 40, .50, .80, -.12))
    add("Rain in Ferrara; the Bugatti Veyron Grand Sport Vitesse stays open.", "street", "rain",
        _car(_VITESSE, 0, 136, .50, 1.02, .1), upright=True, horizon=.50)
    add("Evening light under the arcades and on a Pagani Zonda F.", "square", "golden hour",
        _car(_ZONDA, 0, 3, .50, .80))
    add("Two generations of Pagani in one street: Huayra ahead, Zonda F behind.", "street", "noon",
        _car(_HUAYRA, 1, 30, .32, .58), _car(_ZONDA, 2, 30, .76, .44), horizon=.46, eye=1.5)
    add("A Porsche Carrera GT takes the coast road with the Adriatic at its shoulder.", "sea", "noon",
        _car(_CARRERA_GT, 0, 36, .50, .82, -.1))
    add("A wedge against the sea: white Lamborghini Countach at the end of the day.", "sea", "golden hour",
        _car(_COUNTACH, 1, 178, .50, .76), eye=1.15)
    add("Between two cars the coast belongs to the gulls.", "sea", "morning")
    add("Below the three towers of San Marino, a red Ferrari 458 Italia.", "rock", "morning",
        _car(_ITALIA, 0, 144, .54, .80, .12))
    add("Two Ferraris on the climb: an F12 Berlinetta leads a 458 Italia.", "rock", "golden hour",
        _car(_F12, 1, 146, .66, .58, .1), _car(_ITALIA, 1, 150, .24, .42), horizon=.46, eye=1.5)
    add("Showers over San Marino; a grey 911 Carrera GTS keeps its lights on.", "rock", "rain",
        _car(_GTS, 1, 34, .48, .78, -.1))
    add("A black and blue Bugatti Veyron Grand Sport Vitesse among the ruins of Rome.", "rome", "noon",
        _car(_VITESSE, 0, 3, .50, .82))
    add("Not on any entry list: a small city car on its daily round in Rome.", "rome", "golden hour",
        _car(OTHERS[2].id, 0, 32, .50, .52))
    add("Four round lights and nobody awake: a Pagani Huayra in Rome after midnight.", "rome", "night",
        _car(_HUAYRA, 0, 48, .50, .80, -.15))
    add("Dusk in Rome, drawn along the flank of a Mercedes-Benz SLR McLaren.", "rome", "dusk",
        _car(_SLR, 2, 2, .50, .84))
    add("Heard first, then seen: a Lamborghini Countach in the motorway tunnel.", "tunnel", "tunnel",
        _car(_COUNTACH, 0, 76, .52, .96), eye=1.2)
    add("The twin humps of a Porsche Carrera GT, gone into the tunnel.", "tunnel", "tunnel",
        _car(_CARRERA_GT, 2, -68, .52, 1.2), upright=True, horizon=.48, eye=1.5)
    add("The red Ferrari 599 SA Aperta waits for the stamp in Siena's square.", "square", "noon",
        _car(_APERTA, 0, 4, .50, .82))
    add("The square at dusk: everyone is here except the cars.", "square", "dusk")
    add("Four pipes in one ring: a Pagani Zonda F leaves the square by night.", "square", "night",
        _car(_ZONDA, 0, -46, .48, .80))
    add("A blue Wiesmann on the white road, cypress after cypress.", "hills", "golden hour",
        _car(_WIESMANN, 0, 180, .50, .78))
    add("South of Siena, from behind: a dark Porsche Carrera GT.", "hills", "noon",
        _car(_CARRERA_GT, 1, -38, .48, .80))
    add("An SLR McLaren lets a 599 SA Aperta by on the gravel.", "hills", "morning",
        _car(_APERTA, 1, 32, .32, .58, -.1),
        _car(_SLR, 1, 28, .76, .44), horizon=.46, eye=1.5)
    add("The last one sees of most Huayras: the four pipes.", "hills", "morning", _car(_HUAYRA, 0, -78, .50, .92),
        away=True)
    add("Doors up before the city gate: a yellow Lamborghini Countach takes a break.", "gate", "noon",
        _car("countach with open doors", 2, 40, .50, .70), horizon=.48, eye=1.4)
    add("Two Porsches in the Florentine rain: Carrera GT and 911 Carrera GTS.", "gate", "rain",
        _car(_CARRERA_GT, 0, 34, .32, .58, -.1), _car(_GTS, 2, 36, .76, .43), horizon=.46, eye=1.5)
    add("A wine-red berlinetta of the 1960s, older than most who wave at it.", "gate", "golden hour",
        _car(OTHERS[4].id, 2, 146, .52, .74, .1))
    add("A Veyron Grand Sport Vitesse meets a Wiesmann beside the ripe wheat.", "wheat", "golden hour",
        _car(_VITESSE, 1, 146, .66, .58, .1), _car(_WIESMANN, 2, 150, .24, .42), horizon=.46, eye=1.5)
    add("Straight at us, on the plain before Cremona: a Ferrari F12 Berlinetta.", "wheat", "noon",
        _car(_F12, 2, 66, .48, 1.25, -.1), upright=True, horizon=.50, eye=1.4, away=True)
    add("Back in Brescia by night: a Countach and a Zonda F before the same arch.", "start", "night",
        _car(_COUNTACH, 0, 36, .32, .58, -.1), _car(_ZONDA, 2, 142, .74, .46), horizon=.46, eye=1.5)
    return tuple(scenes)


def gallery_scenes() -> list[Scene]:
    """The 37 scenes of the sample gallery, number 1 first."""
    return list(_all())
