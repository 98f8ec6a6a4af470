"""The page's arithmetic (`web/pixels.js`), run by Node, against the package's."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from unisal_jax.domains import DHF1K, aspect_sizes, size_by_aspect
from unisal_jax.export import web_page
from unisal_jax.media.densities import resize_log_density
from unisal_jax.media.images import resize_frame

PIXELS = Path(web_page.__file__).with_name("web") / "pixels.js"
PROGRAM = """
const pixels = await import("data:text/javascript;base64," + process.argv[1]);
const {name, args} = JSON.parse(require("fs").readFileSync(0, "utf8"));
const given = args.map((each) => {
  if (!each?.base64) return each;
  const bytes = Buffer.from(each.base64, "base64");
  const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
  return each.type === "uint8" ? new Uint8ClampedArray(buffer) : new Float32Array(buffer);
});
const found = pixels[name](...given);
const shown = ArrayBuffer.isView(found) ? Buffer.from(found.buffer).toString("base64") : found;
process.stdout.write(JSON.stringify(shown));
"""


def call(name, *args, dtype=None):
    """What a function of pixels.js gives in Node; arrays go and come as bytes."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")

    def sent(value):
        if not isinstance(value, np.ndarray):
            return value
        return {"base64": base64.b64encode(value.tobytes()).decode(), "type": value.dtype.name}

    module = base64.b64encode(PIXELS.read_bytes()).decode()
    request = json.dumps({"name": name, "args": [sent(value) for value in args]})
    done = subprocess.run(
        [node, "-e", f"(async () => {{{PROGRAM}}})()", module],
        input=request,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return found if dtype is None else np.frombuffer(base64.b64decode(found), dtype)


@pytest.mark.parametrize(
    "size, small",
    [((300, 451), (96, 128)), ((40, 50), (96, 64)), ((96, 301), (96, 64)), ((150, 64), (96, 64))],
    ids=["smaller", "larger", "width alone", "height alone"],
)
def test_resized_as_pillow_does(rng, size, small):
    image = rng.integers(0, 2, (*size, 3), np.uint8) * 255  # the hardest: overshoots are clipped
    rgba = np.dstack([image, np.full(size, 255, np.uint8)])
    found = call("resizeLanczos", rgba, size[1], size[0], small[1], small[0], dtype=np.uint8)
    np.testing.assert_array_equal(found.reshape(*small, 3), resize_frame(image, small))


@pytest.mark.parametrize("size", [(150, 201), (40, 33), (64, 96)], ids=["larger", "smaller", "same"])
def test_density_resized(rng, size):
    log = rng.standard_normal((64, 96)).cumsum(1).astype(np.float32)
    log -= np.log(np.exp(log).sum())
    found = call("resizeDensity", np.exp(log), 96, 64, size[1], size[0], dtype=np.float32).reshape(size)
    np.testing.assert_allclose(np.log(found), resize_log_density(log, size), rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.sum(dtype=np.float64), 1, atol=1e-5)


def test_input_sizes():
    sizes = [list(size) for size in aspect_sizes()]
    for size in ((480, 640), (640, 480), (1080, 1920), (500, 500), (100, 3000)):
        assert call("inputSize", *size, sizes, None) == list(size_by_aspect(size))
    trained = {"frame": DHF1K.video_frame_size, "input": DHF1K.input_size}
    for size in ((360, 640), (720, 1280)):
        assert call("inputSize", *size, sizes, trained) == list(DHF1K.video_input_size(size))


def test_share_in_a_box(rng):
    density = rng.random((8, 10), np.float32)
    density /= density.sum()
    plan = {"x": 0.2, "y": 0.25, "width": 0.35, "height": 0.5}
    code = call("shareInBox", {"density": density.ravel().tolist(), "width": 10, "height": 8}, plan)
    wanted = density[2:6, 2:5].sum() + 0.5 * density[2:6, 5].sum()
    assert code == pytest.approx(wanted, abs=1e-6)
