"""The folded network as an ONNX model for one size: pixels in, maps out."""

import numpy as np
import onnx

from unisal_jax.domains import SIZE_UNIT
from unisal_jax.inference.fold import Folded
from unisal_jax.inference.network import network
from unisal_jax.inference.onnx_operations import OnnxOperations, Types, Value
from unisal_jax.inference.onnx_plan import BATCH_AXIS, DENSITY, FRAMES, LOG_DENSITY, NEXT_STATE, STATE, Plan
from unisal_jax.models.architecture import HIDDEN_FEATURES
from unisal_jax.normalization import RGB_MEAN, RGB_STD


def build(folded: Folded, plan: Plan, metadata: dict[str, str]) -> bytes:
    """The bytes of the .onnx file.

    Args:
      folded: the weights.
      plan: what it computes.
      metadata: text by name.
    """
    ops, (height, width), batch = OnnxOperations(), plan.input_size, plan.batch or BATCH_AXIS
    x = _normalized(ops, FRAMES) if plan.uint8 else FRAMES
    state_axes = (HIDDEN_FEATURES, height // SIZE_UNIT, width // SIZE_UNIT)
    state: Value | None = None
    if plan.streaming:
        state = STATE
    elif folded.config.has_recurrence(static=True):
        state = ops.constant(np.zeros((1, *state_axes)))
    found = network(ops, folded.config, folded.sized(plan.input_size), x, state)
    rows = ops.reshape(found.logits, (-1, height * width))
    rows = ops.node("LogSoftmax" if plan.log else "Softmax", rows, axis=1)
    maps = ops.reshape(rows, (-1, height, width), name=LOG_DENSITY if plan.log else DENSITY)

    image_axes = (height, width, 3) if plan.uint8 else (3, height, width)
    inputs: Types = {FRAMES: ("uint8" if plan.uint8 else "float32", (batch, *image_axes))}
    outputs: Types = {maps: ("float32", (batch, height, width))}
    if plan.streaming:
        assert found.state is not None
        inputs = {**inputs, STATE: ("float32", (batch, *state_axes))}
        ops.node("Identity", found.state, name=NEXT_STATE)
        outputs = {**outputs, NEXT_STATE: ("float32", (batch, *state_axes))}
    for name in plan.features:
        ops.node("Identity", found.features[name], name=name)
        outputs = {**outputs, name: ("float32", (batch, "channels", "rows", "columns"))}
    model = ops.model(inputs, outputs, metadata)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _normalized(ops: OnnxOperations, frames: Value) -> Value:
    scale, offset = 1 / (255 * np.asarray(RGB_STD)), -np.asarray(RGB_MEAN) / RGB_STD
    x = ops.node("Cast", ops.node("Transpose", frames, perm=[0, 3, 1, 2]), to=onnx.TensorProto.FLOAT)
    x = ops.multiply(x, ops.constant(scale[None, :, None, None]))
    return ops.add(x, ops.constant(offset[None, :, None, None]))
