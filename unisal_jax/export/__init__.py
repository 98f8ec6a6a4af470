"""Export of the network to files that run without this package.

A file from `unisal export --format onnx --streaming --uint8 unisal.onnx` requires NumPy and ONNX Runtime:

    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession("unisal.onnx")
    frames, state = session.get_inputs()
    hidden = np.zeros(state.shape, np.float32)
    for frame in np.load("frames.npy"):  # uint8 RGB of size frames.shape[1:3]
        density, hidden = session.run(None, {"frames": frame[None], "state": hidden})
        print(divmod(int(density.argmax()), density.shape[2]))  # (row, column) of the peak

Images, exported without `--streaming`, have no state: `density, = session.run(None, {"frames": images})`.
Without `--uint8`, inputs are normalised, `(value / 255 - mean) / std` by channel, [batch, 3, height, width],
and the maps are log-densities. A sequence takes every n-th frame of a video; n is the card's `frame_stride`.

A file from `unisal export --format stablehlo unisal.stablehlo` requires JAX, NumPy and flatbuffers:

    import jax.export

    exported = jax.export.deserialize(bytearray(open("unisal.stablehlo", "rb").read()))
    (log_density,) = exported.call(normalised)

The card, `OUT.json`, describes shapes and meaning of each input and output, and contains a test vector.
"""
