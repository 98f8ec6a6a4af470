"""Handmade recordings for the tests."""

import numpy as np

from unisal_jax.gaze.recording import Recording

HD = (1080, 1920)


def recording(rows, **facts) -> Recording:
    """A recording of (stimulus, observer, start, duration, x, y) rows."""
    stimuli, observers, *numbers = (list(column) for column in zip(*rows, strict=True))
    start, duration, x, y = (np.array(column, np.float64) for column in numbers)
    told = {
        "path": "in/a.tsv",
        "format": "tobii",
        "kind": "samples" if np.isnan(duration).all() else "fixations",
        "space": "screen",
        "screen": HD,
        "trials": [""] * len(rows),
        "clock": "stimulus",
        "dropped": {},
        "notes": (),
    } | facts
    return Recording(stimuli=stimuli, observers=observers, start=start, duration=duration, x=x, y=y, **told)
