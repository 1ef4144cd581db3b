"""The card: `metrics.json` as tables between the markers of `README.md`, and the confusion as a picture."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

NAMES = "196 names"  # of Stanford Cars
WIDE = "the catalog `sports-cars`"
TAGS_ERROR = "calibration error of the tags, as many cars of the catalog as others"
STRANGERS = "cars under a catalog of eleven cars nobody taught: left untagged"


def confusion_picture(cars: list[str], confusion: np.ndarray, to: Path) -> None:
    """Draws rows (truth) by columns (answer) of the eleven-way decision, counts in the cells."""
    cell, left, top = 44, 290, 60
    size = (left + cell * len(cars) + 20, top + cell * len(cars) + 20)
    image = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(15)
    for i, car in enumerate(cars):
        y = top + i * cell
        pen.text((8, y + 13), f"{i + 1:2d}  {car}", fill="black", font=font)
        pen.text((left + i * cell + 14, top - 26), str(i + 1), fill="black", font=font)
        for j, count in enumerate(confusion[i]):
            share = count / max(1, confusion[i].sum())
            colour = (
                (int(255 - 205 * share), int(255 - 150 * share), 255)
                if i == j
                else (255, int(255 - 190 * share), int(255 - 190 * share))
            )
            x = left + j * cell
            pen.rectangle((x, y, x + cell, y + cell), fill=colour, outline=(210, 210, 210))
            if count:
                pen.text((x + 13, y + 13), str(int(count)), fill="black", font=font)
    pen.text((left, 8), "answer among the eleven (rows: what it is)", fill="black", font=font)
    image.save(to, optimize=True)


def share(part: int, whole: int) -> str:
    """A share in words."""
    return f"{100 * part / whole:.1f} % ({part}/{whole})" if whole else "none"


def reached(part: int, whole: int, goal: str, floor: str) -> str:
    """Whether a share meets bounds such as '>= 88 %'."""

    def meets(bound: str) -> bool:
        sign, number, _ = bound.split()
        value = 100 * part / max(whole, 1)
        return value >= float(number) if sign == ">=" else value <= float(number)

    return "" if " " not in goal else "goal met" if meets(goal) else "floor met" if meets(floor) else "below the floor"


def tables(metrics: dict[str, Any]) -> str:
    """The figures of metrics.json as Markdown."""
    found = metrics["cross_validation"]
    parts = [
        goals_table(found, metrics["stanford"]),
        more_table(found),
        taught_table(found["names_by_photographs"]),
        modes_table(found["decisions_by_mode"]),
        cars_table(found["per_car"]),
        shipped_table(metrics),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts)


def goals_table(m: dict[str, Any], stanford: dict[str, Any]) -> list[str]:
    """What was aimed at."""
    d, wide = m["decisions"], m["wide"]
    worst = round(1000 * min(m["free_text_precision_at_10"].values(), default=0.0))
    goals = [
        ("eleven cars, top-1 among the eleven", m["eleven_top1"], m["eleven_photos"], ">= 92 %", ">= 86 %"),
        ("right car tagged", d["right"], d["eleven"], ">= 80 %", ">= 70 %"),
        ("... wrong car tagged", d["wrong"], d["eleven"], "<= 2 %", "<= 3 %"),
        ("other cars wrongly tagged with one of the eleven", d["other_tagged"], d["other"], "<= 4 %", "<= 6 %"),
        ("photographs without a car: `no-car`", d["none_no_car"], d["none"], ">= 99 %", ">= 97 %"),
        ("... tagged with a car", d["none_tagged"], d["none"], "<= 0 %", "<= 0.5 %"),
        ("all names with training photographs, top-1", m["names_top1"], m["names_photos"], ">= 62 %", ">= 54 %"),
        ("... top-5", m["names_top5"], m["names_photos"], ">= 85 %", ">= 78 %"),
        (f"{WIDE}: right tag where at most 5 % are wrong", wide["sure_right"], wide["photos"], ">= 50 %", ">= 40 %"),
        (f"Stanford crops held out, {NAMES} by text, top-1", stanford["top1"], stanford["crops"], ">= 91 %", ">= 88 %"),
        (TAGS_ERROR, round(1000 * m["ece_of_tags"]), 1000, "<= 4 %", "<= 6 %"),
        ("AUROC, named against other cars", round(1000 * m["auroc_named_vs_other"]), 1000, ">= 94 %", ">= 91 %"),
        ("free text, the worst of the descriptions below", worst, 1000, ">= 90 %", ">= 80 %"),
        (STRANGERS, m["strangers_untagged"], m["strangers_photos"], "mostly", "mostly"),
    ]
    return [
        f"| {m['photos']} photographs held out, in {m['folds']} trainings | figure | goal | floor | |",
        "|---|---|---|---|---|",
        *(
            f"| {what} | {share(part, whole).removesuffix(f' ({part}/1000)')} | {goal} | {floor} | "
            f"{reached(part, whole, goal, floor)} |"
            for what, part, whole, goal, floor in goals
        ),
    ]


def more_table(m: dict[str, Any]) -> list[str]:
    """What else there is to know of the same photographs."""
    (low, high), w, u = m["eleven_top1_interval"], m["wide"], m["unlisted"]
    return [
        "| more on the same photographs | figure |",
        "|---|---|",
        f"| 95 % interval of the eleven-way top-1 | {100 * low:.0f}-{100 * high:.0f} % |",
        f"| eleven-way top-1, mean over the {m['shoots']} shoots (a press set of 23 counts as one) | "
        f"{100 * m['eleven_top1_mean_of_shoots']:.1f} % |",
        f"| right car tagged, mean over the shoots | {100 * m['right_tagged_mean_of_shoots']:.1f} % |",
        f"| {WIDE}, its cars: top-1 / top-5 | {share(w['top1'], w['photos'])} / {share(w['top5'], w['photos'])} |",
        f"| ... tagged as the tool does: right / wrong | {share(w['right'], w['photos'])} / "
        f"{share(w['wrong'], w['photos'])} |",
        f"| ... wrong where at most 5 % are to be, by the other folds | {share(w['sure_wrong'], w['photos'])} |",
        f"| cars that are not in it: tagged as the tool does / where at most 5 % are to be wrong | "
        f"{share(w['others_tagged'], w['others'])} / {share(w['others_sure'], w['others'])} |",
        f"| other cars that are `unknown`: called by a name, and rightly | {share(u['named'], u['photos'])}, "
        f"{share(u['named_right'], u['named'])} |",
        f"| ... by their make alone, and rightly | {share(u['made'], u['photos'])}, "
        f"{share(u['made_right'], u['made'])} |",
        *(
            f'| free text "{q}", precision at 10, mean of the folds | {100 * v:.0f} % |'
            for q, v in m["free_text_precision_at_10"].items()
        ),
    ]


def taught_table(by_photographs: list[dict[str, Any]]) -> list[str]:
    """How well names are known by how many photographs taught them, and by crops as well."""
    lines = ["| a name was taught by | held-out photographs | top-1 among all names | top-5 |", "|---|---|---|---|"]
    for row in by_photographs:
        photos = row["names_photos"]
        if "by_crops" in row:
            by = "photographs, and crops of the same car"
        else:
            least, most = row["least"], row["most"]
            number = str(least) if least == most else f"{least} to {most}" if most < 1000 else f"{least} and more"
            by = f"{number} photograph{'s' if most > 1 else ''}"
        top1, top5 = (share(row[which], photos) for which in ("names_top1", "names_top5"))
        lines.append(f"| {by} | {photos} | {top1} | {top5} |")
    return lines


def modes_table(by_mode: dict[str, dict[str, int]]) -> list[str]:
    """What the setting `mode` does."""
    return [
        "| setting `mode` | right car tagged | wrong car tagged | other cars tagged | tagged without a car |",
        "|---|---|---|---|---|",
        *(
            f"| {mode} | {share(v['right'], v['eleven'])} | {share(v['wrong'], v['eleven'])} | "
            f"{share(v['other_tagged'], v['other'])} | {share(v['none_tagged'], v['none'])} |"
            for mode, v in by_mode.items()
        ),
    ]


def cars_table(per_car: list[dict[str, Any]]) -> list[str]:
    """Car by car."""
    lines = [
        "| car | photographs | top-1 among the eleven | 95 % interval | tagged | tagged on photographs of others |",
        "|---|---|---|---|---|---|",
    ]
    for c in per_car:
        low, high = c["interval"]
        lines.append(
            f"| {c['car']} | {c['photos']} | {c['top1']} | {100 * low:.0f}-{100 * high:.0f} % | {c['tagged']} | "
            f"{c['tagged_on_others']} |"
        )
    return lines


def shipped_table(metrics: dict[str, Any]) -> list[str]:
    """The model that ships, on other pictures."""
    stanford, drawn, colours = (metrics[part] for part in ("stanford", "drawings", "colour_and_model_precision_at_10"))
    bodies = ", ".join(f"{k} {100 * v:.0f} %" for k, v in stanford["body_precision_at_10"].items())
    d = drawn["decisions"]
    return [
        "| shipped model, on pictures that are no held-out photographs | figure |",
        "|---|---|",
        f"| Stanford crops, {NAMES} by text, top-1 / top-5 | {share(stanford['top1'], stanford['crops'])} / "
        f"{share(stanford['top5'], stanford['crops'])} |",
        f"| body styles by free text on them, precision at 10 | {bodies} |",
        '| colour and model by free text ("red porsche boxster") among the 2,488 cut-outs, which are training '
        f"pictures: mean precision at 10 over {len(colours)} queries | "
        f"{100 * float(np.mean(list(colours.values()))):.0f} % |",
        f"| drawings of one car, top-1 among the eleven | {share(drawn['top1'], drawn['one_car'])} |",
        f"| drawings: right car tagged / wrong car tagged | {share(d['right'], d['eleven'])} / "
        f"{share(d['wrong'], d['eleven'])} |",
    ]


def write_card(out: Path, metrics: dict[str, Any]) -> None:
    """Puts the tables between the markers of README.md."""
    path = out / "README.md"
    if path.exists():
        text = path.read_text(encoding="utf-8")
        text = re.sub(
            r"(<!-- tables -->\n).*?(<!-- end of tables -->)",
            lambda found: found.group(1) + tables(metrics) + "\n" + found.group(2),
            text,
            flags=re.DOTALL,
        )
        path.write_text(text, encoding="utf-8")
