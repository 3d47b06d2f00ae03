"""A small DICOMweb server in this process, written from PS3.18, with faults on demand."""

from __future__ import annotations

import email
import email.policy
import io
import json
from typing import Any
from urllib.parse import parse_qsl

import pydicom
from orthanc_archive import Archive, Handler

ROOT = "/dicom-web"
_TAGS = {
    "StudyInstanceUID": "0020000D",
    "SeriesInstanceUID": "0020000E",
    "SOPInstanceUID": "00080018",
    "SOPClassUID": "00080016",
    "Modality": "00080060",
    "StudyDate": "00080020",
    "PatientID": "00100020",
}


class WebArchive(Archive):
    """Holds DICOM files.

    Attributes:
        page: most entries in one answer to a search, whatever was asked for.
        knows_offset: whether it skips entries when it is asked to.
        skips_twice: whether it does so twice in a search for studies, as Orthanc 1.10 does.
        counts: whether it says how many instances a series has.
        failure: reason why nothing is stored, 0 to store.
        refuses_duplicates: whether an instance that is there is a failure (0x0111).
    """

    def __init__(self, port: int = 0) -> None:
        self.page = 1000
        self.knows_offset = True
        self.skips_twice = False
        self.counts = True
        self.failure = 0
        self.refuses_duplicates = False
        super().__init__(port, WebHandler)

    @property
    def web_url(self) -> str:
        return self.url + ROOT

    def headers(self) -> list[pydicom.Dataset]:
        found = []
        for content in list(self.files.values()):
            found.append(pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True))
        return found


class WebHandler(Handler):
    server: WebArchive

    def do_GET(self) -> None:
        if self.begins("GET"):
            return
        path, _, query = self.path.removeprefix(ROOT).partition("?")
        words = path.strip("/").split("/")
        if len(words) == 6:
            self._retrieve(words[5])
            return
        assert self.headers["Accept"] == "application/dicom+json"
        self._search(words, dict(parse_qsl(query)))

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.begins("POST"):
            return
        assert self.path == f"{ROOT}/studies"
        self.server.posts += 1
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = email.message_from_bytes(head + content, policy=email.policy.HTTP)
        assert message.get_content_type() == "multipart/related"
        assert message.get_param("type") == "application/dicom"
        (part,) = message.iter_parts()
        assert part.get_content_type() == "application/dicom"
        reason = self.server.failure
        if not reason:
            status = self.server.add(part.get_payload(decode=True))
            if status == "AlreadyStored" and self.server.refuses_duplicates:
                reason = 0x0111
        self.server.after_store()
        self._answer_store(reason)

    def _answer_store(self, reason: int) -> None:
        answer: dict[str, Any] = {"00081198": {"vr": "SQ"}, "00081199": {"vr": "SQ"}}
        if reason:
            failed = {"00081197": {"vr": "US", "Value": [reason]}}
            answer["00081198"]["Value"] = [failed]
        else:
            answer["00081199"]["Value"] = [{}]
        self.answer(409 if reason else 200, json.dumps(answer).encode())

    def _retrieve(self, uid: str) -> None:
        assert 'type="application/dicom"' in self.headers["Accept"]
        for content in self.server.files.values():
            dataset = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
            if dataset.SOPInstanceUID == uid:
                break
        else:
            self.answer(404, b"")
            return
        body = b"--x-y\r\nContent-Type: application/dicom\r\n\r\n" + content
        self.answer_part(body + b"\r\n--x-y--\r\n", 'boundary="x-y"')

    def answer_part(self, body: bytes, boundary: str) -> None:
        self.send_response(200)
        kind = f'multipart/related; type="application/dicom"; {boundary}'
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _search(self, words: list[str], query: dict[str, str]) -> None:
        tags = {
            "studies": ("StudyInstanceUID", "StudyDate", "PatientID"),
            "series": ("StudyInstanceUID", "SeriesInstanceUID", "Modality"),
            "instances": ("SOPInstanceUID", "SOPClassUID"),
        }[words[-1]]
        asked = query.get("includefield", "")
        tags += tuple(name for name, tag in _TAGS.items() if tag == asked)
        entries: dict[str, dict[str, Any]] = {}
        counts: dict[str, int] = {}
        for dataset in self.server.headers():
            if not _matches(dataset, words, query):
                continue
            entry = {}
            for name in tags:
                value = str(dataset.get(name, ""))
                entry[_TAGS[name]] = {
                    "vr": "UI",
                    **({"Value": [value]} if value else {}),
                }
            key = json.dumps(entry)
            entries[key] = entry
            counts[key] = counts.get(key, 0) + 1
        if self.server.counts and words[-1] == "series":
            for key, entry in entries.items():
                entry["00201209"] = {"vr": "IS", "Value": [counts[key]]}
        found = list(entries.values())
        offset = int(query["offset"]) if self.server.knows_offset else 0
        limit = min(int(query["limit"]), self.server.page)
        found = found[offset : offset + limit]
        if self.server.skips_twice and words[-1] == "studies":
            found = found[offset:]
        if found:
            self.answer(200, json.dumps(found).encode())
        else:
            self.answer(204, b"")


def _matches(dataset: Any, words: list[str], query: dict[str, str]) -> bool:
    path = dict(zip(words[0:-1:2], words[1::2], strict=False))
    if path.get("studies", dataset.StudyInstanceUID) != dataset.StudyInstanceUID:
        return False
    if path.get("series", dataset.SeriesInstanceUID) != dataset.SeriesInstanceUID:
        return False
    wanted = query.get("Modality", query.get("ModalitiesInStudy", dataset.Modality))
    return wanted == dataset.Modality and _is_in(
        str(dataset.get("StudyDate", "")), query.get("StudyDate", "")
    )


def _is_in(day: str, span: str) -> bool:
    """Whether a day lies in a range (PS3.4 C.2.2.2.5)."""
    first, dash, last = span.partition("-")
    if not dash:
        return span in ("", day)
    return bool(day) and (first or day) <= day <= (last or day)
