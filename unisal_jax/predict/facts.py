"""Numbers that summarise a prediction in JSON."""

from typing import Any

import numpy as np

from unisal_jax.documents import rounded


def summarise(density: np.ndarray) -> dict[str, Any]:
    """Computes the peak, centre of mass and spread of a density [height, width].

    Returns:
      `peak` (row, column, density), `centre_of_mass` (row, column) and `spread`, the standard
      deviations (rows, columns); all in pixels, with 0 at the centre of the first pixel.
    """
    density = np.asarray(density)
    rows, columns = (density.sum(axis, dtype=np.float64) for axis in (1, 0))
    rows, columns = rows / rows.sum(), columns / rows.sum()
    row, column = np.unravel_index(density.argmax(), density.shape)

    def moments(weights: np.ndarray) -> tuple[float, float]:
        at = np.arange(len(weights))
        mean = (weights * at).sum()
        return round(float(mean), 4), round(float(np.sqrt((weights * (at - mean) ** 2).sum())), 4)

    (mean_row, spread_rows), (mean_column, spread_columns) = moments(rows), moments(columns)
    return {
        "centre_of_mass": {"column": mean_column, "row": mean_row},
        "peak": {"column": int(column), "density": rounded(float(density.max())), "row": int(row)},
        "spread": {"columns": spread_columns, "rows": spread_rows},
    }


def shown_at(seconds: float | None) -> dict[str, float]:
    """Returns the JSON entry for a frame's time; empty if the time is unknown."""
    return {} if seconds is None else {"seconds": round(seconds, 6)}
