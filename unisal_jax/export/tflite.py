"""Export to TensorFlow Lite for LiteRT, which runs on phones and small computers.

LiteRT's converter makes the file from the StableHLO that JAX lowers the network to. Size and batch are fixed.
"""

import textwrap
from typing import Any

from unisal_jax.errors import UnisalError
from unisal_jax.export import stablehlo
from unisal_jax.export.signature import Call, Signature
from unisal_jax.inference.fold import Folded
from unisal_jax.inference.onnx_plan import FRAMES, NEXT_STATE, STATE
from unisal_jax.packages import install_command

_SIGNATURE = "serving_default"
FACTS: dict[str, Any] = {"signature": _SIGNATURE}
"""Facts for the card."""

# From the portable form, inlined into one function, as LiteRT's converter requires.
_TO_STABLEHLO = """\
    builtin.module(
        vhlo-legalize-stablehlo,
        reconcile-unrealized-casts,
        func.func(stablehlo-legalize-composite-to-call),
        inline,
        strip-debuginfo
    )"""


def serialize(folded: Folded, signature: Signature) -> bytes:
    """The content of the .tflite file, with inputs and outputs named as in `signature`.

    Raises:
      UnisalError: the signature has no fixed size or batch, or the converter is not installed.
    """
    for flag, value in (("--input-size", signature.input_size), ("--batch", signature.batch)):
        if value is None:
            raise UnisalError(f"{flag} any: a TensorFlow Lite file has one size and one batch; give a number")
    try:
        from litert_converter.mlir import ir, passmanager
        from litert_converter.mlir._mlir_libs import converter_api_ext as converter
    except ImportError as error:
        raise _missing("litert_converter") from error
    # The forms for TPUs are plain convolutions, for which LiteRT has operations.
    lowered = stablehlo.lowered(folded, signature, ("tpu",)).mlir_module_serialized
    context = ir.Context()
    converter.prepare_mlir_context(context)
    with context:
        module = ir.Module.parse(lowered)
        passmanager.PassManager.parse(textwrap.dedent(_TO_STABLEHLO)).run(module.operation)
        inputs, outputs = [FRAMES, STATE], [signature.output, NEXT_STATE]
        count = 1 + signature.streaming
        converter.set_signature(module.operation, _SIGNATURE, inputs[:count], outputs[:count])
        config = converter.ConvertToTFLConfig()
        config.canonicalizing_inf_as_min_max_float = False
        converter.run_convert_to_tfl_passes(module, passmanager.PassManager(), config)
        return bytes(converter.export_flatbuffer_to_bytes(module.operation))


def loaded(artifact: bytes) -> Call:
    """The artifact as a function, run by LiteRT, of images and, if streaming, the state.

    Raises:
      UnisalError: LiteRT is not installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise _missing("ai_edge_litert") from error
    run = Interpreter(model_content=artifact).get_signature_runner(_SIGNATURE)
    # Sorted by name, they are in the order of a call: frames and state, maps and next state.
    inputs, outputs = sorted(run.get_input_details()), sorted(run.get_output_details())

    def call(*arguments: Any) -> tuple[Any, ...]:
        found = run(**dict(zip(inputs, arguments, strict=True)))
        return tuple(found[name] for name in outputs)

    return call


def _missing(module: str) -> UnisalError:
    return UnisalError(f"--format tflite requires {module}; install it with: {install_command('tflite')}")
