"""Export to ONNX, for a fixed image size or any."""

from typing import Any

import onnx
import onnxruntime

from unisal_jax.export.signature import Call, Signature
from unisal_jax.inference import onnx_graph
from unisal_jax.inference.fold import Folded
from unisal_jax.inference.onnx_operations import OPSET
from unisal_jax.inference.onnx_plan import Plan

FACTS: dict[str, Any] = {"opset": OPSET}
"""Facts for the card."""


def serialize(folded: Folded, signature: Signature) -> bytes:
    """The content of the .onnx file, with inputs and outputs named as in `signature`."""
    plan = Plan(
        signature.input_size,
        signature.batch,
        streaming=signature.streaming,
        uint8=signature.uint8,
        log=not signature.uint8,
    )
    artifact = onnx_graph.build(folded, plan, {"domain": signature.domain.name})
    onnx.checker.check_model(artifact, full_check=True)
    return artifact


def loaded(artifact: bytes) -> Call:
    """The artifact as a function, run by ONNX Runtime, of images and, if streaming, the state."""
    session = onnxruntime.InferenceSession(artifact, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return lambda *arguments: tuple(session.run(None, dict(zip(names, arguments, strict=True))))
