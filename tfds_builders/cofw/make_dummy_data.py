"""Draws the small faces in `dummy_data/`, stored as COFW's MATLAB 7.3 files store them.

python -m tfds_builders.cofw.make_dummy_data [FOLDER]
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfds_builders._drawing import draw_face, run

# Which of the 68 points of a drawing stand for COFW's 29; the pupils are the eyes' means.
_POINTS = (
    *((17,), (26,), (21,), (22,), (18,), (25,), (20,), (23,)),
    *((36,), (45,), (39,), (42,), (37,), (44,), (41,), (46,)),
    *(tuple(range(36, 42)), tuple(range(42, 48))),
    *((31,), (35,), (30,), (33,), (48,), (54,), (51,), (62,), (66,), (57,), (8,)),
)


def landmarks_29(landmarks: np.ndarray) -> np.ndarray:
    """(29, 2) of a drawing's (68, 2)."""
    return np.stack([landmarks[list(points)].mean(axis=0) for points in _POINTS])


def write_mat73(
    path: Path,
    ending: str,
    pictures: list[np.ndarray],
    landmarks: list[np.ndarray],
    occluded: list[np.ndarray],
) -> None:
    """Writes a file as COFW's: transposed arrays, pictures behind references, MATLAB's header.

    Args:
        path: The file.
        ending: Of the arrays' names, `Tr` or `T`.
        pictures: uint8 (H, W, 3) or (H, W).
        landmarks: (29, 2) each, 0-based pixels.
        occluded: (29,) each, 1 where a landmark is.
    """
    import h5py

    path.parent.mkdir(parents=True, exist_ok=True)
    count = len(pictures)

    def put(group: h5py.Group, name: str, values: np.ndarray, kind: str) -> h5py.Dataset:
        dtype = h5py.ref_dtype if kind == "cell" else None
        options = {} if kind == "cell" else {"compression": "gzip", "compression_opts": 3}
        dataset = group.create_dataset(name, data=values, dtype=dtype, **options)
        dataset.attrs["MATLAB_class"] = np.bytes_(kind)
        return dataset

    with h5py.File(path, "w", userblock_size=512, libver="earliest") as file:
        group = file.create_group("#refs#")
        references = np.empty((1, count), h5py.ref_dtype)
        for index, picture in enumerate(pictures):
            references[0, index] = put(group, chr(ord("a") + index), picture.T, "uint8").ref
        put(file, f"Is{ending}", references, "cell")
        points = [p.T.ravel() + 1 for p in landmarks]
        labels = [np.concatenate(pair) for pair in zip(points, occluded, strict=True)]
        put(file, f"phis{ending}", np.stack(labels, axis=1).astype(np.float64), "double")
        low = np.floor([p.min(axis=0) + 1 for p in landmarks])
        size = np.ceil([np.ptp(p, axis=0) for p in landmarks])
        put(file, f"bboxes{ending}", np.concatenate([low, size], axis=1).T, "double")
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Fri Feb  7 12:00:00 2014"
    header += b" HDF5 schema 1.00 ."
    with path.open("r+b") as stream:
        stream.write(header.ljust(124) + b"\x00\x02IM")


def draw(rng: np.random.Generator, gray: bool) -> tuple[np.ndarray, np.ndarray]:
    """A picture, (H, W, 3) or (H, W), and its 68 landmarks."""
    picture, landmarks = draw_face(rng)
    return np.asarray(picture.convert("L") if gray else picture), landmarks


def main(folder: Path) -> None:
    """Writes the whole set below `folder`; existing files of the same names are replaced."""
    rng = np.random.default_rng(29)
    for name, ending, count in (("train", "Tr", 3), ("test", "T", 2)):
        faces = [draw(rng, gray=index == 1) for index in range(count)]
        write_mat73(
            folder / f"COFW_{name}_color.mat",
            ending,
            [picture for picture, _ in faces],
            [landmarks_29(landmarks) for _, landmarks in faces],
            [(rng.random(29) < 0.25).astype(np.float64) for _ in faces],
        )


if __name__ == "__main__":
    run(main, __file__)
