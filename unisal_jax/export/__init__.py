"""The network as a file that runs without this package.

After `unisal export --format onnx --streaming --uint8 unisal.onnx`, numpy and ONNX Runtime are enough:

    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession("unisal.onnx")
    frames, state = session.get_inputs()
    hidden = np.zeros(state.shape, np.float32)
    for frame in np.load("frames.npy"):  # uint8 RGB, of the size frames.shape[1:3]
        density, hidden = session.run(None, {"frames": frame[None], "state": hidden})
        print(divmod(int(density.argmax()), density.shape[2]))  # (row, column) looked at most

Images, exported without `--streaming`, have no state: `density, = session.run(None, {"frames": images})`.
Without `--uint8` they are normalised, `(value / 255 - mean) / std` by channel, [batch, 3, height, width], and
the maps are log-densities. One sequence of a video is every n-th of its frames, n the card's `frame_stride`.

After `unisal export --format stablehlo unisal.stablehlo`, jax, numpy and flatbuffers are:

    import jax.export

    network = jax.export.deserialize(bytearray(open("unisal.stablehlo", "rb").read()))
    (log_density,) = network.call(normalised)

The card, `OUT.json`, has the shapes, the meaning of each input and output, and a test vector.
"""
