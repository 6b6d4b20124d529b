"""Draws the small faces in `dummy_data/`, laid out and labeled as 300W-LP is.

python -m tfds_builders.w300_lp.make_dummy_data [FOLDER]
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import ImageOps

from keras_facealign.landmarks import IBUG68
from tfds_builders._drawing import draw_face, run, write_image, write_mat5

_FACES = (("AFW", "AFW_134212_1_0"), ("AFW", "AFW_134212_1_1"), ("IBUG", "IBUG_image_008_1_0"))


def parameters(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The arrays of the 3D model that 300W-LP and AFLW2000-3D have in common."""
    pose = [*rng.uniform(-0.8, 0.8, 3), *rng.uniform(50, 150, 3), 1.3e-3]
    return {
        "roi": np.array([[53, -166, 638, 419]], np.int16),
        "Illum_Para": rng.uniform(0, 1, (1, 10)).round(3),
        "Color_Para": rng.uniform(0, 1, (1, 7)).astype(np.float32),
        "Tex_Para": rng.normal(0, 3000, (199, 1)).round(),
        "Shape_Para": rng.normal(0, 1e5, (199, 1)).round(),
        "Exp_Para": rng.normal(0, 1, (29, 1)).round(3),
        "Pose_Para": np.array([pose], np.float32),
    }


def main(folder: Path) -> None:
    """Writes the whole set below `folder`; existing files of the same names are replaced."""
    rng = np.random.default_rng(61225)
    root = folder / "300W_LP"
    for subset, stem in _FACES:
        picture, landmarks = draw_face(rng)
        projected = landmarks.copy()
        projected[:8, 0] += 2  # the 3D jaw lies behind the visible contour
        write_image(root / subset / f"{stem}.jpg", picture)
        write_mat5(root / subset / f"{stem}.mat", {"pt2d": landmarks.T, **parameters(rng)})
        labels = {"pts_2d": landmarks, "pts_3d": projected}
        write_mat5(root / "landmarks" / subset / f"{stem}_pts.mat", labels)
        if subset != "IBUG":
            continue
        mirrored = ImageOps.mirror(picture)
        corner = np.array([picture.width - 1, 0])
        flipped = {
            name: (corner + points * [-1, 1])[IBUG68.flip_permutation]
            for name, points in labels.items()
        }
        write_image(root / f"{subset}_Flip" / f"{stem}.jpg", mirrored)
        arrays = {"pt2d": flipped["pts_2d"].T, **parameters(rng)}
        write_mat5(root / f"{subset}_Flip" / f"{stem}.mat", arrays)
        write_mat5(root / "landmarks" / f"{subset}_Flip" / f"{stem}_pts.mat", flipped)


if __name__ == "__main__":
    run(main, __file__)
