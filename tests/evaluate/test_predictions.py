"""Maps to score: those that are read in part leave no frame open."""

import threading
from collections.abc import Iterator

import numpy as np

from unisal_jax.evaluate.predictions import NetworkMaps
from unisal_jax.evaluate.sources import Group, ScoringData
from unisal_jax.predict.model import SaliencyModel


def test_maps_that_are_read_in_part_close_the_frames(golden):
    """The frames are read in another thread, which may be in the middle of one when the maps are closed."""
    model = SaliencyModel(golden(11), engine="onnxruntime")
    requested, closed = threading.Event(), threading.Event()

    def pixels() -> Iterator[np.ndarray]:
        try:
            for number in range(40):
                if number == 5:
                    requested.set()
                    # The maps are closed while this frame is read.
                    closing.wait(5)
                yield np.full((64, 96, 3), number, np.uint8)
        finally:
            closed.set()

    closing = threading.Event()
    group = Group("clip", tuple(f"{n:04}" for n in range(40)), pixels, lambda index: None)
    data = ScoringData("own", "test", "video", (group,))
    maps = NetworkMaps(model, data, model.domain("dhf1k", video=True), (64, 96), stride=2).maps(group)
    next(maps)
    assert requested.wait(10)
    threading.Timer(0.2, closing.set).start()
    maps.close()
    assert closed.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]
