"""The network as ONNX, for one size; it runs wherever ONNX does."""

from typing import Any

import numpy as np

import unisal_jax
from unisal_jax.errors import UnisalError
from unisal_jax.export.signature import FRAMES, NEXT_STATE, STATE, Call, Signature
from unisal_jax.models.inference import Folded
from unisal_jax.normalization import RGB_MEAN, RGB_STD

# The oldest versions that have every operation used here in its present meaning, for old runtimes.
OPSET, _IR_VERSION = 13, 8
FACTS: dict[str, Any] = {"opset": OPSET}
"""For the card."""


def serialize(folded: Folded, signature: Signature) -> bytes:
    """The bytes of the .onnx file. Inputs and outputs have the names in `signature`.

    Raises:
      UnisalError: onnx is not installed, or the signature leaves the size open.
    """
    if signature.input_size is None:
        raise UnisalError(
            "--input-size any: an ONNX file has one size, for which its prior maps are computed "
            "(--batch any is possible, and so are both with --format stablehlo)"
        )
    try:
        import onnx

        from unisal_jax.export import onnx_network
        from unisal_jax.export.onnx_graph import Graph
    except ImportError as error:
        raise _missing("onnx") from error

    graph, height, width = Graph(), *signature.input_size
    x = FRAMES
    if signature.uint8:
        scale, offset = 1 / (255 * np.asarray(RGB_STD)), -np.asarray(RGB_MEAN) / RGB_STD
        x = graph.node("Cast", graph.node("Transpose", x, perm=[0, 3, 1, 2]), to=onnx.TensorProto.FLOAT)
        for operation, values in (("Mul", scale), ("Add", offset)):
            x = graph.node(operation, x, graph.constant(values[None, :, None, None]))
    params = folded.variables(signature.input_size)["params"]
    if signature.streaming:
        state = STATE
    elif folded.config.has_rnn and not folded.config.rnn_bypass:
        state = graph.constant(signature.zero_state(1, signature.input_size))
    else:
        state = None
    logits = onnx_network.logits(graph, folded.config, params, signature.input_size, x, state, NEXT_STATE)
    rows = graph.reshape(logits, (-1, height * width))
    rows = graph.node("Softmax" if signature.uint8 else "LogSoftmax", rows, axis=1)
    graph.reshape(rows, (-1, height, width), name=signature.output)

    types = {"float32": int(onnx.TensorProto.FLOAT), "uint8": int(onnx.TensorProto.UINT8)}
    inputs, outputs = (
        {name: (types[value["dtype"]], value["shape"]) for name, value in values.items()}
        for values in signature.describe().values()
    )
    metadata = {"domain": signature.domain.name}
    model = graph.model(inputs, outputs, OPSET, _IR_VERSION, unisal_jax.__version__, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString(deterministic=True)


def loaded(artifact: bytes) -> Call:
    """The artifact's function in ONNX Runtime: called with pictures and, if streaming, the state.

    Raises:
      UnisalError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise _missing("onnxruntime") from error

    session = onnxruntime.InferenceSession(artifact, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return lambda *arguments: tuple(session.run(None, dict(zip(names, arguments, strict=True))))


def _missing(package: str) -> UnisalError:
    return UnisalError(f"--format onnx needs {package}; install it with: pip install 'unisal-jax[onnx]'")
