"""Draws docs/figures/deformable_convolution.png: a sketch of taps, regular and displaced.

python docs/figures/deformable_convolution.py
"""

from __future__ import annotations

import numpy as np
from _common import GRAY, RED, TEAL, panels, save

CENTER, RADIUS, ANGLE = np.array([15.5, 15.5]), 10.0, np.deg2rad(-50)


def main() -> None:
    y, x = np.mgrid[:32, :32]
    ring = np.exp(-((np.hypot(x - CENTER[0], y - CENTER[1]) - RADIUS) ** 2) / 4)
    output = (CENTER + RADIUS * np.array([np.cos(ANGLE), np.sin(ANGLE)])).round()
    regular = output + [(dx, dy) for dy in (-2, 0, 2) for dx in (-2, 0, 2)]
    # Displaced, the rows of taps lie on three arcs around the center of the ring.
    radii = RADIUS + np.repeat([2.5, 0.0, -2.5], 3)
    angles = ANGLE + np.tile([-0.4, 0.0, 0.4], 3)
    arcs = CENTER + radii[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])

    figure, axes = panels(3)
    for axis in axes:
        axis.imshow(ring, cmap="gray_r", vmax=1.6)
        axis.plot(*output, "s", color=RED, markersize=9, fillstyle="none")
    axes[0].plot(*regular.T, "o", color=TEAL, markersize=5)
    axes[0].set_title("taps of a convolution, dilation 2")
    axes[1].plot(*regular.T, "o", color=GRAY, markersize=3)
    for start, end in zip(regular, arcs, strict=True):
        axes[1].annotate("", end, start, arrowprops={"arrowstyle": "->", "color": TEAL})
    axes[1].set_title("an offset for each tap")
    axes[2].plot(*arcs.T, "o", color=TEAL, markersize=5)
    axes[2].set_title("taps of a deformable convolution")
    save(figure, "deformable_convolution")


if __name__ == "__main__":
    main()
