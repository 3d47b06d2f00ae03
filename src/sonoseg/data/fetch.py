"""Downloads BUSI from its public address, resumes where it broke off, and checks every file."""

from __future__ import annotations

import errno
import hashlib
import io
import shlex
import shutil
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from sonoseg.data.busi import busi_files, find_busi
from sonoseg.data.download import download, remove, writing
from sonoseg.data.scan import entries
from sonoseg.errors import InputError
from sonoseg.files import is_folder, is_there, output_folder
from sonoseg.inputs import read_bytes, readable_file

BUSI_URL = "https://scholar.cu.edu.eg/Dataset_BUSI.zip"
_LARGEST = 8 << 20  # bytes; the largest file of BUSI has under 2 MB
_CHUNK = 1 << 16
_ENCRYPTED = 1  # a bit of an entry's flags
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
    OverflowError,
)
"""What Python raises at a damaged zip file; ValueError at a name that is not UTF-8."""


class _ArchiveError(InputError):
    """The archive is not BUSI as published."""


def fetch_busi(
    folder: Path | str,
    url: str = BUSI_URL,
    *,
    archive: Path | str | None = None,
    table: Mapping[str, str] | None = None,
    progress: TextIO | None = None,
) -> str:
    """Puts BUSI as published into `folder`, complete and checked, or leaves the folder as it was.

    The download goes to FOLDER.zip.part beside the folder; a later call goes on from there. The folder
    appears only when every file in it has its published sha256.

    Args:
        folder: must not exist yet, be empty, or hold BUSI as published already.
        url: of a zip file that holds the published files, in whatever folder.
        archive: such a zip file, downloaded by hand; nothing is downloaded then.
        table: sha256 by path, such as "benign/benign (1).png"; by default BUSI's 1,578 files.
        progress: where bytes, percent and time left are shown; by default on stderr, in a command only.

    Returns:
        what was done, in a sentence.

    Raises:
        DownloadError: no connection, or it broke off; the hint says what to download by hand.
        InputError: the folder has something else in it or cannot be written to; the archive is damaged or is
            not BUSI as published.
    """
    folder = Path(folder).absolute()
    sums = (
        table
        if table is not None
        else {file.path: file.sha256 for file in busi_files()}
    )
    if is_there(folder) and not is_folder(folder):
        raise InputError(folder, "is a file, not a folder", "choose another folder")
    if is_folder(folder) and entries(folder):
        _require_complete(folder, sums)
        return f"{folder}: BUSI is already here and complete, all {len(sums)} files as published"
    output_folder(folder.parent)
    if archive is not None:
        _unpack(Path(archive), folder, sums)
    else:
        part = folder.with_name(f"{folder.name}.zip.part")
        command = f"sonoseg data fetch busi --folder {shlex.quote(str(folder))} --zip Dataset_BUSI.zip"
        by_hand = f"download it in a browser, then run: {command}"
        download(url, part, by_hand, progress)
        try:
            _unpack(part, folder, sums)
        except _ArchiveError:
            remove(part)  # otherwise the same bad download would be resumed for ever
            raise
        remove(part)
    return f"{folder}: BUSI is here, all {len(sums)} files as published"


def _unpack(source: Path, folder: Path, sums: Mapping[str, str]) -> None:
    """Unpacks the files of `sums` beside `folder` and renames the result to `folder`.

    Each file is checked before it is written; the first that is not as published ends it.
    """
    temporary = folder.with_name(f".{folder.name}.unpacking")
    hint = f"download it again from {BUSI_URL}"
    try:
        with (
            _LimitedReader(io.FileIO(readable_file(source))) as file,
            zipfile.ZipFile(file) as archive,
        ):
            members = _members(source, archive, sums)
            shutil.rmtree(temporary, ignore_errors=True)
            for path, digest in sums.items():
                content = _content(archive, members[path])
                if hashlib.sha256(content).hexdigest() != digest:
                    raise _ArchiveError(
                        source, f"{path} in it is not as published", hint
                    )
                with writing(temporary / path):
                    (temporary / path).parent.mkdir(parents=True, exist_ok=True)
                    (temporary / path).write_bytes(content)
        with writing(folder):
            if is_there(folder):
                folder.rmdir()
            temporary.rename(folder)
    except OSError as error:
        if error.errno == errno.EINVAL:  # of a place before the file's beginning
            raise _ArchiveError(
                source, "is not a zip file or is damaged", hint
            ) from error
        raise InputError(
            source, f"cannot be read ({error.strerror or error})", "choose another file"
        ) from error
    except _DAMAGED as error:
        raise _ArchiveError(
            source, f"is not a zip file or is damaged ({error})", hint
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class _LimitedReader(io.BufferedReader):
    """A file of which only so much is read at once: a zip file's list of contents is read in one piece."""

    def read(self, size: int | None = -1, /) -> bytes:
        most = _LARGEST + 1
        content = super().read(most if size is None or size < 0 else min(size, most))
        if len(content) > _LARGEST:
            raise zipfile.BadZipFile("its list of contents is far too long")
        return content


def _members(
    source: Path, archive: zipfile.ZipFile, sums: Mapping[str, str]
) -> dict[str, zipfile.ZipInfo]:
    """The archive's entries by the last two parts of their names, all of a name that is ever used."""
    names = {
        "/".join(info.filename.replace("\\", "/").split("/")[-2:]): info
        for info in archive.infolist()
    }
    missing = [path for path in sums if path not in names]
    if missing:
        problem = (
            f"lacks {len(missing)} of the {len(sums)} files of BUSI, first {missing[0]}"
        )
        raise _ArchiveError(source, problem, f"download it again from {BUSI_URL}")
    members = {path: names[path] for path in sums}
    for path, info in members.items():
        problem = ""
        if info.file_size > _LARGEST:
            problem = "is far too large"
        elif info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            problem = "is packed by another method than zip's own"
        elif info.flag_bits & _ENCRYPTED:
            problem = "needs a password"
        if problem:
            raise _ArchiveError(
                source, f"{path} in it {problem}", f"download it from {BUSI_URL}"
            )
    return members


def _content(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """One entry, unpacked in small pieces, up to the size that `_members` has checked."""
    with archive.open(member) as source:
        return b"".join(iter(lambda: source.read(_CHUNK), b""))


def _require_complete(folder: Path, sums: Mapping[str, str]) -> None:
    root = find_busi(folder) or folder
    wrong = [path for path in sums if _digest(root / path) != sums[path]]
    if wrong:
        problem = f"{len(wrong)} of BUSI's {len(sums)} files are missing or not as published, first {wrong[0]}"
        raise InputError(folder, problem, "remove this folder or choose another")


def _digest(path: Path) -> str:
    """Of a file no larger than BUSI's; "" for anything else."""
    try:
        return hashlib.sha256(read_bytes(path, _LARGEST)).hexdigest()
    except InputError:
        return ""
