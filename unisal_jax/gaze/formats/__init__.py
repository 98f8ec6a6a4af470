"""Formats of tracker files: one module each, with `fits` and `read`."""

from types import MappingProxyType, ModuleType

from unisal_jax.gaze.formats import (
    bids,
    eyelink_asc,
    eyelink_report,
    gazepoint,
    neon,
    pupil_core,
    smi,
    table,
    tobii,
)

FORMATS: MappingProxyType[str, ModuleType] = MappingProxyType(
    {
        "tobii": tobii,
        "pupil_core": pupil_core,
        "neon": neon,
        "eyelink_asc": eyelink_asc,
        "eyelink_report": eyelink_report,
        "gazepoint": gazepoint,
        "smi": smi,
        "bids": bids,
        "table": table,
    }
)
"""Name -> module. A file has the first format that fits."""
