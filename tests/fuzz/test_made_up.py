"""All readers with files of valid form but wrong content or size (`make fuzz`).

It runs after `test_damage.py`, and its last test counts the inputs of both.
"""

import gzip
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tests.helpers.fuzzing import COUNTED, EACH, JSON, Guard, counted, made_up, mutated, npy_header
from unisal_jax.apps.moving import read_moving_regions
from unisal_jax.apps.regions import read_regions
from unisal_jax.data.layouts.fixation_tables import read_table
from unisal_jax.evaluate.predictions import read_map
from unisal_jax.media.images import read_image
from unisal_jax.models.config import UnisalConfig
from unisal_jax.train.config import load_config
from unisal_jax.weights import names, packs, store

pytestmark = pytest.mark.fuzz

KINDS = 32  # of input, in both files
TABLE = b"stimulus,observer,x,y\nclip,1,10.5,20\n"


# --- random files: valid form, wrong content ---


def test_boxes_made_up(tmp_path):
    guard = Guard()
    sides = st.dictionaries(
        st.sampled_from(["left", "top", "width", "height", "name", "boxes", "x", "frame", "seconds"]),
        JSON | st.integers(-9, 99),
        max_size=6,
    )

    @made_up(2 * EACH)
    @given(st.lists(sides, max_size=4) | st.fixed_dictionaries({"boxes": JSON}) | JSON)
    def one(content):
        path = tmp_path / "a.json"
        path.write_text(json.dumps(content))
        guard.check(read_regions, path, f"boxes {content!r}")
        guard.check(read_moving_regions, path, f"moving boxes {content!r}")

    one()
    counted("boxes made up", guard)


def test_tables_made_up(tmp_path):
    guard = Guard()

    @made_up()
    @given(st.text(max_size=60))
    def one(text):
        path = tmp_path / "a.csv"
        path.write_bytes(b"stimulus,observer,x,y,frame\n" + text.encode("utf-8", "surrogatepass"))
        guard.check(read_table, path, f"table {text!r}")

    one()
    counted("tables made up", guard)


def safetensors(tensors: dict[str, tuple[str, list[int], bytes]], metadata: dict[str, str]) -> bytes:
    """A file of the format, with tensors of any name."""
    header: dict[str, object] = {"__metadata__": metadata}
    at = 0
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(content)]}
        at += len(content)
    return safetensors_header(json.dumps(header).encode()) + b"".join(
        content for *_, content in tensors.values()
    )


TENSOR_NAMES = st.lists(
    st.sampled_from(["a", "b", "params", "extras", "batch_stats", "dhf1k", "encoder", "", "kernel", "0"]),
    min_size=1,
    max_size=4,
).map("/".join)
WIDTHS = {"F32": 4, "F64": 8, "I64": 8, "U8": 1, "BF16": 2, "BOOL": 1, "F16": 2, "F8_E4M3": 1}
CONFIG = json.loads(UnisalConfig().to_json())


@st.composite
def configs(draw) -> str:
    """Our format, with some values replaced by anything."""
    config = json.loads(json.dumps(CONFIG))
    for _ in range(draw(st.integers(0, 3))):
        target = draw(st.sampled_from([config, *(d for d in config["domains"] if isinstance(d, dict) and d)]))
        key = draw(st.sampled_from(sorted(target)))
        target[key] = draw(JSON)
        if not isinstance(config["domains"], list):
            break
    return json.dumps(config)


