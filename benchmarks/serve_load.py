"""How many images a second does `sonoseg serve` answer, beside `segment_batch` in one process and a plain handler?

    python benchmarks/serve_load.py --clients 50 --requests 2000

All read the same PNG files from memory, in turns. Clients run on the same cores as the servers. The plain handler
(plain_handler.py) neither measures nor drops small parts, so its masks are not compared.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import io
import json
import queue
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import report
from PIL import Image

import sonoseg
from sonoseg.data.phantom import make_phantom

SIZES = ((384, 480), (480, 640), (600, 800))
BATCH = 8
SERVE = ["-m", "sonoseg", "serve"]
BOUNDARY = "sonoseg-load"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    images = [png(seed) for seed in range(12)]
    segmenter = sonoseg.load()
    masks = [segmenter.segment(content).mask for content in images]
    count = options.requests // options.rounds
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        server, port = start([*SERVE, folder, "--port", "0", "--no-browser"])
        plain, plain_port = start(
            [str(Path(__file__).parent / "plain_handler.py"), str(free_port())]
        )
        for turn in range(options.rounds):
            work = [place % len(images) for place in range(count)]
            in_process = batch_rate(segmenter, [images[place] for place in work])
            seconds, times, wrong = load(port, images, masks, work, options.clients)
            plain_seconds, plain_times, _ = load(
                plain_port, images, masks, work, options.clients
            )
            rows.append(
                {
                    "turn": turn + 1,
                    "segment_batch, images/s": round(in_process, 2),
                    "serve, images/s": round(count / seconds, 2),
                    "share": round(count / seconds / in_process, 3),
                    "p50, s": round(float(np.percentile(times, 50)), 3),
                    "p95, s": round(float(np.percentile(times, 95)), 3),
                    "lost or wrong": wrong,
                    "peak memory, MB": peak_memory(server.pid),
                    "plain, images/s": round(count / plain_seconds, 2),
                    "plain p95, s": round(float(np.percentile(plain_times, 95)), 3),
                }
            )
        for process in (server, plain):
            process.terminate()
            process.wait(30)
    report(
        "serve_load", {"clients": options.clients, "requests": options.requests}, rows
    )


def png(seed: int) -> bytes:
    """A phantom as a PNG file."""
    pixels, _ = make_phantom(seed, seed % 4 != 3, SIZES[seed % len(SIZES)])
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def start(words: list[str]) -> tuple[subprocess.Popen[str], int]:
    """A server that writes its address to stderr, and its port."""
    server = subprocess.Popen(
        [sys.executable, *words], stderr=subprocess.PIPE, text=True
    )
    assert server.stderr is not None
    for line in server.stderr:  # ONNX Runtime may warn first
        if found := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
            wait_for(int(found[1]))
            return server, int(found[1])
    raise RuntimeError(f"{words} did not start")


def free_port() -> int:
    """A TCP port that nothing uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Waits until a server takes connections."""
    for _ in range(600):
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), 1),
        ):
            return
        time.sleep(0.05)
    raise TimeoutError(port)


def batch_rate(segmenter: Any, contents: list[bytes]) -> float:
    """Images a second of `segment_batch` with all measurements."""
    began = time.perf_counter()
    for first in range(0, len(contents), BATCH):
        for result in segmenter.segment_batch(contents[first : first + BATCH]):
            result.to_dict()
    return len(contents) / (time.perf_counter() - began)


def load(
    port: int, images: list[bytes], masks: list[Any], work: list[int], clients: int
) -> tuple[float, list[float], int]:
    """Sends all images from so many clients; returns seconds in all, seconds of each, and how many went wrong."""
    bodies = [body_of(content) for content in images]
    places: queue.SimpleQueue[int] = queue.SimpleQueue()
    for place in work:
        places.put(place)
    answers: list[tuple[int, float, bytes]] = []
    threads = [
        threading.Thread(target=client, args=(port, bodies, places, answers))
        for _ in range(clients)
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    right = 0
    for place, _, content in answers:
        right += is_right(content, masks[place])
    return seconds, [duration for _, duration, _ in answers], len(work) - right


def client(
    port: int,
    bodies: list[bytes],
    places: queue.SimpleQueue[int],
    answers: list[tuple[int, float, bytes]],
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    while True:
        try:
            place = places.get_nowait()
        except queue.Empty:
            return
        began = time.perf_counter()
        connection.request("POST", "/api/segment", bodies[place], headers)
        content = connection.getresponse().read()
        answers.append((place, time.perf_counter() - began, content))


def body_of(content: bytes) -> bytes:
    disposition = 'Content-Disposition: form-data; name="image"; filename="a.png"'
    head = f"--{BOUNDARY}\r\n{disposition}\r\nContent-Type: image/png\r\n\r\n"
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def is_right(content: bytes, mask: Any) -> bool:
    answer = json.loads(content)
    if "mask" not in answer:
        return False
    picture = Image.open(io.BytesIO(base64.b64decode(answer["mask"])))
    return bool(np.array_equal(np.asarray(picture) == 255, mask))


def peak_memory(process: int) -> int:
    """The greatest resident size of a process in MB; 0 where the system does not tell."""
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        return 0
    found = re.search(r"VmHWM:\s*(\d+)", status.read_text())
    return round(int(found[1]) / 1024) if found else 0


if __name__ == "__main__":
    main()
