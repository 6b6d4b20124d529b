"""Makes a small set of pictures with labels of one's own: 21 points, as COCO keypoints.

    python examples/own_landmarks.py my_faces --count 40

writes `my_faces/labels.json` and the pictures beside it. The pictures are warps of one photo in the
public domain, the astronaut Eileen Collins: faces of changed proportions, turned, enlarged,
mirrored, in other light, some behind a bar that hides points. They show every step on labels of
one's own; a network trained on them knows one person.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

PHOTO = Path(__file__).parent / "astronaut.jpg"
SIZE = 256  # side of the pictures in pixels
PICTURES_OF_ONE = 2  # pictures of each face

# The labels: positions in the photo, in pixels. Right and left are the person's own.
POINTS = {
    "right_brow_outer": (190, 90.4),
    "right_brow_inner": (213.6, 93),
    "left_brow_inner": (239, 93),
    "left_brow_outer": (263, 95),
    "right_eye_outer": (194.4, 100.4),
    "right_pupil": (203.2, 100.4),
    "right_eye_inner": (211, 102),
    "left_eye_inner": (238, 104),
    "left_pupil": (246.6, 103),
    "left_eye_outer": (258, 103.4),
    "nose_bridge": (227.4, 102),
    "right_nostril": (213.4, 130),
    "nose_tip": (224.4, 125),
    "left_nostril": (237, 130.4),
    "right_mouth_corner": (204, 139.6),
    "upper_lip": (223.2, 138.4),
    "left_mouth_corner": (244, 141),
    "lower_lip": (222.4, 154),
    "right_ear_lobe": (180, 129.6),
    "chin": (222, 178.4),
    "left_ear_lobe": (271.6, 135.6),
}
# Lines of the drawing, by the numbers of the points.
SKELETON = [
    *[(0, 1), (2, 3), (4, 5), (5, 6), (7, 8), (8, 9), (10, 12), (11, 12), (12, 13)],
    *[(14, 15), (15, 16), (16, 17), (17, 14), (18, 19), (19, 20)],
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="folder for the pictures and labels.json")
    parser.add_argument("--count", type=int, default=40, help="number of pictures")
    parser.add_argument("--seed", type=int, default=0, help="other numbers give other faces")
    args = parser.parse_args()
    make(args.output, args.count, args.seed)
    print(f"{args.count} pictures with {len(POINTS)} points each are in {args.output}")


def make(output: Path, count: int, seed: int = 0) -> Path:
    """Writes pictures and labels; returns the path of the labels."""
    output.mkdir(parents=True, exist_ok=True)
    photo = np.asarray(Image.open(PHOTO))
    names = list(POINTS)
    images, annotations = [], []
    for index in range(count):
        person = index // PICTURES_OF_ONE
        picture, points = warped(photo, [seed, person], [seed, person, index])
        points, names_now = mirrored_names(picture, points, names, person % 2 == 1)
        if names_now is not names:
            picture = picture[:, ::-1]
        picture, hidden = behind_a_bar(picture, points, np.random.default_rng([seed, 7, index]))
        file_name = f"face_{seed}_{index:03d}.png"
        Image.fromarray(np.ascontiguousarray(picture)).save(output / file_name)
        images.append(
            {"id": index, "file_name": file_name, "width": SIZE, "height": SIZE}
            | {"person_id": f"{seed}_{person}"}
        )
        flags = np.where(hidden, 1, 2)
        keypoints = np.column_stack([points.round(2), flags]).ravel().tolist()
        low, high = points.min(axis=0), points.max(axis=0)
        annotations.append(
            {"id": index, "image_id": index, "category_id": 1, "iscrowd": 0}
            | {"keypoints": keypoints, "num_keypoints": len(points)}
            | {"bbox": [*low.round(2).tolist(), *(high - low).round(2).tolist()]}
        )
    category = {"id": 1, "name": "face", "keypoints": names}
    category["skeleton"] = [[a + 1, b + 1] for a, b in SKELETON]  # COCO counts from 1
    content = {"images": images, "annotations": annotations, "categories": [category]}
    path = output / "labels.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def warped(photo: np.ndarray, face: list[int], picture: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Draws one picture: proportions depend on the face, place and light on the picture."""
    proportions, rng = np.random.default_rng(face), np.random.default_rng(picture)
    centers = proportions.uniform([175, 85], [275, 185], (6, 2))
    shifts = proportions.normal(0, 2.5, (6, 2))

    def bend(points: np.ndarray) -> np.ndarray:
        """Moves points of the face, in pixels of the photo; nearby ones move alike."""
        distance = ((points[..., None, :] - centers) ** 2).sum(axis=-1)
        return points + np.exp(-distance / (2 * 22**2)) @ shifts

    angle, scale = np.radians(rng.uniform(-20, 20)), rng.uniform(0.9, 1.6)
    squeeze = proportions.uniform(0.92, 1.08)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = turn @ np.diag([squeeze, 1 / squeeze])
    middle, place = np.array([225.0, 130.0]), SIZE / 2 + rng.uniform(-20, 20, 2)
    grid = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), axis=-1)
    source = bend((grid - place) @ np.linalg.inv(turn).T + middle).astype(np.float32)
    picture_pixels = cv2.remap(
        photo, source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    labels = np.array(list(POINTS.values()))
    unbent = labels
    for _ in range(20):  # the point that is bent to each label
        unbent = labels - (bend(unbent) - unbent)
    points = (unbent - middle) @ turn.T + place
    light = rng.uniform(0.7, 1.2) * rng.uniform(0.9, 1.1, 3)
    noisy = picture_pixels * light + rng.normal(0, rng.uniform(0, 8), picture_pixels.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), points


def mirrored_names(
    picture: np.ndarray, points: np.ndarray, names: list[str], mirror: bool
) -> tuple[np.ndarray, list[str]]:
    """Mirrors the points of every second face; what was right is left then."""
    if not mirror:
        return points, names
    swapped = [
        name.replace("right", "?").replace("left", "right").replace("?", "left") for name in names
    ]
    flipped = points * [-1, 1] + [picture.shape[1] - 1, 0]
    return flipped[[swapped.index(name) for name in names]], swapped


def behind_a_bar(
    picture: np.ndarray, points: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Hides points of every third picture behind a bar of one color."""
    if rng.integers(3):
        return picture, np.zeros(len(points), bool)
    picture = picture.copy()
    x, y = points[rng.integers(len(points))]
    left, top, right, bottom = int(x - 20), int(y - 12), int(x + 20), int(y + 12)
    picture[max(top, 0) : bottom + 1, max(left, 0) : right + 1] = rng.integers(0, 256, 3)
    inside = (points >= [left, top]) & (points <= [right, bottom])
    return picture, inside.all(axis=1)


if __name__ == "__main__":
    main()
