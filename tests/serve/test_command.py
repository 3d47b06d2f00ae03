"""`sonoseg serve` as a process: it starts, it stops, and after kill -9 every stroke that was answered is there."""

import itertools
import subprocess
import sys
import threading
import time

import httpx
import numpy as np
import pytest
from tests.serve.server import Server

from sonoseg.cli import main
from sonoseg.serve.patch import from_text, to_text

BITS = to_text(np.ones((2, 2), bool))


def complaint(capsys):
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_other_hosts_demand_a_token(capsys, tmp_path):
    assert main(["serve", str(tmp_path), "--host", "0.0.0.0"]) == 2
    assert "--token-file" in complaint(capsys)
    assert list(tmp_path.iterdir()) == []


def test_weak_token_and_wrong_port_are_one_line(capsys, tmp_path):
    token = tmp_path / "token"
    token.write_text("short")
    assert main(["serve", str(tmp_path / "x"), "--token-file", str(token)]) == 2
    assert "token" in complaint(capsys)
    assert main(["serve", str(tmp_path / "x"), "--port", "70000", "--no-browser"]) == 2
    assert "--port" in complaint(capsys)


def test_heat_of_another_mask_is_said_at_the_start(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("sonoseg.serve.command._run", lambda *_: None)
    command = ["serve", str(tmp_path), "--no-browser", "--port", "0"]
    for more, times in (([], 0), (["--sensitivity", "specific"], 1)):
        caplog.clear()
        assert main(command + more) == 0
        said = [text for text in caplog.messages if "without operating point" in text]
        assert len(said) == times


@pytest.mark.parametrize("module", ["fastapi", "uvicorn", "python_multipart"])
def test_a_missing_extra_is_one_line(tmp_path, module):
    code = f"import sys; sys.modules[{module!r}] = None\nfrom sonoseg.cli import main\nsys.exit(main(sys.argv[1:]))"
    words = ["serve", str(tmp_path / "new"), "--no-browser"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "pip install '.[serve]'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_answered_stroke_survives_kill_9(folder):
    server = Server(folder)
    client = httpx.Client(base_url=server.address, timeout=30)
    image = client.get("/api/images").json()["images"][0]["id"]
    begun = client.get(f"/api/images/{image}").json()
    answered = []

    def draw():
        after = 0
        for number in itertools.count():
            x, y = 2 * (number % 50), 2 * (number // 50)
            body = {
                "key": f"stroke-{number:06d}",
                "after": after,
                "tool": "brush",
                "bits": BITS,
            }
            place = {"x": x, "y": y, "width": 2, "height": 2}
            try:
                answer = client.post(
                    f"/api/images/{image}/edits", json={**body, **place}
                )
            except httpx.HTTPError:
                return
            after = answer.json()["revision"]
            answered.append((x, y))

    thread = threading.Thread(target=draw)
    thread.start()
    while len(answered) < 15:
        time.sleep(0.01)
    server.kill()
    thread.join(30)
    again = Server(folder)
    shown = httpx.get(f"{again.address}/api/images/{image}", timeout=30).json()
    code, output = again.stop()
    assert code == 0
    assert "annotations" in output
    assert shown["undo"] - len(answered) in (
        0,
        1,
    )  # the stroke in hand may be there or not
    mask = from_text(shown["mask"], shown["height"], shown["width"])
    for x, y in answered:
        assert mask[y : y + 2, x : x + 2].all()
    before = from_text(begun["mask"], shown["height"], shown["width"])
    rows = 2 * (len(answered) // 50) + 4
    np.testing.assert_array_equal(mask[rows:], before[rows:])


def test_many_requests_at_once_are_all_answered_rightly(
    folder, segmenter, phantom_png, phantom
):
    server = Server(folder)
    wanted = segmenter.segment(phantom[0])
    areas, refused = [], []

    def ask():
        files = {"image": ("a.png", phantom_png)}
        answer = httpx.post(f"{server.address}/api/segment", files=files, timeout=60)
        if answer.status_code == 200:
            areas.append(answer.json()["lesions"][0]["area"])
        else:
            refused.append(answer.status_code)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.stop()[0] == 0
    assert refused == []
    assert areas == [wanted.lesions[0].pixels] * 20
