"""FastAPI and ONNX Runtime as people put them together, to compare `sonoseg serve` with. Run by serve_load.py."""

from __future__ import annotations

import base64
import io
import sys

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, UploadFile
from PIL import Image

from sonoseg.reader.bundle import default_bundle_path

SIZE = (192, 192)
app = FastAPI()
session = onnxruntime.InferenceSession(str(default_bundle_path()))


@app.post("/api/segment")
async def segment(image: UploadFile) -> dict[str, str]:
    """One mask as PNG; no measurements, no checks, nothing kept from blocking the others."""
    picture = Image.open(io.BytesIO(await image.read())).convert("L")
    small = (
        np.asarray(picture.resize(SIZE, Image.Resampling.BILINEAR), np.float32) / 255
    )
    (probability,) = session.run(["probability"], {"image": small[None, None]})
    map_picture = Image.fromarray(probability[0, 0])
    large = np.asarray(map_picture.resize(picture.size, Image.Resampling.BILINEAR))
    file = io.BytesIO()
    Image.fromarray((large >= 0.5).astype(np.uint8) * 255).save(file, "PNG")
    return {"mask": base64.b64encode(file.getvalue()).decode()}


if __name__ == "__main__":
    port = int(sys.argv[1])
    print(f"http://127.0.0.1:{port}/", file=sys.stderr, flush=True)
    uvicorn.run(app, port=port, log_level="critical")
