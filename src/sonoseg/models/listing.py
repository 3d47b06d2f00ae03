"""`sonoseg models`: the catalog as a table or JSON."""

from __future__ import annotations

import json

from sonoseg.models.catalog import list_models
from sonoseg.report.tables import text_table


def print_models(as_json: bool) -> None:
    """Prints every network with its parameter counts."""
    rows = list_models()
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    header = ("name", "encoders", "attention", "frozen", "loss", "parameters", "trainable", "note")
    table = [
        (
            row["name"],
            "+".join(row["encoders"]) or "-",
            row["attention"],
            "yes" if row["frozen"] else "no",
            row["loss"],
            row["total_params"],
            row["trainable_params"],
            row["note"].partition(":")[0],
        )
        for row in rows
    ]
    print(text_table(header, table))
