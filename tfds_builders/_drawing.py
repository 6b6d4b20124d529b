"""Draws the faces of every `dummy_data` folder; no photograph is in any of them.

The faces are cartoons drawn over their own landmarks, so the labels fit the images exactly.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIZE = 96
"""Side of the images in pixels."""

# The drawing is made this much larger and then reduced, which smooths its edges.
_SUPERSAMPLE = 4


def template() -> np.ndarray:
    """68 landmarks of a plain frontal face, (68, 2), in a frame from -1 to 1, y down."""

    def arc(center_x: float, center_y: float, radius_x: float, radius_y: float, angles: np.ndarray):
        angles = np.deg2rad(angles)
        return np.stack(
            [center_x + radius_x * np.cos(angles), center_y + radius_y * np.sin(angles)], axis=1
        )

    jaw = arc(0, -0.15, 0.95, 1.1, np.linspace(180, 0, 17))
    right_brow = arc(-0.45, -0.4, 0.3, 0.18, np.linspace(200, 340, 5))
    left_brow = arc(0.45, -0.4, 0.3, 0.18, np.linspace(200, 340, 5))
    bridge = np.stack([np.zeros(4), np.linspace(-0.3, 0.1, 4)], axis=1)
    nostrils = arc(0, 0.15, 0.18, 0.08, np.linspace(180, 0, 5))
    eye_angles = np.array([180, 240, 300, 0, 60, 120])
    right_eye = arc(-0.42, -0.25, 0.17, 0.08, eye_angles)
    left_eye = arc(0.42, -0.25, 0.17, 0.08, eye_angles)
    outer_lip = arc(0, 0.5, 0.36, 0.18, 180 + 30 * np.arange(12))
    inner_lip = arc(0, 0.5, 0.26, 0.07, 180 + 45 * np.arange(8))
    return np.concatenate(
        [jaw, right_brow, left_brow, bridge, nostrils, right_eye, left_eye, outer_lip, inner_lip]
    )


def draw_face(rng: np.random.Generator) -> tuple[Image.Image, np.ndarray]:
    """Draws an image, SIZE x SIZE RGB; returns it and its landmarks (68, 2), 0-based pixels."""
    angle = rng.uniform(-0.3, 0.3)
    cosine, sine = np.cos(angle), np.sin(angle)
    shape = template() * rng.uniform([0.9, 0.9], [1.1, 1.1])
    landmarks = shape @ np.array([[cosine, sine], [-sine, cosine]]) * SIZE * rng.uniform(0.28, 0.34)
    landmarks = landmarks + SIZE / 2 + rng.uniform(-4, 4, size=2)

    background, skin, hair = rng.integers(40, 120, 3), rng.integers(150, 230, 3), (60, 40, 20)
    canvas = Image.new(
        "RGB", (SIZE * _SUPERSAMPLE, SIZE * _SUPERSAMPLE), tuple(int(c) for c in background)
    )
    pen = ImageDraw.Draw(canvas)

    def points(start: int, stop: int) -> list[tuple[float, float]]:
        # Pixel centers of the small image in the coordinates of the large one.
        return [tuple(p) for p in (landmarks[start:stop] + 0.5) * _SUPERSAMPLE - 0.5]

    brows_up = (landmarks[17:27] - landmarks[33]) * 1.25 + landmarks[33]
    forehead = [tuple(p) for p in ((brows_up + 0.5) * _SUPERSAMPLE - 0.5)[::-1]]
    pen.polygon(points(0, 17) + forehead, fill=tuple(int(c) for c in skin))
    for start, stop in ((17, 22), (22, 27)):
        pen.line(points(start, stop), fill=hair, width=8)
    pen.line(points(27, 31), fill=(130, 90, 80), width=5)
    pen.line(points(31, 36), fill=(110, 70, 60), width=6)
    for start, stop in ((36, 42), (42, 48)):
        pen.polygon(points(start, stop), fill=(250, 250, 250), outline=(20, 20, 20), width=3)
    pen.polygon(points(48, 60), fill=(190, 60, 70))
    pen.polygon(points(60, 68), fill=(90, 20, 30))
    return canvas.resize((SIZE, SIZE), Image.Resampling.BOX), landmarks


def pts_text(landmarks: np.ndarray, variant: int) -> bytes:
    """The `.pts` file of 0-based landmarks, in one of four forms that real copies have."""
    rows = [f"{x:.6f} {y:.6f}" for x, y in landmarks + 1]
    count = len(rows)
    lines = (
        ["version: 1", f"n_points:  {count}", "{", *rows, "}"],
        ["version: 1.0", f"n_points: {count}", "{", *rows, "}"],
        rows,
        ["version: 1", f"n_points: {count}", "{", *rows, "}", ""],
    )[variant % 4]
    ends = "\r\n" if variant % 4 == 1 else "\n"
    return (ends.join(lines) + ends).encode("ascii")


def write_image(path: Path, picture: Image.Image) -> None:
    """Writes an image as PNG or JPEG, by its suffix, and makes its folder."""
    content = io.BytesIO()
    picture.save(content, format="JPEG" if path.suffix == ".jpg" else "PNG", quality=85)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.getvalue())


def write_text(path: Path, text: str) -> None:
    """Writes a text file with LF line ends, and makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("ascii"))


def write_mat5(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes a MATLAB 5 file as MATLAB itself does: compressed, and with its header.

    Equal arrays give equal bytes: SciPy's header, which has the time, is replaced.
    """
    import scipy.io

    content = io.BytesIO()
    scipy.io.savemat(content, arrays, do_compression=True)
    header = b"MATLAB 5.0 MAT-file, Platform: PCWIN64, Created on: Wed Nov 18 08:59:42 2015"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.ljust(116) + content.getvalue()[116:])


def run(main: Callable[[Path], None], script: str) -> None:
    """Runs a script's `main` on the folder given, or on `dummy_data` next to the script."""
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(script).parent / "dummy_data")
