"""`sonoseg segment ARCHIVE` with workers: lists the files, segments what is missing, and joins the table."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sonoseg.archive.files import add_list, lists_in, names_in, read_lists
from sonoseg.archive.shard import MASKS, PARTS, ArchiveSettings, Shard
from sonoseg.archive.table import Totals, join_parts
from sonoseg.cluster import Workers
from sonoseg.core.image import parse_spacing
from sonoseg.errors import InputError, visible
from sonoseg.files import is_folder, is_there, output_folder, write_json
from sonoseg.inputs import read_json
from sonoseg.jobs import Countdown, outcomes
from sonoseg.lock import held
from sonoseg.progress import ProgressLine
from sonoseg.reader.segmenter import load

MANIFEST, TABLE = "manifest.json", "results.parquet"
SHARD = 256
"""Files of a shard: enough that the work of the scheduler does not count, and little to lose."""
_logger = logging.getLogger(__name__)


def archive_command(
    paths: Sequence[Path],
    model: Path | str = "default",
    out: Path = Path("segmented"),
    spacing: str | None = None,
    workers: int = 0,
    cluster: str = "",
    shard: int = SHARD,
    sensitivity: str | None = None,
    others: Mapping[str, object] | None = None,
) -> tuple[str, int]:
    """Segments all images in a folder and below. The same command resumes it, and segments what was added or
    changed since.

    Args:
        paths: one folder.
        model: a shipped name or a bundle file.
        out: a folder for manifest.json, results.parquet and masks/; see docs/reference.md.
        spacing: mm per pixel as a text, see `parse_spacing`; replaces that of DICOM files.
        workers, cluster: see `Workers`.
        shard: files of a job.
        sensitivity: an operating point of the model, see `sonoseg.reader.segmenter.Segmenter.at`.
        others: options of `sonoseg segment` that an archive does not have, with their values.

    Returns:
        a text for the terminal, and the exit code: 1 if a file failed or is missing, or else 0.

    Raises:
        InputError: before work starts: the folder, the model, the workers or `out` cannot be used, or `out` has
            results of other settings. There is no ultrasound in the folder.
    """
    if len(paths) != 1 or not is_folder(paths[0]):
        problem = "--workers and --cluster are for one folder"
        raise InputError("images", problem, "give one folder")
    for option, value in (others or {}).items():
        if value:
            hint = "leave it out, or leave --workers and --cluster out"
            raise InputError(option, "is not for archives", hint)
    crew = Workers(workers, cluster)
    crew.check()
    archive = paths[0].absolute()
    segmenter = load(model, sensitivity)
    size = None if spacing is None else parse_spacing(spacing)
    settings = ArchiveSettings(
        archive,
        out.absolute(),
        segmenter.path,
        segmenter.sha256,
        size,
        sensitivity,
    )
    with held(out):
        manifest = begin(settings, segmenter.card.name, shard)
        missing = segment_all(settings, manifest, crew)
        if missing:
            problem = f"{missing} shards have no result; run the same command again"
            return f"{out}: {problem}", 1
        parts = {one.number: one.part for one in shards_of(settings, manifest)}
        totals = join_parts(parts, last_shards(settings, manifest), out / TABLE)
        manifest.setdefault("ended", now())
        write_json(out / MANIFEST, manifest | asdict(totals))
    return describe(out, archive, totals)


def begin(settings: ArchiveSettings, name: str, shard: int) -> dict[str, Any]:
    """Lists the files that no earlier call has listed, and writes the manifest or completes that of the earlier call.

    Raises:
        InputError: the earlier call had other settings, or there are no files.
    """
    import sonoseg

    out = settings.out
    asked: dict[str, Any] = {
        "archive": str(settings.archive),
        "model": name,
        "sha256": settings.sha256,
        "spacing": settings.spacing and list(settings.spacing),
        "sensitivity": settings.sensitivity,
    }
    manifest: dict[str, Any] = {}
    if is_there(out / MANIFEST):
        manifest = read_json(out / MANIFEST)
        for key, value in asked.items():
            if manifest.get(key) != value:
                earlier = manifest.get(key) or "none was given"
                problem = f"holds results of another {key} ({earlier})"
                raise InputError(out, problem, "choose another --out")
    _logger.info("listing the files of %s", settings.archive)
    count = add_list(settings.archive, out)
    if not count:
        raise InputError(settings.archive, "no images in it", "give another folder")
    for folder in (PARTS, MASKS):
        output_folder(out / folder)
    if not manifest:
        about = {"sonoseg": sonoseg.__version__, "began": now()}
        manifest = asked | about | {"shard": shard}
    if count > manifest.get("files", 0):
        manifest["files"] = count
        manifest.pop("ended", None)
        write_json(out / MANIFEST, manifest)
    return manifest


def segment_all(
    settings: ArchiveSettings, manifest: dict[str, Any], workers: Workers
) -> int:
    """Segments the shards that have no result; returns how many failed."""
    countdown = Countdown(manifest["files"])
    missing = 0

    def left() -> Iterator[Shard]:
        for shard in shards_of(settings, manifest):
            if is_there(shard.part):
                countdown.skip(len(shard.names))
            else:
                yield shard

    with ProgressLine() as line:
        for shard, failure in outcomes(left(), workers):
            countdown.done += len(shard.names)
            if failure is not None:
                missing += 1
                line.close()
                _logger.error(
                    "sonoseg: shard %s failed: %s", shard.name, failure.reason
                )
            line.show(f"files: {countdown}", last=countdown.done == countdown.total)
    return missing


def shards_of(settings: ArchiveSettings, manifest: dict[str, Any]) -> Iterator[Shard]:
    """Yields all shards in their order, done or not."""
    for number, names in enumerate(read_lists(settings.out, manifest["shard"])):
        yield Shard(number, names, settings)


def last_shards(settings: ArchiveSettings, manifest: dict[str, Any]) -> dict[str, int]:
    """Name of a file → the last shard that has it. Only files of later lists are here: others are in one shard only."""
    later = set(names_in(lists_in(settings.out)[1:]))
    found = {}
    for shard in shards_of(settings, manifest) if later else ():
        for name in later.intersection(shard.names):
            found[visible(name)] = shard.number
    return found


def describe(out: Path, archive: Path, totals: Totals) -> tuple[str, int]:
    """The text for the terminal, and the exit code.

    Raises:
        InputError: nothing could be segmented.
    """
    if totals.images == totals.failed:
        problem = (
            f"no ultrasound in it could be segmented; {totals.failed} files failed"
        )
        raise InputError(archive, problem, f"see the column reason of {out / TABLE}")
    text = f"{out / TABLE}: {totals.images} images, {totals.with_lesion} with a lesion"
    if totals.doubtful:
        text += f", {totals.doubtful} with doubts (see the column doubts)"
    if totals.failed:
        text += f", {totals.failed} failed (see the column reason)"
    if totals.passed_over:
        text += f"\n{totals.passed_over} files were skipped: they are not ultrasound"
    return f"{text}\nmasks are in {out / MASKS}", int(totals.failed > 0)


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
