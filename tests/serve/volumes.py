"""Pictures as ITK writes them (SimpleITK 2.5.7), which is what 3D Slicer saves volumes with.

Each has 24 rows of 32 pixels; `PIXELS` and `COLOURS` are what was written. Spacing 0.2 (x), 0.1 (y), origin (3, -4, 5).
"""

import base64

import numpy as np

ROWS, COLUMNS = np.mgrid[:24, :32]
PIXELS = ((7 * ROWS + 3 * COLUMNS) % 256).astype(np.uint8)
COLOURS = np.stack([PIXELS, 255 - PIXELS, PIXELS // 2], axis=-1)

_TEXTS = {
    "gray.nii.gz": (
        "H4sIAAAAAAAAA4thZCACFDEwMygwSDAwwiEqYGLgANMN9mfP+NidPXPGFsTGNGeDM5I4F8MAA1R/gNzlcICBocGBgWGBw9kzPvsQ"
        "ciBxBoazZ87shap1QNW3AIkPAXnahhAGMxsnD7+QqIS0nKKKupaugbGZpY29k6uHt19gSHhULDsXr4CwmKSMvJKqhraeoYm5la2D"
        "s5unj39QaER0XGIKn6CIuJSsgrKapo6+kamFtZ2ji7uXb0BwWGRMfFJqRjZOgxOS0zJz8otwGpyelVtQXFaJ0+C8wpLyqtoGnAaX"
        "VlTXNba04zS4pr6ptaO7D6fBzW2dPf2TpuI0uKt3wuRpM+fgNHjilOmz5i5YjNPgGbPnLVyyfBVOg+cvWrpi9bqNOA1etnLN+k1b"
        "d+A0eO2Gzdt27tmP0+At23ftPXD4GE6Dd+87eOT4qbM4DT509MTpcxev4DT45Jnzl67euI3T4AuXr928c/8RToOv37r74PGzlzgN"
        "vvfwyfNXbz/gNPjpi9fvPn75jtPgN+8/ff3x+x8A+GcPE2AEAAA="
    ),
    "int16.nii.gz": (
        "H4sIAAAAAAAAA8XPd/APZBwH8JfT1XHJiMiIkuw9y/oKRf3skeysbBmZya/syKxsfqSsyF5Z2eX7zSxbqVCZdZzu3Dn3w+F3/dM9"
        "/3g/fzyf5/OMez1Nk/kf6SG5HDJJdm8kzSPS3J7jK8aicRVi0Wj5xPq/7yyt/EA/pYecpP9IdEW2EB8hIRKLxm26v5fYJxaNbrx7"
        "NpL0XsID6zvpmr/o3Sq5R6XwuNTSySCTLJ7xrOfllk9BRRRXyovKqehlVVXzuprqqO8NjTXzmJRSSeNJT3laVtk9J5c88iukqBJK"
        "e0l5EZW9oro4tdTVQCNNNPeWNp6QVnoZZZZNDjm9IK8CCiumpDLKqqCSKl71mhpqq6ehNzXVQitttdcpQNxSa+100Fk3PQLEb+uo"
        "i3f01Fu/AHFX3fXSR38DxQeI39XXAO/7wBDDA8TvGeRDQ40wypgA8WDDjDTaWBN8GiD+yMfGmegzU0wPEI/3iUmmmiHB5wHiyaaZ"
        "aba55lkYIJ5lji/Mt8gSywLEX1rgK19bbpW1AeLFllphtXU22BwgXmmN9TbaYpudAeJvbPKt7Xb5XixAvNUOu+3xg/0OBYi/E7XX"
        "AT864niAeJ+DfnLUCT/7NUB82DEn/eI3Z/0ZID7ltN+d85eLrgSIz/jDeZf87arrAeILLvvHNf+64aZbaVWoS2AHAAA="
    ),
    "rgb.nii.gz": (
        "H4sIAAAAAAAAA8XPdVDUQRQH8N95ShzdRx8dRx1dF3A0Rzcc3XXA0Y1KKKGghNJ2K3aC2HWnYIASFpiUoiiOjjqoM+I4b8b//P6x"
        "8/btvs/s0lHIP4SJLENwCBZBISgE/WNdnBn0EoTrR1VCZrNoJDaLRVyo/3a6qIv6GOQ/589/LLyL0osgJRQE6aSwWbSe32cLfQRh"
        "s1jdv+5S/pzrXLT/GQae8LNAc3DzCgiLYaXlFJTVNLX1DIzNLMnWtg7Orh7efoHBnBg+QRFxSRl5RRV1vA7B0MScSKHaOdLcPH38"
        "g0LCo/iFRCWkZHFKqhpauvpGphYkKxt7Jxd3L98AemhEdFwiCIdFxsQnpTBBODYhOTU9KxeEGWkZ2XmFJSCcmZNftLy0AoQLileU"
        "rapaA8Iry1dXr13XAMKVNbXrGze2gnBdfVNzW+cWEN7Q0r5p647dINyxedvOPfsPgvD2XXsPHDp6AoT3dR0+dvLMWRA+cvxUd++F"
        "yyB8uufcxSvX2SB8/tLVGzf774LwNdat2/fuD4Nw352BByOPnoLw4NDo47Hnr0D44ZPxF6+n3oDws5cT02/ffwThyZnZufnPX799"
        "+fTh3Zup1y/Gnzwcvn/v9i3WtcsXertPHT9ycP+ends2z8/Nzky+ej72eHRo8G7/zRtXL50/e+bkscNd+3bv2LqpveXt9MTLZ08f"
        "jTwYuNPHvn7l4rme0yeOHjqwd9f2LZ1tzU31INzRurFxfW0NCG9oWLe2enU5CNetqVpVtqIYhCsrSpcX5eeA8MqSwrzsjDQQLsjN"
        "Sk9NTgDhTGZKUnxMJAgzEuOiI0LpIBwbFR4S5O8DwmHBgX7eHq4gHODr5e7iZA/Cnm40RzsqBYSdHWytyZZmIGxjRbIwNdIHYaK5"
        "iSFBBw/CxgZ62ppqyiCsq6WhqoSTBWF1FUV5GUlxEFaQk8aKCQuAsJSEqBA/DxcIiwjyYTiXohAUeikHJzeGl09AUFhETBwrKS0j"
        "J6+gqKyipq6J19ZBL+Pg4ubh5RcQEhYVk8BKScvK4RSUlFXVNDS1tHX19Dm5MDx8/IJCIqLiEpJSMrLyOEUlFVV1DbyWji5B39AI"
        "hPUIBobGJmYgbGBkbGpmYQnCJqbmFkQSBYTNLYlkijUVhElkK2sbW3sQtqLa2Nk7OoGwrZ2DozPNFYQdnJxdXN09QJjm4ubu6eUD"
        "wm4ent4+fv4g7OXt6xcQSAdhX/+AIHpIKAgHBgWHhIVHgnBwaFhEZHQMCIdHREXHxiWAcFRMbHxCUjIIx8UnJjFS0kA4MZmRmpae"
        "AcIpqcz0zKwcEGZmZGbn5OWDcFZ2bl5BYfF3Hotx6WAKAAA="
    ),
    "gray.nrrd": (
        "TlJSRDAwMDQKIyBDb21wbGV0ZSBOUlJEIGZpbGUgZm9ybWF0IHNwZWNpZmljYXRpb24gYXQ6CiMgaHR0cDovL3RlZW0uc291cmNl"
        "Zm9yZ2UubmV0L25ycmQvZm9ybWF0Lmh0bWwKdHlwZTogdW5zaWduZWQgY2hhcgpkaW1lbnNpb246IDMKc3BhY2U6IGxlZnQtcG9z"
        "dGVyaW9yLXN1cGVyaW9yCnNpemVzOiAzMiAyNCAxCnNwYWNlIGRpcmVjdGlvbnM6ICgwLjIwMDAwMDAwMDAwMDAwMDAxLDAsMCkg"
        "KDAsMC4xMDAwMDAwMDAwMDAwMDAwMSwwKSAoMCwwLDEpCmtpbmRzOiBkb21haW4gZG9tYWluIGRvbWFpbgplbmNvZGluZzogZ3pp"
        "cApzcGFjZSBvcmlnaW46ICgzLC00LDUpCgofiwgAAAAAAAADY2Bm4+ThFxKVkJZTVFHX0jUwNrO0sXdy9fD2CwwJj4pl5+IVEBaT"
        "lJFXUtXQ1jM0MbeydXB28/TxDwqNiI5LTOETFBGXklVQVtPU0TcytbC2c3Rx9/INCA6LjIlPSs3IxmlwQnJaZk5+EU6D07NyC4rL"
        "KnEanFdYUl5V24DpYqjBpRXVdY0t7ZguhhpcU9/U2tHdh+liqMHNbZ09/ZOmIgUFqsFdvRMmT5s5BykoUA2eOGX6rLkLFiMFBarB"
        "M2bPW7hk+SpQGGM1eP6ipStWr9sICmOsBi9buWb9pq07QGGM1eC1GzZv27lnPyiMoUEBdTHU4C3bd+09cPgYKIyhQQF1MdTg3fsO"
        "Hjl+6iwojKFBAXUx1OBDR0+cPnfxCiiMsRp88sz5S1dv3AaFMVaDL1y+dvPO/UegMMZq8PVbdx88fvYSFMaoLoYafO/hk+ev3n4A"
        "hTGqi6EGP33x+t3HL99BYYzqYqjBb95/+vrj9z8AKqAAEgADAAA="
    ),
    "rgb.nrrd": (
        "TlJSRDAwMDQKIyBDb21wbGV0ZSBOUlJEIGZpbGUgZm9ybWF0IHNwZWNpZmljYXRpb24gYXQ6CiMgaHR0cDovL3RlZW0uc291cmNl"
        "Zm9yZ2UubmV0L25ycmQvZm9ybWF0Lmh0bWwKdHlwZTogdW5zaWduZWQgY2hhcgpkaW1lbnNpb246IDQKc3BhY2U6IGxlZnQtcG9z"
        "dGVyaW9yLXN1cGVyaW9yCnNpemVzOiAzIDMyIDI0IDEKc3BhY2UgZGlyZWN0aW9uczogbm9uZSAoMC4yMDAwMDAwMDAwMDAwMDAw"
        "MSwwLDApICgwLDAuMTAwMDAwMDAwMDAwMDAwMDEsMCkgKDAsMCwxKQpraW5kczogdmVjdG9yIGRvbWFpbiBkb21haW4gZG9tYWlu"
        "CmVuY29kaW5nOiBnemlwCnNwYWNlIG9yaWdpbjogKDMsLTQsNSkKCh+LCAAAAAAAAANj+M/A/IeR7Scz5zcWns9s/B/Yhd5yir7i"
        "knjOI/2EV+4hv+I9AZXbQuo3hLWuiupeEjM4L2F8RtLspLTlMRmbw3L2B+Sd9iq67lLy2K7ivUXVb6N64DqNkNVa4Su0o5bqxi7S"
        "Y//BzPWVlfcTm8B7DuE3nGIvuSWf8cg85pN/wK90V1D1lpDGdRHtK6J6F8UNz0mYnJYyPyFtdVTW9pCcw34F5z2KbjuVPbep+GxW"
        "89+gHrRWM3SVVsRyneglunEL9RPnGaTMNuL7yC74jkPkNZf4C26pp7yyj/gU7gso3xFUuymseU1E57KY/gVxo7OSpqekLI7LWB+R"
        "tTso77hPwWW3kvsOZa+tqr6b1ALWawSv0QxbqR25TCdmsV78Av2kuYaps4wypptkTzGlYlAkzDdInmOYNtM4c5pJzmSz/AnmRb2W"
        "VAyK9BnGWVNNcyeZFfRbFPdYlnVaV7bZUDEo8iaaF/ZZlHRblXdYV7Xa1jbZNdQ7kJcqsAZFaZdVRbtNdYttXaN9Y51DS7VTe4Uz"
        "eakCa1DUNNvVN9g31Tq2Vjl1lLt0l7j2FbqTlyqwBkVzjWNbpXNnmUtPsVt/gfukXM+pWV4EMwjxQdFV6tpb5DYh32Nyjue0TO+Z"
        "aT5zkv0IZhDig2JinseUbK/pGd6zUn3nJvktiA9YHBNIMIMQHxQz0n1mp/jOS/RfGBewJDpoeUTwqtBQ5LKCwqCYn+C/KDZwaVTQ"
        "ivCQ1SGh6wLDN/pFIJcVFAbFssjglWEha4LD1geEb/KN3OoVtcM9BrmsoDAo1gaFbfCP2OwTuc0zeqdbzB7nuP0O8chlBdYMgjVV"
        "YA2KLd5R2z2id7nG7nWKO2CfcNgm8ZhlMnJZgTWDYE0VWINit0vsPsf4g3YJR6yTjlsknzJNPWuUhlxWYM0gWFMF1qA4ZJt41Crp"
        "hHnKaZPUc4bpF/UyrmhnIZcVFAbFSbOUM8Zp5w3SL+lmXtXKuqGec1slF7msoDAoLuhnXNbJvKaZfVMt545y3n2F/EeyhchlBYVB"
        "cV0j+5Zq7l2lvAfyBY9lCp9JFr8UK0EuK4hPFViD4p5i/kO5gifSRc8lil+Jlr4VKvvAX4FcVhCfKrAGxVOpohfiJa9FSt8Jln/k"
        "q/jCXfWdoxq5rCA+VWANijfCZe8Fyj/xVn7lqvrBXvObpfYfYz0Ak4j4PQAJAAA="
    ),
    "float.nrrd": (
        "TlJSRDAwMDQKIyBDb21wbGV0ZSBOUlJEIGZpbGUgZm9ybWF0IHNwZWNpZmljYXRpb24gYXQ6CiMgaHR0cDovL3RlZW0uc291cmNl"
        "Zm9yZ2UubmV0L25ycmQvZm9ybWF0Lmh0bWwKdHlwZTogZmxvYXQKZGltZW5zaW9uOiAzCnNwYWNlOiBsZWZ0LXBvc3Rlcmlvci1z"
        "dXBlcmlvcgpzaXplczogMzIgMjQgMQpzcGFjZSBkaXJlY3Rpb25zOiAoMC4yMDAwMDAwMDAwMDAwMDAwMSwwLDApICgwLDAuMTAw"
        "MDAwMDAwMDAwMDAwMDEsMCkgKDAsMCwxKQpraW5kczogZG9tYWluIGRvbWFpbiBkb21haW4KZW5kaWFuOiBsaXR0bGUKZW5jb2Rp"
        "bmc6IGd6aXAKc3BhY2Ugb3JpZ2luOiAoMywtNCw1KQoKH4sIAAAAAAAAA73V/6uecxzH8UeSlqQlaUlakpakJWlJXO9X0pK0JC1J"
        "S9KStCQtScMw3w+GYTiY78MwDBvH92E4GIZhGIbh0GRF0v371VXnbve5/oFPPT6vz/Oi940cRdMw1DDSMNYwuZhWNMXsYl6xsBgq"
        "lhYPFiuLkWJdsaHYXIwV/xY7h13D5LBX2CfsF6aFg8Oh4fAwp2G4YbRBMaWYXsws5hTzi0XF4mK4WF6sKl4rRouNxZZiWyHsEnYL"
        "e4QpYd+wfzgwTA+HhSNCwsywqWFSMbWYUcwq5hYLiquLJcWyYkWxulhbrC82FVuL7cVOYVLYPewZ9g5TwwHhoHBImBGODEeHY8Os"
        "cFLPYwKMm3BMOC6cEGaHU8PpPf8JMD4+nBhO7p0XzghnhXMyMcanhNPC3HB2ODecHxZkx+24y/jMMC+cFy4IF4WF4fLsuB13Gc8P"
        "F4aLw6VhUbgqXNvb/w7acZfxJeGycEXvvsN14YZwU8bXin6NrwzXhKFwY7g53BqWjrMV/RpfHxaHW8Jt4Y4wHO4dZyv6NV4Sbg93"
        "hrvDsvBAeLilx4MwvivcE+7rvbfwSHgsPNHS40EY3x8eCsvD4+HJ8HRY1dLjQRg/GlaEp8Iz4bmwOrzU0uOuVnTtuMt4ZXg2PB/W"
        "hJHwanijpcddrejacZfxC+HF8HKvd+HN8HZ4t6XHXa3o2nGX8Svh9bA2vBPeCx+E9S09HoTxW2FdeD98GD4OG8IXLT0ehPFo+Ch8"
        "Ej4LG8PX4duWHg/C+NPwefiy978J34Ufwk8tPe53x13GX4VvwubwY/g5/BrGWnrc7467jL8PW8Iv4bfwR9gW/m7pcb877jLeGn4P"
        "f4a/wvbwT/gv/wP5hylIAAwAAA=="
    ),
    "two.nii.gz": (
        "H4sIAAAAAAAAA4thZCACFDEwMygwSDAwMTBCISpgYuAA0w32qBgdbHBGEudiGGCA6g+wuxqgGETtR5ZEE2tA04cB8rQNIQxmNk4e"
        "fiFRCWk5RRV1LV0DYzNLG3snVw9vv8CQ8KhYdi5eAWExSRl5JVUNbT1DE3MrWwdnN08f/6DQiOi4xBQ+QRFxKVkFZTVNHX0jUwtr"
        "O0cXdy/fgOCwyJj4pNSMbJwGJySnZebkF+E0OD0rt6C4rBKnwXmFJeVVtQ04DS6tqK5rbGnHaXBNfVNrR3cfToOb2zp7+idNxWlw"
        "V++EydNmzsFp8MQp02fNXbAYp8EzZs9buGT5KpwGz1+0dMXqdRtxGrxs5Zr1m7buwGnw2g2bt+3csx+nwVu279p74PAxnAbv3nfw"
        "yPFTZ3EafOjoidPnLl7BafDJM+cvXb1xG6fBFy5fu3nn/iOcBl+/dffB42cvcRp87+GT56/efsBp8NMXr999/PIdp8Fv3n/6+uP3"
        "v9H0P5r+a0Zw+gcAYwKe2GAHAAA="
    ),
}
VOLUMES = {name: base64.b64decode(text) for name, text in _TEXTS.items()}
