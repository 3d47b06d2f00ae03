"""A web server for OHIF's built site; what begins with /dicom-web is passed on to Orthanc."""

from __future__ import annotations

import json
import mimetypes
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""OHIF shares memory between threads, which browsers allow only with these headers."""
TYPES = {".wasm": "application/wasm", ".js": "application/javascript"}


class ViewerServer(ThreadingHTTPServer):
    """Serves OHIF on 127.0.0.1, on a free port.

    Args:
        site: the folder `dist` of the npm package `@ohif/app`.
        archive: Orthanc's address.
    """

    def __init__(self, site: Path, archive: str) -> None:
        if not (site / "index.html").is_file():
            raise FileNotFoundError(f"{site} does not hold OHIF; run make integration")
        super().__init__(("127.0.0.1", 0), _Handler)
        self.site, self.archive = site, archive

    def config(self) -> str:
        """Returns OHIF's configuration as JavaScript: one data source, this server."""
        root = f"http://127.0.0.1:{self.server_port}/dicom-web"
        source = {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": "orthanc",
            "configuration": {
                "friendlyName": "Orthanc",
                "name": "orthanc",
                "wadoUriRoot": root,
                "qidoRoot": root,
                "wadoRoot": root,
                "qidoSupportsIncludeField": False,
                "imageRendering": "wadors",
                "thumbnailRendering": "wadors",
                "enableStudyLazyLoad": True,
                "supportsFuzzyMatching": False,
                "supportsWildcard": True,
                "omitQuotationForMultipartRequest": True,
                "bulkDataURI": {"enabled": True},
            },
        }
        config = {
            "name": "test",
            "routerBasename": None,
            "extensions": [],
            "modes": [],
            "customizationService": {},
            "showStudyList": True,
            "maxNumberOfWebWorkers": 2,
            "showCPUFallbackMessage": False,
            "groupEnabledModesFirst": True,
            "defaultDataSourceName": "orthanc",
            "dataSources": [source],
        }
        return f"window.config = {json.dumps(config)};"


class _Handler(BaseHTTPRequestHandler):
    server: ViewerServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/dicom-web"):
            self._pass_on()
        elif path == "/app-config.js":
            self._answer(200, TYPES[".js"], self.server.config().encode())
        else:
            file = self.server.site / path.lstrip("/")
            if not file.is_file():  # a page of OHIF's own
                file = self.server.site / "index.html"
            kind = TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0]
            self._answer(200, kind or "application/octet-stream", file.read_bytes())

    def log_message(self, *_: object) -> None:
        """Logs nothing."""

    def _pass_on(self) -> None:
        accepted = {"Accept": self.headers.get("Accept", "*/*")}
        request = urllib.request.Request(
            self.server.archive + self.path, headers=accepted
        )
        try:
            with urllib.request.urlopen(request) as reply:
                self._answer(
                    reply.status, reply.headers.get("Content-Type", ""), reply.read()
                )
        except urllib.error.HTTPError as error:
            self._answer(error.code, "text/plain", error.read())

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        for name, value in ISOLATION.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
