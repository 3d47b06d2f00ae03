"""The table of an archive: one row per image, or per region and frame of a DICOM file. Each shard writes a part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import compute, parquet

from sonoseg.core.image import ImageSource
from sonoseg.errors import visible
from sonoseg.files import atomic_path
from sonoseg.reader.result import SegmentationResult

Row = dict[str, Any]
PASSED_OVER = b"passed_over"
"""Key of the metadata of a part: how many of its files are no ultrasound."""
_MALIGNANCY = pa.struct(
    [
        ("probability", pa.float64()),
        ("interval", pa.list_(pa.float64())),
        ("withheld", pa.string()),
    ]
)
_LESION = pa.struct(
    [
        ("area", pa.float64()),
        ("longest_diameter", pa.float64()),
        ("perpendicular_diameter", pa.float64()),
        ("mean_probability", pa.float64()),
        (
            "box",
            pa.struct([(name, pa.int32()) for name in ("x", "y", "width", "height")]),
        ),
        ("centre", pa.list_(pa.float64())),
        ("malignancy", _MALIGNANCY),
    ]
)
SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("frame", pa.int32()),
        ("region", pa.list_(pa.int32())),
        ("state", pa.string()),
        ("reason", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("unit", pa.string()),
        ("spacing", pa.list_(pa.float64())),
        ("unfamiliarity", pa.float64()),
        ("doubts", pa.list_(pa.string())),
        ("lesions", pa.list_(_LESION)),
        ("mask", pa.string()),
    ]
)


def row_of(name: str, result: SegmentationResult, mask: str | None) -> Row:
    """The row of an image. Its lesions have their malignancy, but no descriptors: these take a third of the time that
    the network takes.

    Args:
        name: of the file.
        result: of the image.
        mask: where the mask is; None without a lesion.
    """
    row: Row = {"file": visible(name), "state": "segmented", "mask": mask}
    source = result.record.source
    if isinstance(source, ImageSource):
        row |= {"frame": source.frame, "region": source.region}
    found = result.to_dict(described=False)
    for lesion, entry in zip(result.lesions, found["lesions"], strict=True):
        malignancy = lesion.malignancy
        entry["malignancy"] = malignancy and malignancy.to_dict()
    spacing = found.pop("spacing")
    row["spacing"] = None if spacing is None else spacing["mm_per_pixel"]
    return row | found


def failed_row(name: str, reason: str) -> Row:
    """The row of a file that cannot be segmented."""
    return {"file": visible(name), "state": "failed", "reason": visible(reason)}


def write_part(path: Path, rows: Sequence[Row], passed_over: int) -> None:
    """Writes the part of a shard, to a path, not atomically."""
    table = pa.Table.from_pylist(list(rows), schema=SCHEMA)
    table = table.replace_schema_metadata({PASSED_OVER: str(passed_over)})
    parquet.write_table(table, path, compression="zstd")


@dataclass
class Totals:
    """What the table says altogether.

    Attributes:
        images: rows.
        with_lesion: rows with at least one lesion.
        doubtful: rows with doubts.
        failed: rows of files that could not be segmented.
        passed_over: files that are no ultrasound, and have no row.
    """

    images: int = 0
    with_lesion: int = 0
    doubtful: int = 0
    failed: int = 0
    passed_over: int = 0

    def add(self, table: pa.Table) -> None:
        """Counts the rows of a part."""
        self.images += table.num_rows
        self.with_lesion += table.num_rows - table["mask"].null_count
        doubts = compute.list_value_length(table["doubts"])
        self.doubtful += compute.sum(compute.greater(doubts, 0)).as_py() or 0
        is_failed = compute.equal(table["state"], "failed")
        self.failed += compute.sum(is_failed).as_py() or 0
        self.passed_over += int(table.schema.metadata[PASSED_OVER])


def join_parts(
    parts: Mapping[int, Path], last: Mapping[str, int], target: Path
) -> Totals:
    """Writes all parts as one table; one of them is in memory at a time.

    Args:
        parts: number of a shard → its part.
        last: name of a file that is in several shards → the last one. Its rows of the others are left out.
        target: the file to write.

    Returns:
        the numbers of what the table has.
    """
    totals = Totals()
    with (
        atomic_path(target) as temporary,
        parquet.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer,
    ):
        for number, part in parts.items():
            table = parquet.read_table(part)
            if last:
                files = table["file"].to_pylist()
                is_last = [last.get(file, number) == number for file in files]
                table = table.filter(pa.array(is_last, pa.bool_()))
            totals.add(table)
            writer.write_table(table.replace_schema_metadata(None))
    return totals
