"""Calipers of a reader: which lesion they belong to, until when they count, and how they are undone."""

import csv
import itertools
import math

import numpy as np
import pytest

from sonoseg.core.measure import find_lesions
from sonoseg.errors import InputError
from sonoseg.serve.calipers import (
    after_change,
    by_hand,
    diameters_text,
    note_on,
    put_down,
    spacing_of,
    split_calipers,
)
from sonoseg.serve.edits import Edit
from sonoseg.serve.limits import Limits
from sonoseg.serve.patch import to_text
from sonoseg.serve.pool import Pool
from sonoseg.serve.records import Finding
from sonoseg.serve.refusal import Refused
from sonoseg.serve.session import Session

MASK = np.zeros((60, 80), bool)
MASK[10:30, 10:40] = True
MASK[40:50, 50:70] = True
LARGE, SMALL = (10, 10, 30, 20), (50, 40, 20, 10)
LINES = [[52, 45, 66, 45], [60, 41, 60, 49]]


def lesions(spacing=None, mask=MASK):
    return find_lesions(mask, mask.astype(np.float32), spacing=spacing)


def changed(*parts):
    """The mask with rectangles (x, y, width, height) set to a value."""
    mask = MASK.copy()
    for (x, y, width, height), value in parts:
        mask[y : y + height, x : x + width] = value
    return mask


def is_measured(text, mask):
    return by_hand(lesions(mask=mask), text, None)[1]


def test_lines_belong_to_the_lesion_on_which_they_were_put():
    text = put_down("", MASK, SMALL, LINES)
    found, is_by_hand = by_hand(lesions((0.1, 0.2)), text, (0.1, 0.2))
    assert is_by_hand == [False, True]
    assert found[0] == lesions((0.1, 0.2))[0]
    assert math.isclose(found[1].longest.length, 14 * 0.2)
    assert math.isclose(found[1].across.length, 8 * 0.1)
    assert found[1].pixels == 200


def test_lines_may_lead_far_away_from_their_lesion():
    text = put_down("", MASK, SMALL, [[0, 0, 40, 25], [12, 12, 20, 12]])
    assert is_measured(text, MASK) == [False, True]


def test_the_longer_line_is_the_long_axis_whatever_was_drawn_first():
    found, _ = by_hand(lesions(), put_down("", MASK, SMALL, LINES[::-1]), None)
    assert (found[1].longest.length, found[1].across.length) == (14, 8)
    assert diameters_text(found).endswith("; 14 x 8 px")


def test_a_lesion_is_measured_again_and_calipers_are_taken_away():
    text = put_down(put_down("", MASK, SMALL, LINES), MASK, LARGE, LINES)
    assert is_measured(text, MASK) == [True, True]
    again = put_down(text, MASK, SMALL, [[50, 45, 70, 45], LINES[1]])
    assert len(split_calipers(again)) == 2
    assert by_hand(lesions(), again, None)[0][1].longest.length == 20
    assert is_measured(put_down(text, MASK, SMALL, []), MASK) == [True, False]
    assert put_down(text, MASK, (0, 0, 0, 0), []) == ""


@pytest.mark.parametrize(
    "parts",
    [
        [((40, 12, 2, 8), True)],  # a little more at one edge
        [((10, 10, 2, 20), False)],  # a little less
        [((20, 15, 10, 5), False)],  # a hole
        [((75, 5, 4, 4), True)],  # another lesion
    ],
)
def test_a_corrected_edge_keeps_the_measurement(parts):
    mask = changed(*parts)
    text = after_change(put_down("", MASK, LARGE, LINES), mask)
    assert is_measured(text, mask)[0]
    assert note_on(text, lesions(mask=mask), is_measured(text, mask)) == ""


@pytest.mark.parametrize(
    "parts",
    [
        [((24, 10, 2, 20), False)],  # cut in two
        [(LARGE, False), ((22, 17, 6, 6), True)],  # another one in its place
        [((5, 5, 45, 30), True)],  # painted over
        [((30, 29, 22, 12), True)],  # joined with the other one
        # its box is the same, but it is thin
        [((12, 10, 28, 17), False), ((38, 10, 2, 20), True)],
    ],
)
def test_calipers_of_a_lesion_that_is_another_one_now_do_not_count(parts):
    mask = changed(*parts)
    text = after_change(put_down("", MASK, LARGE, LINES), mask)
    assert is_measured(text, mask) == [False] * len(lesions(mask=mask))
    note = note_on(text, lesions(mask=mask), is_measured(text, mask))
    assert "outline that has changed since" in note
    # Painted again, it may be another one.
    back = after_change(text, MASK)
    assert is_measured(back, MASK) == [False, False]
    # The other lesion has not changed, and nothing is said of it.
    assert "lesion 1" in note_on(back, lesions(), [False, False])
    measured = put_down(back, MASK, LARGE, LINES)
    assert note_on(measured, lesions(), is_measured(measured, MASK)) == ""
    assert len(split_calipers(measured)) == 1


def test_two_measured_lesions_that_are_joined_have_no_measurement():
    text = put_down(put_down("", MASK, SMALL, LINES), MASK, LARGE, LINES)
    mask = changed(((30, 29, 22, 12), True))
    assert is_measured(after_change(text, mask), mask) == [False]


def test_nothing_is_said_where_the_lesion_is_gone():
    mask = changed((LARGE, False))
    text = after_change(put_down("", MASK, LARGE, LINES), mask)
    assert note_on(text, lesions(mask=mask), [False]) == ""
    empty = np.zeros_like(MASK)
    assert note_on(after_change(text, empty), lesions(mask=empty), []) == ""