def test_safetensors_made_up(tmp_path):
    path, guard = tmp_path / "a.safetensors", Guard()
    shapes = st.lists(st.integers(0, 3), max_size=3)

    @made_up(2 * EACH)
    @given(
        st.dictionaries(TENSOR_NAMES, st.tuples(st.sampled_from(sorted(WIDTHS)), shapes), max_size=4),
        configs(),
    )
    def one(tensors, config):
        filled = {
            name: (dtype, shape, bytes(WIDTHS[dtype] * int(np.prod(shape))))
            for name, (dtype, shape) in tensors.items()
        }
        metadata = {"format": store._FORMAT, "config": config}
        known = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "U8": "|u1", "BOOL": "|b1", "F16": "<f2"}
        if all(dtype in known for dtype, *_ in filled.values()):
            # With a correct checksum, which detects damage but not intent.
            arrays = {n: np.zeros(shape, known[dtype]) for n, (dtype, shape, _) in filled.items()}
            metadata["tensors_sha256"] = store.tensors_sha256(arrays)
        path.write_bytes(safetensors(filled, metadata))
        guard.check(store.load_weights, path, f"safetensors {tensors!r} with {config}")

    one()
    counted("safetensors made up", guard)
    whole = safetensors(
        {"a": ("F32", [2], bytes(8))}, {"format": store._FORMAT, "config": UnisalConfig().to_json()}
    )
    guard = Guard()
    for number in range(EACH):
        path.write_bytes(mutated(whole, np.random.default_rng(number)))
        guard.check(store.load_weights, path, f"safetensors, damage {number}")
    counted("safetensors", guard)


def test_packs_made_up(golden, tmp_path):
    path, guard = tmp_path / "a.pack.safetensors", Guard()
    packs.save_pack(path, golden(11), "salicon", base="golden")
    whole = path.read_bytes()
    metadata, tensors = store.open_safetensors(path)
    texts = st.sampled_from([*metadata, "more"])

    @made_up(2 * EACH)
    @given(configs(), st.dictionaries(texts, st.text(max_size=20) | JSON.map(json.dumps), max_size=2))
    def one(config, others):
        fields = json.loads(config)
        if isinstance(fields["domains"], list):
            fields["domains"] = fields["domains"][-1:]
        save_file(tensors, path, {**metadata, "config": json.dumps(fields), **others})
        guard.check(packs.load_pack, path, f"pack of {config} with {others!r}")

    one()
    counted("packs made up", guard)
    guard = Guard()
    for number in range(EACH):
        path.write_bytes(mutated(whole, np.random.default_rng(number)))
        guard.check(packs.load_pack, path, f"packs, damage {number}")
    counted("packs", guard)


