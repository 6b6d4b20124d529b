"""Draws docs/figures/calibration.png: standard deviation and visibility of landmarks.

python docs/figures/calibration.py
"""

from __future__ import annotations

import matplotlib.pyplot as plt
from _common import TEAL, network_and_crop, save
from matplotlib.patches import Circle


def main() -> None:
    model, crop = network_and_crop()
    covered = crop.copy()
    covered[76:] = 60
    figure, axes = plt.subplots(1, 3, figsize=(8.4, 2.9), dpi=130)
    for axis, image, title in ((axes[0], crop, "portrait"), (axes[1], covered, "chin covered")):
        outputs = model.predict_outputs(image[None])
        axis.imshow(image)
        for point, sigma, visible in zip(
            outputs["landmarks"][0], outputs["sigma"][0], outputs["visibility"][0], strict=True
        ):
            color = "#00e5ff" if visible > 0.5 else "#ff9100"
            axis.add_patch(Circle(tuple(point), float(sigma), fill=False, color=color, lw=0.9))
        axis.set_title(title, fontsize=8)
        axis.axis("off")
    axes[2].plot(model.calibration.spreads, model.calibration.sigmas, color=TEAL, marker=".")
    axes[2].set_xlabel("spread of the heatmap, pixels", fontsize=7)
    axes[2].set_ylabel("standard deviation, pixels", fontsize=7)
    axes[2].tick_params(labelsize=7)
    axes[2].set_title("fitted map between the two", fontsize=8)
    save(figure, "calibration")


if __name__ == "__main__":
    main()