@pytest.mark.parametrize(
    "lines",
    [
        [[1, 2, 3, 4]],
        [[1, 2, 3], [1, 2, 3, 4]],
        [[math.nan, 2, 3, 4], [1, 2, 3, 4]],
        [[1, 2, 3, math.inf], [1, 2, 3, 4]],
        [[1.0, 2.0, 3.0, 4.0]] * 3,
        [[1.0, 2.0, 3.0, 4.0], [5.0, 5.0, 5.0, 5.001]],
    ],
)
def test_what_are_no_lines_is_refused(lines):
    with pytest.raises(InputError):
        put_down("", MASK, SMALL, lines)


def test_too_many_are_refused():
    mask = np.zeros((4, 400), bool)
    mask[1, 1::4] = True
    text = ""
    for x in range(1, 201, 4):
        text = put_down(text, mask, (x, 1, 1, 1), LINES)
    with pytest.raises(InputError):
        put_down(text, mask, (201, 1, 1, 1), LINES)


def test_a_lesion_that_is_not_there_is_not_measured():
    with pytest.raises(Refused):
        put_down("", MASK, (50, 40, 20, 11), LINES)


def test_the_spacing_that_the_page_shows_is_that_of_the_file():
    own = (0.1 + 1e-12, 0.1)
    assert spacing_of(Finding(spacing="0.1"), own) == own
    assert spacing_of(Finding(), own) == own
    assert spacing_of(Finding(spacing="0.2"), own) == (0.2, 0.2)
    assert spacing_of(Finding(), None) is None


class Reader:
    """Anna at one image: what she does, and what she sees then."""

    def __init__(self, folder, segmenter):
        limits = Limits()
        self.session = Session(folder, segmenter, Pool(limits), limits)
        entries = self.session.entries("anna")
        found = next(one["id"] for one in entries if one["name"] == "one.png")
        self.shot = self.session.album.shot(found)
        self.keys = (f"key-{number:08d}" for number in itertools.count())

    @property
    def view(self):
        return self.session.view(self.shot, "anna")

    @property
    def shown(self):
        """The longest diameter of the largest lesion, and whether it is by hand."""
        view = self.view
        return view.lesions[0].longest.length, view.by_hand[0]

    def do(self, tool, **values):
        edit = Edit(next(self.keys), self.view.revision, tool, **values)
        self.session.edit(self.shot, "anna", edit)

    def measure(self, length):
        x, y, width, height = self.view.lesions[0].box
        lines = [[x, y, x + length, y], [x, y, x, y + 1]]
        self.do("calipers", x=x, y=y, width=width, height=height, lines=lines)

    def paint(self, x, y, width, height):
        bits = to_text(np.ones((height, width), bool))
        self.do("brush", x=x, y=y, width=width, height=height, bits=bits)

    def accept(self):
        view = self.view
        self.session.write_finding(self.shot, "anna", Finding("benign"))
        self.session.accept(self.shot, "anna", view.revision)

    def row(self):
        table = self.session.folder / "anna" / "labels.csv"
        (row,) = csv.DictReader(table.open(newline=""))
        return row


@pytest.fixture
def anna(folder, segmenter):
    reader = Reader(folder, segmenter)
    yield reader
    reader.session.close()


def test_what_was_done_last_is_undone_first_be_it_a_stroke_or_calipers(
    anna, folder, segmenter
):
    own = anna.shown
    anna.paint(1, 1, 3, 3)
    anna.measure(300)
    painted = anna.view.mask
    anna.measure(400)
    anna.paint(1, 1, 4, 4)
    anna.do("undo")
    np.testing.assert_array_equal(anna.view.mask, painted)
    assert anna.shown == (400, True)
    anna.do("undo")
    assert anna.shown == (300, True)
    anna.do("undo")
    assert anna.shown == own
    np.testing.assert_array_equal(anna.view.mask, painted)
    anna.do("redo")
    again = Reader(folder, segmenter)
    assert again.shown == anna.shown == (300, True)
    assert (again.view.undo, again.view.redo) == (2, 2)
    assert again.view.state == "edited"


def test_calipers_of_a_deleted_lesion_are_not_those_of_the_next_one(
    anna, folder, segmenter
):
    view = anna.view
    x, y = (int(place) for place in view.lesions[0].centre)
    anna.measure(300)
    anna.accept()
    assert anna.row()["diameters"].startswith("300 x 1 px")
    anna.do("delete", x=x, y=y)
    anna.paint(x - 5, y - 5, 10, 10)
    assert not any(anna.view.by_hand)
    (note,) = anna.view.notes
    assert "has changed since" in note
    again = Reader(folder, segmenter)
    assert again.view.notes == [note]
    anna.accept()
    assert anna.row()["diameters"].startswith("14.14 x 14.14 px")
    anna.do("undo")
    anna.do("undo")
    assert anna.shown == (300, True)
    assert anna.view.state == "changed"
    assert anna.view.notes == []


def test_what_was_accepted_is_changed_by_calipers(anna):
    anna.accept()
    anna.measure(300)
    assert anna.view.state == "changed"
    assert not anna.row()["diameters"].startswith("300")
    anna.accept()
    assert anna.view.state == "accepted"
    assert anna.row()["diameters"].startswith("300 x 1 px")
    anna.session.withdraw(anna.shot, "anna")
    assert (anna.shown, anna.view.state) == ((300, True), "edited")


def test_a_window_that_did_not_see_the_calipers_is_refused(anna, folder, segmenter):
    other = Reader(folder, segmenter)
    seen = other.view.revision
    anna.measure(300)
    with pytest.raises(Refused):
        other.session.edit(other.shot, "anna", Edit("key-of-other", seen, "clear"))
    with pytest.raises(Refused):
        other.session.accept(other.shot, "anna", seen)
    assert other.shown == (300, True)