def test_states_made_up(tmp_path, golden):
    """Tensors with the authors' names; some are missing, some have other shapes or dtypes."""
    weights = golden(7)
    state = names.to_state(weights.variables, weights.config, weights.extras)
    guard = Guard()

    @made_up(EACH // 2)
    @given(st.randoms(use_true_random=False), JSON)
    def one(random, value):
        changed = dict(state)
        for name in random.sample(sorted(state), random.randint(1, 6)):
            kind = random.randrange(4)
            if kind == 0:
                del changed[name]
            elif kind == 1:
                changed[name] = np.zeros(
                    [random.randrange(4) for _ in range(random.randrange(5))], np.float32
                )
            elif kind == 2:
                changed[name + random.choice(["", "x", ".weight", ".0"])] = changed.pop(name)
            else:
                changed[name] = changed[name].astype(
                    random.choice([np.int64, np.float16, np.bool_, np.complex64])
                )

        def read(path: Path) -> None:
            names.from_state(changed, names.config_of_state(changed, str(path)), str(path))

        guard.check(read, tmp_path / "a.pth", f"state without {sorted(state.keys() - changed.keys())[:3]}")

    one()
    counted("states made up", guard)


def test_overrides_made_up(tmp_path):
    path, guard = Path(__file__).parents[2] / "configs" / "smoke.py", Guard()
    fields = [
        "epochs",
        "optimizer.lr",
        "domains",
        "domains.salicon",
        "domains.salicon.batch_size",
        "loss.nss",
    ]
    fields += ["dtype", "checkpoints", "init.weights", "best.metric", "x", "", ".", "loss.", "seed", "config"]

    @made_up()
    @given(st.sampled_from(fields), st.text(max_size=12) | JSON.map(repr))
    def one(field, text):
        guard.check(
            lambda path: load_config(path, [f"--config.{field}={text}"]),
            path,
            f"--config.{field}={text!r}",
            "config",
        )

    one()
    counted("overrides made up", guard)


# --- claims: small files that declare large sizes ---


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 20), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def safetensors_header(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def bomb_npy(path: Path) -> bytes:
    """A sparse file with a map of 40 GB of zeros."""
    with path.open("wb") as file:
        file.write(npy_header("(100000, 100000)"))
        file.truncate(file.tell() + 4 * 10**10)
    return b""


CLAIMS: dict[str, tuple[str, bytes, Callable[[Path], object]]] = {
    "an image of 100,000 x 100,000": ("a.png", png(100_000, 100_000), read_image),
    "an image of 2**31 columns": ("a.png", png(2**31 - 1, 1), read_image),
    "a bitmap of 100,000 x 100,000": (
        "a.bmp",
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 100_000, 100_000, 1, 24, 0, 0, 0, 0, 0, 0),
        read_image,
    ),
    "a map of 100,000 x 100,000 cut off": ("a.npy", npy_header("(100000, 100000)"), read_map),
    "a map of 2**60 rows": ("a.npy", npy_header(f"({2**60}, {2**60})"), read_map),
    "a tensor of terabytes": (
        "a.safetensors",
        safetensors_header(b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'),
        store.load_weights,
    ),
    "a header of exabytes": ("a.safetensors", struct.pack("<Q", 2**60) + b"{}", store.load_weights),
    "boxes nested for ever": ("a.json", b"[" * 10**6, read_regions),
    "a side of a million digits": (
        "a.json",
        b'[{"left":1,"top":1,"width":1,"height":' + b"9" * 10**6 + b"}]",
        read_regions,
    ),
    "a table that unpacks to 4 GB": ("a.csv.gz", b"", read_table),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_claims(tmp_path, name):
    file, content, read = CLAIMS[name]
    path = tmp_path / file
    if file == "a.csv.gz":
        zeros = gzip.compress(bytes(1 << 24))
        content = gzip.compress(TABLE) + 256 * zeros
    path.write_bytes(content)
    guard = Guard()
    guard.check(read, path, name)
    counted("claims", guard)


def test_a_map_of_zeros_without_end(tmp_path):
    bomb_npy(tmp_path / "a.npy")
    guard = Guard()
    guard.check(read_map, tmp_path / "a.npy", "a sparse map of 40 GB")
    counted("claims", guard)


def test_a_checkpoint_that_claims_terabytes(golden, tmp_path, monkeypatch):
    """Shapes in a checkpoint's metadata are not trusted; here they are in separate files."""
    import orbax.checkpoint as ocp

    handler = ocp.PyTreeCheckpointHandler
    monkeypatch.setattr(ocp, "PyTreeCheckpointHandler", lambda: handler(use_ocdbt=False))
    weights = golden(7)
    with ocp.Checkpointer(
        ocp.CompositeCheckpointHandler(
            variables=handler(use_ocdbt=False),
            extras=handler(use_ocdbt=False),
            weights=ocp.JsonCheckpointHandler(),
        )
    ) as checkpointer:
        text = {"format": store._FORMAT, "config": weights.config.to_json()}
        items = ocp.args.Composite(
            variables=ocp.args.PyTreeSave(weights.variables),
            extras=ocp.args.PyTreeSave({"none": np.zeros((), np.int8)}),
            weights=ocp.args.JsonSave(text),
        )
        checkpointer.save(tmp_path / "a", args=items)
    store.load_weights(tmp_path / "a")
    arrays = sorted((tmp_path / "a").rglob(".zarray"))
    for file in arrays:
        about = json.loads(file.read_text())
        about["shape"] = about["chunks"] = [10**6, *about["shape"][1:]]
        file.write_text(json.dumps(about))
    assert arrays
    guard = Guard()
    guard.check(store.load_weights, tmp_path / "a", "a checkpoint's shapes")
    counted("claims", guard)


def test_more_than_20000():
    """Runs last; does nothing if tests were deselected."""
    if len(COUNTED) < KINDS:
        pytest.skip("not all of this file ran")
    print(COUNTED)
    assert sum(COUNTED.values()) > 20_000
