"""Hand labels with boxes: what a row says of one car of a photo, and how such rows are written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from cartag.errors import LabelsError
from cartag.measuring import BoxLabel, Label
from cartag.measuring.labelfile import LabelFile
from cartag.measuring.labels import read_labels
from cartag.values import Box, IndexedCar

CARS = (
    IndexedCar(id="red-racer", name="Red Racer", make="Rossi", aliases=("Scuderia",)),
    IndexedCar(id="blue-bolt", name="Blue Bolt", make="Volt"),
)
RED, BLUE = frozenset({"red-racer"}), frozenset({"blue-bolt"})
LEFT, RIGHT = (0.1, 0.2, 0.3, 0.4), (0.5, 0.25, 0.5, 0.5)
HEADER = "file,label,x,y,w,h\n"


def read(folder: Path, text: str) -> list[Label]:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return read_labels(path, CARS)


def test_a_row_a_box_and_one_for_the_photo_as_a_whole(tmp_path: Path) -> None:
    rows = "a.jpg,Scuderia,.1,.2,.3,.4\nb.jpg,none,,,,\na.jpg,unknown,0.5,0.25,0.5,0.5\na.jpg,Blue Bolt,,,,\nc.jpg,Blue Bolt\n"
    a, b, c = read(tmp_path, HEADER + rows)
    assert (a.cars, a.other, a.truth) == (RED | BLUE, ("unknown",), "car")
    assert a.boxes == (BoxLabel(LEFT, RED, ()), BoxLabel(RIGHT, frozenset(), ("unknown",)))
    assert (b.truth, b.boxes) == ("none", ())
    assert (c.cars, c.boxes) == (BLUE, ())


@pytest.mark.parametrize("header", ["File,LABEL,X,Y,W,H", " file,label , x,Y,w,H", "x,y,w,h,file,label"])
def test_the_columns_are_known_in_any_case_and_order(tmp_path: Path, header: str) -> None:
    cells = dict(zip(("file", "label", *"xywh"), ("a.jpg", "red-racer", *map(str, LEFT)), strict=True))
    row = ",".join(cells[name.strip().lower()] for name in header.split(","))
    (label,) = read(tmp_path, f"{header}\n{row}\n")
    assert label == Label("a.jpg", RED, (), (BoxLabel(LEFT, RED, ()),))


@pytest.mark.parametrize("mark", [";", "\t"])
def test_a_decimal_comma_is_read_where_commas_part_no_columns(tmp_path: Path, mark: str) -> None:
    text = "file;label;x;y;w;h\na.jpg;red-racer;0,1;0,2;0.3;,4\n".replace(";", mark)
    assert read(tmp_path, text) == [Label("a.jpg", RED, (), (BoxLabel(LEFT, RED, ()),))]
    with pytest.raises(LabelsError, match=r"line 2: the box 0,1, 1\.0,2, .* is no four numbers"):
        read(tmp_path, text.replace("0,2", "1.0,2"))


def test_columns_that_are_not_all_four_are_further_columns(tmp_path: Path) -> None:
    (label,) = read(tmp_path, "file,label,x,y,File\na.jpg,Red Racer,120,somewhere,b.jpg\n")
    assert label == Label("a.jpg", RED, ())


def test_the_same_row_twice_is_one_box(tmp_path: Path) -> None:
    row = "a.jpg,Red Racer,0.1,0.2,0.3,0.4\n"
    (label,) = read(tmp_path, HEADER + row + row.replace("Red Racer", "SCUDERIA"))
    assert len(label.boxes) == 1


@pytest.mark.parametrize(
    ("rows", "place"),
    [
        ("a.jpg,Red Racer,0.1,0.2,0.3,\n", "line 2: a box is x, y, w and h; fill all four"),
        ("a.jpg,Red Racer,0.1\n", "line 2: a box is x, y, w and h"),
        ('a.jpg,Red Racer,"0,1",0.2,0.3,0.4\n', "line 2: the box 0,1, .* is no four numbers"),
        ("b.jpg,none\na.jpg,Red Racer,0.1,0.2,0,0.4\n", "line 3: the box .* has no size"),
        ("a.jpg,Red Racer,120,80,300,200\n", "line 2: the box .* lies outside of the photo"),
        ("a.jpg,Red Racer,-0.1,0,0.5,0.5\n", "line 2: the box .* lies outside"),
        ("a.jpg,Red Racer,nan,0,0.5,0.5\n", "line 2: the box .* lies outside"),
        ("a.jpg,Red Racer,0,0,inf,0.5\n", "line 2: the box .* lies outside"),
        ("a.jpg,Red Racer,0,0,nan,0.5\n", "line 2: the box .* has no size"),
        ("a.jpg,none,0,0,1,1\n", "line 2: 'none' with a box"),
        ("a.jpg,none\na.jpg,unknown,0,0,1,1\n", "line 3: a.jpg has a car in a box at line 3, and none at line 2"),
        ("a.jpg,unknown,0,0,1,1\na.jpg,none\n", "line 3: a.jpg has a car in a box at line 2, and none at line 3"),
        ("a.jpg,unknown,0,0,1,1\na.jpg,Red Racer,0,0,1,1\n", "line 3: a.jpg is labelled otherwise at line 2"),
        ("a.jpg,Red Racer\na.jpg,Blue Bolt\n", "line 3: a.jpg is labelled otherwise at line 2"),
        ("a.jpg,,0,0,1,1\n", "line 2: a row needs a file and a label"),
    ],
)
def test_a_mistake_is_named_with_file_line_and_reason(tmp_path: Path, rows: str, place: str) -> None:
    with pytest.raises(LabelsError, match=rf"labels\.csv: {place}") as raised:
        read(tmp_path, HEADER + rows)
    assert "\n" not in str(raised.value)


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="line 1: two columns are called 'x'"):
        read(tmp_path, "file,label,x,y,w,h,X,x\na.jpg,none\n")


# --- writing ----------------------------------------------------------------------------------------------------


def label(*boxes: BoxLabel, cars: frozenset[str] = frozenset(), other: tuple[str, ...] = ()) -> Label:
    others = dict.fromkeys((*other, *(name for box in boxes for name in box.other)))
    return Label("a.jpg", cars.union(*(box.cars for box in boxes)), tuple(others), boxes)


def written(folder: Path, text: str | None, said: Label | None) -> str:
    """The file after that; what was said can be taken back, and is read back as it was said."""
    path = folder / "labels.csv"
    path.unlink(missing_ok=True)
    if text is not None:
        path.write_text(text, encoding="utf-8")
    file = LabelFile(path, CARS)
    before, rows = file.encode(), file.rows("a.jpg")
    change = file.say({"a.jpg": said})
    after = file.encode()
    if said is not None:
        path.write_bytes(after)
        found = {label.file: label for label in read_labels(path, CARS)}["a.jpg"]
        assert found == file.get("a.jpg")
        assert (found.cars, found.truth) == (said.cars, said.truth)
        assert not said.boxes or set(found.boxes) == set(said.boxes) or b"Trabant" in after
        assert LabelFile(path, CARS).say({"a.jpg": said}) == [], "the same again is no change"
    file.take_back(change)
    assert file.encode() == before
    file.take_back([(place, now, was) for place, was, now in change])
    file.put("a.jpg", rows)
    assert sorted(file.encode().splitlines()) == sorted(before.splitlines())
    return after.decode()


LEFT_RED, RIGHT_OTHER = BoxLabel(LEFT, RED, ()), BoxLabel(RIGHT, frozenset(), ("unknown",))
ONE, TWO = "0.1,0.2,0.3,0.4", "0.5,0.25,0.5,0.5"


def test_a_file_without_such_columns_gets_them_with_the_first_box(tmp_path: Path) -> None:
    assert written(tmp_path, None, label(LEFT_RED)) == f"{HEADER}a.jpg,Red Racer,{ONE}\n"
    text = "label,file,who\r\nnone,b.jpg,me\r\n"
    after = written(tmp_path, text, label(LEFT_RED, RIGHT_OTHER))
    new = [f"Red Racer,a.jpg,,{ONE}", f"unknown,a.jpg,,{TWO}"]
    assert after.split("\r\n") == ["label,file,who,x,y,w,h", "none,b.jpg,me", *new, ""]
    assert written(tmp_path, text, Label("a.jpg", RED, ())).startswith("label,file,who\r\n")


def test_new_rows_are_parted_and_pointed_as_those_that_are_there(tmp_path: Path) -> None:
    header = "label;file;x;y;w;h\r\n"
    assert written(tmp_path, header, label(LEFT_RED)) == f"{header}Red Racer;a.jpg;0.1;0.2;0.3;0.4\r\n"
    text = f"{header}none;b,1.jpg;;;;\r\nunknown;c.jpg;0,50;,25;0,5;0.5\r\n"
    assert written(tmp_path, text, label(LEFT_RED)) == f"{text}Red Racer;a.jpg;0,1;0,2;0,3;0,4\r\n"
    assert written(tmp_path, "file\tlabel\n", label(LEFT_RED)) == "\t".join(
        ("file", "label", "x", "y", "w", "h\na.jpg", "Red Racer", "0.1", "0.2", "0.3", "0.4\n")
    )


@pytest.mark.parametrize(("was", "now"), [(",", ";"), (";", ","), ("\t", ",")])
def test_a_row_comes_back_into_a_file_that_was_saved_with_other_delimiters_since(
    tmp_path: Path, was: str, now: str
) -> None:
    path, rows = tmp_path / "labels.csv", "a.jpg,Scuderia,0.1,0.2,0.3,0.4\n"
    path.write_text((HEADER + rows).replace(",", was).replace(".", "," if was != "," else "."), encoding="utf-8")
    if was != ",":
        path.write_text(path.read_text().replace("a,jpg", "a.jpg"), encoding="utf-8")
    kept = LabelFile(path, CARS).rows("a.jpg")
    path.write_text(HEADER.replace(",", now), encoding="utf-8")
    file = LabelFile(path, CARS)
    file.put("a.jpg", kept)
    assert file.encode().decode() == (HEADER + rows).replace(",", now)


@pytest.mark.parametrize(
    ("rows", "said", "after"),
    [
        (f"a.jpg,Scuderia,{ONE}", label(LEFT_RED), f"a.jpg,Scuderia,{ONE}"),
        ("a.jpg,Red Racer,,,,", label(LEFT_RED), "a.jpg,Red Racer,,,,|a.jpg,Red Racer,0.1,0.2,0.3,0.4"),
        ("a.jpg,Blue Bolt,,,,", label(LEFT_RED), f"a.jpg,Red Racer,{ONE}"),
        (f"a.jpg,Trabant,{TWO}", label(RIGHT_OTHER), f"a.jpg,Trabant,{TWO}"),
        (f"a.jpg,Trabant,{TWO}", label(LEFT_RED, RIGHT_OTHER), f"a.jpg,Trabant,{TWO}|a.jpg,Red Racer,{ONE}"),
        (f"a.jpg,Blue Bolt,{ONE}", label(LEFT_RED, cars=BLUE), f"a.jpg,Red Racer,{ONE}|a.jpg,Blue Bolt,,,,"),
        (f"a.jpg,Red Racer,{ONE}|a.jpg,Blue Bolt,{TWO}", label(LEFT_RED), f"a.jpg,Red Racer,{ONE}"),
        # What says nothing of places leaves the boxes that go with it.
        (f"a.jpg,Red Racer,{ONE}", Label("a.jpg", RED, ()), f"a.jpg,Red Racer,{ONE}"),
        (f"a.jpg,Red Racer,{ONE}|a.jpg,unknown,{TWO}", Label("a.jpg", RED, ()), f"a.jpg,Red Racer,{ONE}"),
        (f"a.jpg,Red Racer,{ONE}", Label("a.jpg", RED | BLUE, ()), f"a.jpg,Red Racer,{ONE}|a.jpg,Blue Bolt,,,,"),
        (f"a.jpg,Red Racer,{ONE}", Label("a.jpg", frozenset(), ()), "a.jpg,none,,,,"),
        (f"a.jpg,Red Racer,{ONE}|a.jpg,unknown,{TWO}", None, ""),
    ],
)  # fmt: skip
def test_rows_of_boxes_that_are_there(tmp_path: Path, rows: str, said: Label | None, after: str) -> None:
    other = "b.jpg,none,,,,\n"
    found = written(tmp_path, HEADER + rows.replace("|", "\n") + "\n" + other, said)
    assert [line for line in found.splitlines()[1:] if line != other.strip()] == [
        line for line in after.split("|") if line
    ]
    assert other in found


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x, y = (draw(st.integers(0, 9_000)) for _ in range(2))
    w, h = (draw(st.integers(1, 10_000 - start)) for start in (x, y))
    return x / 1e4, y / 1e4, w / 1e4, h / 1e4


@st.composite
def box_labels(draw: st.DrawFn) -> BoxLabel:
    cars = draw(st.sampled_from([RED, BLUE, frozenset()]))
    return BoxLabel(draw(boxes()), cars, () if cars else ("unknown",))


@st.composite
def labels(draw: st.DrawFn) -> Label:
    found = draw(st.lists(box_labels(), max_size=4, unique_by=lambda box: box.box))
    return label(*found, cars=draw(st.sampled_from([frozenset(), RED, RED | BLUE])))


@given(st.lists(labels(), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_whatever_is_said_in_turn_is_read_back(tmp_path_factory: pytest.TempPathFactory, turns: list[Label]) -> None:
    folder = tmp_path_factory.mktemp("labels")
    text: str | None = None
    for said in turns:
        text = written(folder, text, said)
