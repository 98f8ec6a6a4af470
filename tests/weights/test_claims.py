"""Checkpoint folders: damage is detected, and memory is bounded before arrays are read."""

import json
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest

from unisal_jax.errors import UnisalError
from unisal_jax.weights import claims
from unisal_jax.weights.store import load_weights, save_weights, tensors_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # from Orbax

KERNEL = "params.encoder.stem.kernel"


@pytest.fixture(scope="module")
def folder(golden, tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "good"
    save_weights(path, golden(11))
    return path


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def open_arrays(folder):
    import tensorstore

    spec = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{folder}/variables/"}}
    return tensorstore.KvStore.open(spec).result()


def repeating_frame(total: int) -> bytes:
    """A zstd frame of `total` zeros, a multiple of 128 KiB, with four bytes for each 128 KiB."""
    count = total >> 17
    blocks = [
        struct.pack("<I", (1 << 17) << 3 | 1 << 1 | (at == count - 1))[:3] + b"\0" for at in range(count)
    ]
    return b"\x28\xb5\x2f\xfd\x00\x58" + b"".join(blocks)


def refused(folder) -> str:
    with pytest.raises(UnisalError) as caught:
        load_weights(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder}") and "\n" not in message
    return message


def test_the_helper_makes_valid_frames():
    """TensorStore unpacks the frames that the tests below construct."""
    import tensorstore

    spec = {"driver": "zarr", "kvstore": {"driver": "memory"}, "metadata": {"compressor": {"id": "zstd"}}}
    spec["metadata"] |= {"shape": [1 << 18], "chunks": [1 << 18], "dtype": "|u1"}
    array = tensorstore.open(spec, create=True).result()
    array.kvstore.write("0", repeating_frame(1 << 18)).result()
    assert (array.read().result() == 0).all()


def test_flipped_bytes_are_detected(folder, copy):
    """In the data of arrays and in their metadata."""
    good = tensors_of(load_weights(folder))
    rng = np.random.default_rng(0)
    largest = max((copy / "variables").rglob("*"), key=lambda path: path.stat().st_size * path.is_file())
    found = 0
    for path in [largest, largest, copy / "weights" / "metadata"]:
        whole = path.read_bytes()
        content = bytearray(whole)
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        try:
            again = tensors_of(load_weights(copy))
            assert all(np.array_equal(again[name], array) for name, array in good.items())
        except UnisalError:
            found += 1
        path.write_bytes(whole)
    assert found >= 2


def test_a_changed_value_is_detected(copy):
    store = open_arrays(copy)
    bias = store.read("salicon.fusion.bias/0").result().value
    about = json.loads(store.read("salicon.fusion.bias/.zarray").result().value)
    store.write("salicon.fusion.bias/.zarray", json.dumps(about | {"compressor": None}).encode()).result()
    store.write("salicon.fusion.bias/0", struct.pack("<f", 0.5)).result()
    assert bias and "damaged: variables does not match its checksum" in refused(copy)


def test_a_folder_without_checksums(copy, caplog):
    path = copy / "weights" / "metadata"
    about = json.loads(path.read_text())
    assert set(about.pop("sha256")) == {"variables", "extras", "weights"}
    path.write_text(json.dumps(about))
    load_weights(copy)
    assert f"{copy}: has no checksums" in caplog.text
    path.write_text(json.dumps(about | {"sha256": [1]}))
    assert "checksums" in refused(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chunks": [1 << 24, 3, 3, 32]}, "chunks"),
        ({"shape": [1 << 24, 3, 3, 32], "chunks": [1 << 24, 3, 3, 32]}, "its arrays declare"),
        ({"compressor": {"id": "blosc"}}, "compressor blosc"),
        ({"filters": [{"id": "delta"}]}, "filters"),
        ({"dtype": "|V100"}, "type"),
        ({"dimension_separator": "/"}, "chunks of other names"),
        ({"shape": [-1, 3, 3, 32]}, "impossible shape"),
    ],
)
def test_invalid_array_metadata(copy, change, message):
    store = open_arrays(copy)
    about = json.loads(store.read(f"{KERNEL}/.zarray").result().value)
    store.write(f"{KERNEL}/.zarray", json.dumps(about | change).encode()).result()
    assert message in refused(copy)


def test_a_chunk_that_unpacks_to_more_than_its_shape(copy):
    open_arrays(copy).write(f"{KERNEL}/0.0.0.0", repeating_frame(64 << 20)).result()
    assert f"{KERNEL} unpacks to more than the 3456 bytes" in refused(copy)


def test_files_that_unpack_to_gigabytes(copy):
    """A node of the tree of keys is unpacked as soon as the folder is opened."""
    node = copy / "variables" / "d" / "node"
    node.write_bytes(b"\x0c\xdb\x20\xde" + bytes(8) + b"\0\1" + repeating_frame(128 << 20))
    assert "its keys unpack to more than 64 MiB" in refused(copy)
    node.write_bytes(repeating_frame(2 << 30))
    assert "unpacks to more than 1024 MiB" in refused(copy)


def test_nodes_may_be_in_any_file(copy):
    folder = copy / "variables" / "elsewhere"
    folder.mkdir()
    (folder / "node").write_bytes(b"\x0c\xdb\x20\xde" + bytes(8) + b"\0\1" + repeating_frame(128 << 20))
    assert "its keys unpack to more than 64 MiB" in refused(copy)


def test_a_link_to_a_folder(copy):
    (copy / "variables").rename(copy.with_name("variables"))
    (copy / "variables").symlink_to(copy.with_name("variables"))
    assert "variables is not a file" in refused(copy)


def test_keys_are_not_listed(copy):
    """A thousand keys of 60 kB with a common prefix, in a node of some kB."""
    import tensorstore

    store = open_arrays(copy)
    with tensorstore.Transaction() as transaction:
        within = store.with_transaction(transaction)
        for number in range(1000):
            within[b"%s/%s%08d" % (KERNEL.encode(), b"0" * 60_000, number)] = b""
    read = subprocess.run(
        [sys.executable, "-c", MEASURE, copy], capture_output=True, text=True, check=True, timeout=120
    )
    before, after = map(int, read.stdout.split())
    assert after - before < 40 << 10  # KiB; listing them takes over 60 MB


MEASURE = """
import resource, sys
from pathlib import Path
from unisal_jax.weights import claims

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

folder = Path(sys.argv[1])
claims.check_arrays(folder, "extras")
print(peak())
claims.check_arrays(folder, "variables")
print(peak())
"""


@pytest.mark.parametrize("name", ["../../other", "a/b", ""])
def test_an_array_outside_its_item(copy, name):
    path = copy / "extras" / "_METADATA"
    about = json.loads(path.read_text())
    next(iter(about["tree_metadata"].values()))["key_metadata"] = [{"key": name, "key_type": 2}]
    path.write_text(json.dumps(about))
    assert "is not an array's name" in refused(copy)


def test_an_array_of_another_version_of_zarr(copy):
    open_arrays(copy).write(f"{KERNEL}/zarr.json", b"{}").result()
    assert "another version of zarr" in refused(copy)


def test_other_files(copy):
    with open(copy / "variables" / "_METADATA", "ab") as file:
        file.truncate(100 << 20)
    assert "_METADATA" in refused(copy)
    (copy / "variables" / "_METADATA").unlink()
    (copy / "variables" / "_METADATA").symlink_to("/dev/zero")
    assert "not a file" in refused(copy)


def test_a_valid_folder_is_within_bounds(folder):
    claims.check_folder(folder)
    for item in ("variables", "extras"):
        claims.check_arrays(folder, item)
