"""The Hub: its client reads a cache made by the test, and uploads to a server on this machine."""

import base64
import hashlib
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from PIL import Image

import unisal_jax
from unisal_jax.errors import UnisalError
from unisal_jax.weights import hub, publish
from unisal_jax.weights.store import load_weights

FIRST, SECOND = "1" * 40, "2" * 40


@pytest.fixture
def client(monkeypatch, cache):
    """The Hub client's settings, offline and with the cache below."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="requires the extra hub")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return constants


def lay_out(cache, repository, commit, files, refs):
    """Makes a repository in the format of the Hub client's cache: blobs, links and refs."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    for name, content in files.items():
        blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
        link = folder / "snapshots" / commit / name
        for path in (blob, link):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link.symlink_to(os.path.relpath(blob, link.parent))
    for ref in refs:
        (folder / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (folder / "refs" / ref).write_text(commit)


@pytest.fixture(scope="module")
def cache(golden, tmp_path_factory):
    """A cache with two commits of a repository."""
    folder = tmp_path_factory.mktemp("hub")
    for commit, refs, seed in ((FIRST, ("v1", "refs/pr/7"), 7), (SECOND, ("main",), 11)):
        publish.save_folder(folder / "saved", golden(seed))
        content = (folder / "saved" / hub.WEIGHTS_FILE).read_bytes()
        files = {hub.WEIGHTS_FILE: content, "more/other.safetensors": content, "broken.safetensors": b"no"}
        lay_out(folder, "owner/name", commit, files, refs)
    return folder


def same(one, other):
    one, other = flatten_dict(one.variables), flatten_dict(other.variables)
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "address, seed",
    [
        ("hf://owner/name", 11),
        ("hf://owner/name@main", 11),
        ("hf://owner/name@v1", 7),
        (f"hf://owner/name@{FIRST}", 7),
        ("hf://owner/name@refs%2Fpr%2F7", 7),
        ("hf://owner/name/more/other.safetensors", 11),
        ("hf://owner/name@v1/more/other.safetensors", 7),
    ],
)
def test_addresses(client, golden, address, seed):
    assert same(load_weights(address), golden(seed))


def test_load_predicts(client, golden_file, rng):
    image = rng.integers(0, 256, (64, 96, 3), np.uint8)
    one, other = (unisal_jax.SaliencyModel.from_pretrained(each) for each in ("owner/name", str(golden_file)))
    np.testing.assert_array_equal(*(each.predict(image, input_size=(96, 128)) for each in (one, other)))


@pytest.mark.parametrize(
    "address, says",
    [
        ("hf://owner", "not of the form"),
        ("hf://owner/name@", "not of the form"),
        ("hf://owner/no", "not in the local cache"),
        ("hf://owner/name@v2", "not in the local cache"),
        ("hf://owner/name/no.safetensors", "not in the local cache"),
        ("hf://owner/na--me", "Cannot have --"),
        ("hf://owner/name/../../../etc/passwd", ""),
        ("hf://owner/name/broken.safetensors", "not a readable .safetensors file"),
    ],
)
def test_what_cannot_be_loaded(command, client, tmp_path, address, says):
    status, out, err = command("convert", address, tmp_path / "out.safetensors")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert says in err and ("broken" in address or address in err)
    assert not (tmp_path / "out.safetensors").exists()


def test_convert_and_prove(command, client, tmp_path):
    status, out, err = command("convert", "hf://owner/name", tmp_path / "out.pth", "--verify")
    assert status == 0, err
    assert "of 835 tensors equal" in out and "DIFFERENT" not in out


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UnisalError, match="requires huggingface_hub; install it with: pip install"):
        hub.download("hf://owner/name")


def test_a_folder(golden, tmp_path):
    folder = tmp_path / "mine"
    publish.save_folder(folder, golden(11), licence="mit")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert same(load_weights(folder), golden(11))
    config = json.loads((folder / "config.json").read_text())
    assert config["library_name"] == "unisal-jax"
    assert [domain["name"] for domain in config["domains"]] == list(unisal_jax.load(folder).domains)
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlicense: mit\n") and "## Scores" in card
    assert all(f"`{domain}`" in card for domain in ("dhf1k", "hollywood2", "ucf_sports", "salicon"))
    (folder / "README.md").write_text("my scores")
    publish.save_folder(folder, golden(11))
    assert (folder / "README.md").read_text() == "my scores"


