"""Draws docs/figures/sat2_cab_curve.png: validation error of `sat2_cab` at half its width.

python docs/figures/sat2_cab_curve.py
"""

from __future__ import annotations

import numpy as np
from _common import FOLDER, GRAY, TEAL, plt, save

RUN = FOLDER / "sat2_cab_curve.csv"
START = 3.09  # sat2_cab_small, from which the run starts, without label offset


def main() -> None:
    log = np.genfromtxt(RUN, delimiter=",", names=True)
    figure, axis = plt.subplots(figsize=(4.2, 2.6), dpi=130)
    axis.plot(log["step"], log["val_nme"], "o-", color=TEAL)
    axis.axhline(START, color=GRAY, linestyle="--")
    axis.text(log["step"].min(), START, "sat2_cab_small", color=GRAY, va="top")
    axis.set_xlabel("steps of 6 images")
    axis.set_ylabel("NME, %")
    axis.set_ylim(3.0, None)
    save(figure, "sat2_cab_curve")


if __name__ == "__main__":
    main()
