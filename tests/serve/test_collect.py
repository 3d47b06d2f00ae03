"""The tables of the data set that a reader makes."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from sonoseg.serve.collect import write_tables
from sonoseg.serve.records import Accepted, Finding, Network


@pytest.mark.parametrize(
    ("patients", "groups"),
    [
        (("", ""), ["", ""]),
        (("p1", "p1"), ["p1", "p1"]),
        # A table that names the patient of some images only is refused by `sonoseg train`.
        (("p1", ""), ["p1", "1.png"]),
    ],
)
def test_where_some_patients_are_known_each_other_image_is_a_group(
    tmp_path: Path, patients: tuple[str, ...], groups: list[str]
) -> None:
    network = Network("sonoseg-1", "1", "0" * 64)
    accepted = [
        Accepted(Finding("benign"), 0, f"{number}.png", patient, "", 0.0, network)
        for number, patient in enumerate(patients)
    ]
    write_tables(tmp_path, accepted, "anna")
    with (tmp_path / "labels.csv").open(newline="") as file:
        assert [row["group"] for row in csv.DictReader(file)] == groups
