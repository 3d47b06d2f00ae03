"""The files that `sonoseg segment` writes, and those that it must not replace.

Only files of an earlier call are replaced. They are listed in results.json, and while a call is running in a hidden
file beside it. Other files are never replaced, even if they have such a name: NAME_mask.png may be an
annotator's. Nor are masks, outlines and DICOM objects that somebody has changed since: results.json has their
checksums. What an earlier call wrote for an image, and the new one does not write again, is removed: it could
contradict the new results.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sonoseg.core.paths import is_clip
from sonoseg.errors import InputError
from sonoseg.files import is_file, is_there, write_json
from sonoseg.inputs import read_json
from sonoseg.reader import cine

RESULTS, AT_WORK = "results.json", ".segmenting.json"
GROUPS = ("images", "clips", "dicom")
"""The lists of results.json that have an entry for each file."""
PICTURES = ("mask", "overlay", "heat")
_KEYS = ("mask", "overlay", "heat", "frames_table", "geojson", "labelme", "video")
"""Keys of an entry of results.json whose values are names of files. So are those in `written` of a DICOM file."""
_CORRECTED = ("_mask.png", "_lesions.geojson", "_labelme.json", ".dcm")
"""Endings of the files that people correct."""
_ELSEWHERE = "choose another output folder, or move it away"
_LIMIT = 128 << 20  # bytes of results.json, some hundred thousand images


def output_names(path: Path, explain: bool) -> tuple[str, ...]:
    """The names of the files that are written for an image or a clip."""
    if is_clip(path):
        return cine.output_names(path)
    return tuple(
        f"{path.stem}_{kind}.png" for kind in PICTURES if explain or kind != "heat"
    )


def plan_outputs(
    planned: Sequence[tuple[Path, Sequence[str]]],
    folder: Path,
    common: Sequence[str] = (),
) -> tuple[list[str], list[str]]:
    """The names of the files that will be written into `folder`, and of those that earlier calls have written there.

    Args:
        planned: each input with the names of its results.
        folder: where they will be written.
        common: names of files that are written for all inputs together, besides results.json.

    Raises:
        InputError: a file would replace an input, a file that no earlier call has written or that was changed
            afterwards, or the result of another input.
    """
    inputs = {os.path.realpath(path): path for path, _ in planned}
    earlier = _earlier_names(folder)
    names, taken = list(common), []
    owners: dict[str, Path] = {}
    for path, own_names in planned:
        for name in own_names:
            own = inputs.get(os.path.realpath(folder / name))
            if own is not None:
                problem = (
                    f"is an input, and would be overwritten by the result of {path}"
                )
                raise InputError(own, problem, "choose another output folder")
            # Upper and lower case are one name on many disks.
            if owners.setdefault(name.casefold(), path) is not path:
                other = owners[name.casefold()]
                problem = f"its result {name} would overwrite that of {other}"
                raise InputError(path, problem, "segment them into two folders")
            names.append(name)
    for name in names:
        if name not in earlier and _is_taken(folder / name):
            taken.append(folder / name)
    if taken:
        more = f", and {len(taken) - 1} more such" if len(taken) > 1 else ""
        problem = (
            f"is there already, and no {RESULTS} of sonoseg segment lists it{more}"
        )
        raise InputError(taken[0], problem, _ELSEWHERE)
    _check_unchanged(folder, names)
    return names, sorted(earlier)


def _check_unchanged(folder: Path, names: Sequence[str]) -> None:
    """Refuses to replace a file that somebody has changed since an earlier call wrote it."""
    known = noted_checksums(folder)
    changed = [folder / name for name in names if _is_changed(folder, name, known)]
    if changed:
        more = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
        problem = f"has been changed since sonoseg segment wrote it{more}"
        raise InputError(changed[0], problem, _ELSEWHERE)


def _is_changed(folder: Path, name: str, known: Mapping[str, str]) -> bool:
    """Whether a file is no longer what an earlier call wrote, as far as its checksum was noted."""
    path = folder / name
    return name in known and is_file(path) and _checksum(path) != known[name]


def remove_older(
    folder: Path,
    names: Iterable[str],
    entry: Mapping[str, Any],
    known: Mapping[str, str],
) -> list[str]:
    """Removes what earlier calls wrote for a file, and this one has not written again.

    Args:
        folder: of the results.
        names: of files of earlier calls.
        entry: the new one of results.json.
        known: `noted_checksums`; what somebody has changed since is kept.

    Returns:
        the names of the removed files.
    """
    new = set(_names_in([entry]))
    removed = []
    for name in names:
        if name in new or _is_changed(folder, name, known):
            continue
        with contextlib.suppress(OSError):
            (folder / name).unlink()
            removed.append(name)
    return removed


def checksums(
    folder: Path, entries: Iterable[Mapping[str, Any]], earlier: Iterable[str]
) -> dict[str, str]:
    """The sha256 of each file that people correct, of this call and of earlier ones, for results.json.

    Of an earlier file it is the one that was noted then.
    """
    known = noted_checksums(folder)
    found = {}
    for name in (*earlier, *_names_in(entries)):
        if name.endswith(_CORRECTED):
            found[name] = known.get(name) or _checksum(folder / name)
    return found


def _checksum(path: Path) -> str:
    """The sha256 of a file; "" if it cannot be read."""
    with contextlib.suppress(OSError):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return ""


def noted_checksums(folder: Path) -> dict[str, str]:
    """The checksums in results.json, and in the hidden file of a call that is running or was killed."""
    noted: dict[str, str] = {}
    for name in (RESULTS, AT_WORK):
        with contextlib.suppress(InputError, AttributeError, TypeError, ValueError):
            noted |= dict(read_json(folder / name, _LIMIT).get("checksums", {}))
    return noted


def _is_taken(target: Path) -> bool:
    """Whether this is the name of a file, or of a link without a target."""
    return os.path.lexists(target) and (is_file(target) or not is_there(target))


@contextlib.contextmanager
def at_work(
    folder: Path, names: Sequence[str], earlier: Sequence[str]
) -> Iterator[None]:
    """Lists in a hidden file in `folder` what the block will write there.

    If this call is killed, the next one may replace these files. The hidden file stays until `end_work`, unless the
    block is interrupted before it has written anything new.
    """
    files = list(names) + list(earlier)
    kept = noted_checksums(folder)
    for name in names:
        kept.pop(name, None)
    try:
        write_json(folder / AT_WORK, {"files": files, "checksums": kept})
    except InputError as error:
        raise InputError(folder, error.problem, error.hint) from error
    try:
        yield
    except BaseException:
        is_retired = bool(earlier) and not os.path.lexists(folder / RESULTS)
        new = set(names) - set(earlier)
        has_written = any(os.path.lexists(folder / name) for name in new)
        if not is_retired and not has_written:
            end_work(folder)
        raise


def retire_results(folder: Path) -> None:
    """Removes an earlier call's results.json, before the first of its pictures is replaced.

    Otherwise a call that is killed would leave a list that does not fit the pictures.
    """
    with contextlib.suppress(OSError):
        (folder / RESULTS).unlink()


def end_work(folder: Path) -> None:
    """Removes the hidden file of `at_work`."""
    with contextlib.suppress(OSError):
        (folder / AT_WORK).unlink()


def earlier_files(
    folder: Path, earlier: Iterable[str], entries: Iterable[Mapping[str, Any]]
) -> list[str]:
    """The names in `earlier` of files that are still in `folder` and in no new entry of results.json."""
    new = set(_names_in(entries))
    return [name for name in earlier if name not in new and is_file(folder / name)]


def _earlier_names(folder: Path) -> set[str]:
    names = _noted_names(folder / AT_WORK)
    file = folder / RESULTS
    if not os.path.lexists(file):
        return names
    foreign = InputError(
        file,
        "is there already, and was not written by sonoseg segment",
        "choose another output folder",
    )
    try:
        report = read_json(file, _LIMIT)
    except InputError as error:
        raise foreign from error
    lists = _lists_of(report)
    if lists is None:
        raise foreign
    for group in GROUPS:
        names.update(_names_in(lists[group]))
    listed = [*lists["earlier_files"], report.get("coco")]
    names.update(name for name in listed if isinstance(name, str))
    return names


def _lists_of(report: Any) -> dict[str, list[Any]] | None:
    """The lists of a results.json; None if it is not one of `sonoseg segment`."""
    if not isinstance(report, dict) or not isinstance(report.get("sonoseg"), str):
        return None
    found = {key: report.get(key) for key in ("images", "clips", "failed")}
    # These two are newer.
    for key in ("dicom", "earlier_files"):
        found[key] = report.get(key, [])
    lists = {key: value for key, value in found.items() if isinstance(value, list)}
    return lists if len(lists) == len(found) else None


def _names_in(entries: Iterable[Any]) -> list[str]:
    names = []
    for entry in entries:
        if isinstance(entry, Mapping):
            values = [entry.get(key) for key in _KEYS]
            more = entry.get("written")
            values += more if isinstance(more, list) else []
            names += [value for value in values if isinstance(value, str)]
    return names


def _noted_names(file: Path) -> set[str]:
    """The names in the hidden file that a killed call has left; empty if there is none."""
    try:
        noted = read_json(file)["files"]
        return {name for name in noted if isinstance(name, str)}
    except (InputError, KeyError, TypeError):
        return set()
