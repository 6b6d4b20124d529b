"""Draws the equations of the concept pages, docs/figures/equation_*.png, with Matplotlib.

python docs/figures/equations.py
"""

from __future__ import annotations

import matplotlib.pyplot as plt
from _common import save

EQUATIONS = {
    "heatmap_loss": r"$L(p, g) = -\,\frac{1}{N}\,\sum_{n,i}\;g_{n,i}\,\log p_{n,i}"
    r" + (1 - g_{n,i})\,\log (1 - p_{n,i})$",
    "coherent_loss": r"$L = L(p_1, g_1) + L(p_2, g_2)"
    r" + \lambda\,\frac{1}{N}\,\sum_{n,i}\,\left(T\,h_1 - h_2\right)_{n,i}^2$",
    "taylor": r"$\mu = m - H^{-1}\,\nabla$",
    "deformable": r"$y(q) = \sum_{k}\; w_k\; m_k(q)\; x\left(q + d_k + \Delta_k(q)\right)$",
    "spread": r"$s = \sqrt{\frac{A}{4\pi}},\qquad A = \frac{(\sum_i\; p_i)^2}{\sum_i\; p_i^2}$",
}


def main() -> None:
    for name, text in EQUATIONS.items():
        figure = plt.figure(figsize=(6, 0.8), dpi=130)
        figure.text(0.5, 0.5, text, ha="center", va="center", fontsize=13, math_fontfamily="cm")
        save(figure, f"equation_{name}")
        plt.close(figure)


if __name__ == "__main__":
    main()
