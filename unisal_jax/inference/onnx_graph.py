"""Builds the folded network as an ONNX model, for one input size or any, from pixels to maps."""

import numpy as np
import onnx

from unisal_jax.domains import SIZE_UNIT
from unisal_jax.inference.fold import Folded
from unisal_jax.inference.network import network
from unisal_jax.inference.onnx_any_size import AnySize
from unisal_jax.inference.onnx_operations import OnnxOperations, Types, Value
from unisal_jax.inference.onnx_plan import (
    BATCH_AXIS,
    DENSITY,
    FRAMES,
    LOG_DENSITY,
    NEXT_STATE,
    SIZE_AXES,
    STATE,
    STATE_SIZE_AXES,
    Plan,
)
from unisal_jax.models.architecture import HIDDEN_FEATURES
from unisal_jax.normalization import RGB_MEAN, RGB_STD


def build(folded: Folded, plan: Plan, metadata: dict[str, str]) -> bytes:
    """Builds the model and returns the bytes of its .onnx file.

    Args:
      folded: the weights.
      plan: the model's inputs and outputs.
      metadata: the model's metadata, text by name.
    """
    ops, size, batch = OnnxOperations(), plan.input_size, plan.batch or BATCH_AXIS
    x = _normalized(ops, FRAMES) if plan.uint8 else FRAMES
    # Images without a bypass go through the recurrence once, from a state of zeros.
    needs_zeros = not plan.streaming and folded.config.has_recurrence(static=True)
    image_size: tuple[int | str, ...]
    state_size: tuple[int | str, ...]
    if size is None:
        any_size = AnySize.of(ops, x)
        params, image_size, state_size = any_size.params(folded), SIZE_AXES, STATE_SIZE_AXES
        zeros = any_size.zero_state() if needs_zeros else None
    else:
        params, image_size = folded.sized(size), size
        state_size = rows, columns = size[0] // SIZE_UNIT, size[1] // SIZE_UNIT
        zeros = ops.constant(np.zeros((1, HIDDEN_FEATURES, rows, columns))) if needs_zeros else None
    found = network(ops, folded.config, params, x, STATE if plan.streaming else zeros)
    name, softmax = (LOG_DENSITY, "LogSoftmax") if plan.log else (DENSITY, "Softmax")
    if size is None:
        flat = ops.node(softmax, ops.node("Flatten", found.logits, axis=1), axis=1)
        maps = ops.node("Reshape", flat, ops.node("Shape", found.logits))
        maps = ops.node("Squeeze", maps, ops.constant([1], np.int64), name=name)
    else:
        flat = ops.node(softmax, ops.reshape(found.logits, (-1, size[0] * size[1])), axis=1)
        maps = ops.reshape(flat, (-1, *size), name=name)

    image_axes = (*image_size, 3) if plan.uint8 else (3, *image_size)
    state_axes = (HIDDEN_FEATURES, *state_size)
    inputs: Types = {FRAMES: ("uint8" if plan.uint8 else "float32", (batch, *image_axes))}
    outputs: Types = {maps: ("float32", (batch, *image_size))}
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
