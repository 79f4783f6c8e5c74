"""ROC curves of attacks on logarithmic axes, where the few who are surely recognised can be seen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from mirage.report.figures import DASHES, INK, PALETTE, WIDTH, style

LEAST = 1e-3


def attack_rocs(panels: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]]) -> Figure:
    """One panel a space, one line an attack; the diagonal is guessing.

    Args:
        panels: space -> {attack -> (false, true accusations), shares rising from 0 to 1}.
    """
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    with style():
        figure = Figure(figsize=(WIDTH * (0.34 + 0.33 * (columns - 1)), 2.9 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        names = list(dict.fromkeys(name for own in panels.values() for name in own))
        for axis, (space, own) in zip(axes, panels.items(), strict=False):
            axis.plot([LEAST, 1], [LEAST, 1], color=INK, linewidth=0.8, alpha=0.6)
            for name, (false, true) in own.items():
                number = names.index(name)
                axis.step(
                    np.clip(false, LEAST, 1),
                    np.clip(true, LEAST, 1),
                    where="post",
                    color=PALETTE[number % len(PALETTE)],
                    linestyle=DASHES[number % len(DASHES)],
                    label=name.replace("_", " "),
                )
            axis.set(xscale="log", yscale="log", xlim=(LEAST, 1), ylim=(LEAST, 1.15), title=space)
            axis.set_xlabel("non-members accused (share)")
        for spare in axes[len(panels) :]:
            spare.set_visible(False)
        axes[0].set_ylabel("members accused (share)")
        handles = {
            label: handle
            for axis in axes[: len(panels)]
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=min(5, len(handles))
        )
    return figure