def test_the_card_has_valid_metadata(client, golden, tmp_path):
    publish.save_folder(tmp_path, golden(11))
    from huggingface_hub import InferenceClient, ModelCard, ModelCardData

    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.license == "apache-2.0" and card.data.library_name == "unisal-jax"
    assert card.data.datasets == ["dhf1k", "hollywood2", "ucf_sports", "salicon"]
    assert "saliency-prediction" in card.data.tags
    # What the Hub calls a task, its client has a method for.
    assert hasattr(InferenceClient, card.data.pipeline_tag.replace("-", "_"))
    assert ModelCardData(**card.data.to_dict()).to_dict() == card.data.to_dict()


class Server(BaseHTTPRequestHandler):
    """The part of the Hub's interface that an upload requires; stores files in `server.files`."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        where = f"http://127.0.0.1:{self.server.server_port}"
        if self.path == "/api/repos/create":
            self.server.made.append(json.loads(body))
            self.answer({"url": f"{where}/owner/name", "id": "1"})
        elif self.path == "/api/models/owner/name/preupload/main":
            files = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]
            self.answer({"files": modes})
        elif self.path.startswith("/api/models/owner/name/commit/main"):
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    value = entry["value"]
                    self.server.files[value["path"]] = base64.b64decode(value["content"])
                elif entry["key"] == "header":
                    self.server.messages.append(entry["value"]["summary"])
            address = f"{where}/owner/name/commit/{FIRST}"
            self.answer({"success": True, "commitOid": FIRST, "commitUrl": address})
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        else:
            self.answer({"error": "no such place"}, 404)

    def do_HEAD(self):
        name = self.path.removeprefix("/owner/name/resolve/main/")
        there = name in self.server.files
        self.send_response(200 if there else 404)
        self.send_header("X-Repo-Commit", FIRST)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(self.server.files.get(name, b""))))
        if not there:
            self.send_header("X-Error-Code", "EntryNotFound")
        self.end_headers()

    def do_GET(self):
        content = self.server.files.get(self.path.removeprefix("/owner/name/resolve/main/"))
        content = content or self.server.files.get(self.path.removeprefix(f"/owner/name/resolve/{FIRST}/"))
        if content is not None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            return
        info = {"id": "owner/name", "sha": FIRST, "siblings": [{"rfilename": f} for f in self.server.files]}
        self.answer(info if self.path.startswith("/api/models/owner/name") else {"type": "user"})

    def answer(self, content, status=200):
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(client, monkeypatch):
    """A local server instead of the Hub."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.files, server.made, server.messages = {}, [], []
    monkeypatch.setattr(client, "HF_HUB_OFFLINE", False)
    where = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(client, "ENDPOINT", where)
    template = where + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(client, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("HF_TOKEN", "hf_of_no_one")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_push(server, golden, tmp_path):
    address = publish.push("owner/name", golden(11), private=True, message="first")
    assert address.endswith(f"/owner/name/commit/{FIRST}")
    assert server.made[0]["name"] == "name" and server.messages == ["first"]
    assert sorted(server.files) == ["README.md", "config.json", "model.safetensors"]
    (tmp_path / "got.safetensors").write_bytes(server.files["model.safetensors"])
    assert same(load_weights(tmp_path / "got.safetensors"), golden(11))


def test_a_pushed_model_is_loaded_as_its_card_says(server, client, golden_file, rng, tmp_path, monkeypatch):
    from huggingface_hub import ModelCard

    monkeypatch.setattr(client, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Image.fromarray(rng.integers(0, 256, (64, 96, 3), np.uint8)).save("photo.jpg")
    model = unisal_jax.load(golden_file)
    assert model.push_to_hub("owner/name", licence="mit").endswith(f"/owner/name/commit/{FIRST}")
    card = ModelCard(server.files["README.md"].decode())
    card.validate()
    assert card.data.license == "mit" and "OWNER" not in card.text
    names = {}
    exec(card.text.split("```python\n")[1].split("```")[0], names)
    np.testing.assert_array_equal(names["density"], model.predict("photo.jpg", domain="salicon"))


def test_push_keeps_a_card(server, golden, tmp_path):
    server.files["README.md"] = b"with scores"
    publish.push("owner/name", golden(11))
    assert server.files["README.md"] == b"with scores"
    publish.save_folder(tmp_path / "folder", golden(11))
    (tmp_path / "folder" / "README.md").write_text("with better scores")
    publish.push("owner/name", tmp_path / "folder")
    assert server.files["README.md"] == b"with better scores"


def test_what_cannot_be_pushed(server, golden, tmp_path):
    with pytest.raises(UnisalError, match="not a folder with model"):
        publish.push("owner/name", tmp_path)
    with pytest.raises(UnisalError, match="owner/other: cannot be uploaded") as error:
        publish.push("owner/other", golden(11))
    assert "\n" not in str(error.value)
