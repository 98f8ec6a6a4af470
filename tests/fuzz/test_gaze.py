"""Damaged eye-tracker files (`make fuzz`): only declared errors are raised."""

import pytest

from tests.fuzz.test_damage import damage
from tests.helpers import gaze_exports as whole
from unisal_jax.gaze.read import read

pytestmark = pytest.mark.fuzz

FILES = {
    "tobii": whole.TOBII_WAYS["plain"],
    "tobii UTF-16": whole.TOBII_WAYS["UTF-16"],
    "neon": whole.NEON,
    "eyelink_asc": whole.ASC,
    "eyelink_report": whole.as_text("\t", *whole.REPORT),
    "gazepoint": whole.as_text(",", *whole.GAZEPOINT),
    "smi": whole.as_text("\t", *whole.BEGAZE),
    "smi events": whole.SMI_EVENTS,
    "smi samples": whole.SMI_SAMPLES,
    "table": whole.as_text(";", *whole.TABLE),
}


@pytest.mark.parametrize("name", FILES)
def test_trackers_files(tmp_path, name):
    content = FILES[name]
    damage(
        f"tracker {name}",
        content.encode() if isinstance(content, str) else content,
        tmp_path / "export.txt",
        read,
    )


def test_a_bids_recording(tmp_path):
    path = whole.bids_dataset(tmp_path, whole.BIDS, {"SamplingFrequency": 10})
    damage("tracker bids", path.read_bytes(), path, read)
