"""Draws docs/figures/heatmaps.png: from a crop to heatmaps to a sub-pixel position.

python docs/figures/heatmaps.py
"""

from __future__ import annotations

import numpy as np
from _common import RED, TEAL, network_and_crop, panels, save

LANDMARK = 36  # outer corner of the right eye
REACH = 4  # map pixels around the peak in the last panel


def main() -> None:
    model, crop = network_and_crop()
    logits = np.asarray(model(crop[None])[-1])[0]
    landmarks, _ = model.predict_landmarks(crop[None])
    probability = 1 / (1 + np.exp(-logits))
    side = probability.shape[0]
    one = probability[..., LANDMARK]
    row, column = np.unravel_index(one.argmax(), one.shape)
    ratio = model.input_size / side
    peak = (np.array([column, row]) + 0.5) * ratio - 0.5

    figure, axes = panels(4)
    axes[0].imshow(crop)
    axes[0].set_title(f"crop, {model.input_size} × {model.input_size}")
    extent = (-0.5, model.input_size - 0.5, model.input_size - 0.5, -0.5)
    axes[1].imshow(probability.max(axis=-1), cmap="magma", extent=extent)
    axes[1].set_title(f"all 68 heatmaps, {side} × {side}")
    axes[2].imshow(one, cmap="magma", extent=extent)
    axes[2].set_title("heatmap of one landmark")
    axes[3].imshow(one, cmap="magma", extent=extent)
    axes[3].plot(*peak, "s", color=TEAL, label="highest pixel")
    # The offset belongs to the labels, not to the heatmap.
    decoded = landmarks[0, LANDMARK] - np.asarray(model.landmark_offset)
    axes[3].plot(*decoded, "o", color=RED, label="decoded")
    axes[3].set_xlim(peak[0] - REACH * ratio, peak[0] + REACH * ratio)
    axes[3].set_ylim(peak[1] + REACH * ratio, peak[1] - REACH * ratio)
    axes[3].legend(fontsize=6)
    axes[3].set_title("the same, enlarged")
    save(figure, "heatmaps")


if __name__ == "__main__":
    main()
