"""Domain packs: saving, adding, use by name, and refusal of invalid ones."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.helpers.golden_weights import made_up
from unisal_jax.domains import RELEASED_DOMAINS, SALICON, Domain
from unisal_jax.errors import UnisalError
from unisal_jax.models.config import UnisalConfig
from unisal_jax.predict.model import SaliencyModel, load
from unisal_jax.predict.records import weights_state
from unisal_jax.weights import fetch, installed, packs, publish
from unisal_jax.weights.packs import load_pack, save_pack, with_pack
from unisal_jax.weights.store import Weights, load_weights, save_weights, tensors_of

SIZE = (64, 96)
ABOUT = {"data": "posters, 40 people", "licence": "MIT"}
POSTERS = Domain("posters", (64, 96), (90, 120), static=True, bn_momentum=0.1)
CLIPS = Domain("clips", (64, 96), stride=3)


@pytest.fixture(scope="module")
def base(golden) -> Weights:
    return golden(11)


@pytest.fixture(scope="module")
def grown(base) -> Weights:
    """The base with two new domains, whose arrays differ from those of all others."""
    whole = base
    for seed, domain in enumerate((POSTERS, CLIPS), 2):
        config = dataclasses.replace(base.config, domains=(domain, RELEASED_DOMAINS[0]))
        made = made_up(config, seed)
        whole = dataclasses.replace(
            whole,
            variables={**whole.variables, **{name: made[name] for name in (domain.name, domain.stats)}},
            config=dataclasses.replace(whole.config, domains=(*whole.config.domains, domain)),
        )
    return whole


@pytest.fixture(scope="module")
def pack_file(grown, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("packs") / "posters.pack.safetensors"
    save_pack(path, grown, "posters", ABOUT, base="golden")
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache folder, without the packs of this package."""
    monkeypatch.setenv("UNISAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UNISAL_OFFLINE", "1")
    monkeypatch.setattr(installed, "BUNDLED", tmp_path / "bundled")
    return tmp_path / "cache"


@pytest.fixture
def as_release(cache, base, monkeypatch):
    """as_release(NAME) replaces that release by the golden weights."""

    def make(name: str) -> None:
        release = dataclasses.replace(fetch.RELEASED[name], shared_sha256=base.shared_sha256)
        monkeypatch.setitem(fetch.RELEASED, name, release)
        save_weights(
            fetch.converted_path(name),
            dataclasses.replace(base, metadata={"source_sha256": release.sha256}),
        )

    return make


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


def bits(weights: Weights) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {name: (each.dtype.str, each.shape, each.tobytes()) for name, each in tensors_of(weights).items()}


def test_a_domain_is_saved_and_loaded_bit_for_bit(base, grown, pack_file, tmp_path):
    save_pack(tmp_path / "new" / "clips.pack.safetensors", grown, CLIPS, base="golden")
    again = base
    for path in (pack_file, tmp_path / "new" / "clips.pack.safetensors"):
        assert 100_000 < path.stat().st_size < 130_000
        again = with_pack(again, load_pack(path))
    assert bits(again) == bits(grown) and again.config == grown.config
    assert again.about(POSTERS) == ABOUT and again.about(CLIPS) == again.about(SALICON) == {}
    # The default does not change, even if the pack's domain is saved with the weights.
    assert with_pack(base, load_pack(pack_file)).domain(None, video=False) == SALICON
    assert "posters" not in base.variables
    # With the permissions of any other file.
    (tmp_path / "other").touch()
    assert pack_file.stat().st_mode == (tmp_path / "other").stat().st_mode
    # Saved again, with its description.
    save_pack(tmp_path / "again.pack.safetensors", again, "posters", base="golden")
    assert load_pack(tmp_path / "again.pack.safetensors").equals(load_pack(pack_file))


def test_the_default_of_own_weights_stays(base, grown, pack_file):
    """If exactly one domain is not a released one, it is the default; a pack does not change it."""
    own = dataclasses.replace(
        grown,
        variables={name: tree for name, tree in grown.variables.items() if not name.startswith("posters")},
        config=dataclasses.replace(base.config, domains=(*base.config.domains, CLIPS)),
    )
    assert own.domain(None, video=True) == CLIPS
    assert with_pack(own, load_pack(pack_file)).domain(None, video=True) == CLIPS


def test_weights_that_a_pack_does_not_fit(base, grown, pack_file):
    pack = load_pack(pack_file)
    kernel = base.variables["params"]["post_rnn"]["kernel"]
    params = {**base.variables["params"], "post_rnn": {"kernel": np.nextafter(kernel, np.float32(9))}}
    other = dataclasses.replace(base, variables={**base.variables, "params": params})
    with pytest.raises(UnisalError, match=r"posters belongs to the weights golden, not to these$"):
        with_pack(other, pack)
    with pytest.raises(UnisalError, match=r"have a domain 'posters'; rename this one with --name$"):
        with_pack(grown, pack)
    with pytest.raises(UnisalError, match="have a domain 'hollywood'; "):  # the authors' name of hollywood2
        with_pack(base, pack.renamed("hollywood"))
    plain = dataclasses.replace(base, config=dataclasses.replace(base.config, rnn_bypass=False))
    with pytest.raises(UnisalError, match="its config has other parts"):
        with_pack(plain, pack)


def test_a_pack_needs_a_base(grown, cache, tmp_path):
    with pytest.raises(UnisalError, match=r"release \(unisal, unisal-mit1003\), .* whole weights"):
        save_pack(tmp_path / "a.pack.safetensors", grown, "posters")
    with pytest.raises(UnisalError, match="unknown domain 'cartoons'"):
        save_pack(tmp_path / "a.pack.safetensors", grown, "cartoons", base="golden")
    with pytest.raises(UnisalError, match=r"a\.safetensors: the name of a domain pack must end in"):
        save_pack(tmp_path / "a.safetensors", grown, "posters", base="golden")
    bad = {**grown.variables, "posters": {"fusion": {"kernel": np.full((64, 1), np.nan, np.float32)}}}
    with pytest.raises(UnisalError, match="not finite"):
        save_pack(
            tmp_path / "a.pack.safetensors",
            dataclasses.replace(grown, variables=bad),
            "posters",
            base="golden",
        )
    assert list(tmp_path.iterdir()) == []


KERNEL = "own/fusion/kernel"
NOT_A_NAME = "use lower-case letters"


def spoilt(tensors, metadata, **about):
    """Tensors and metadata with a valid checksum."""
    return tensors, {**metadata, "tensors_sha256": packs.tensors_sha256(tensors), **about}


def named(metadata, **fields):
    config = json.loads(metadata["config"])
    config["domains"][0] |= fields
    return {"config": json.dumps(config)}


SPOILS = {
    "no checksum": (lambda t, m: (t, {**m, "tensors_sha256": ""}), "do not match its checksum"),
    "not finite": (lambda t, m: spoilt(t | {KERNEL: t[KERNEL] * np.nan}, m), "not finite"),
    "another shape": (lambda t, m: spoilt(t | {KERNEL: t[KERNEL][:3]}, m), r"has shape \[3, 1\], not \["),
    "another type": (lambda t, m: spoilt(t | {KERNEL: np.float16(t[KERNEL])}, m), "has dtype float16, not"),
    "too few": (
        lambda t, m: spoilt({n: a for n, a in t.items() if n != KERNEL}, m),
        "lacks tensors, own/fus",
    ),
    "too many": (lambda t, m: spoilt(t | {"params/x": t[KERNEL]}, m), "has unknown tensors, params/x"),
    "bad variances": (
        lambda t, m: spoilt(t | {n: -a for n, a in t.items() if n.endswith("var")}, m),
        "negative variances",
    ),
    "a path": (lambda t, m: spoilt(t, m, **named(m, name="../x", source_name="")), NOT_A_NAME),
    "a long name": (lambda t, m: spoilt(t, m, **named(m, name="a" * 300)), "is out of range"),
    "a huge input": (lambda t, m: spoilt(t, m, **named(m, input_size=[1 << 20, 1 << 20])), "input size"),
    "no domain": (lambda t, m: spoilt(t, m, config='{"domains": []}'), "not a model config"),
    "four domains": (lambda t, m: spoilt(t, m, config=UnisalConfig().to_json()), "is not of one domain"),
    "no config": (lambda t, m: spoilt(t, m, config="[" * 100_000), "not a model config"),
    "no base": (lambda t, m: spoilt(t, m, base=""), "does not name the weights"),
    "a base of two lines": (lambda t, m: spoilt(t, m, base="a\nb"), "does not name the weights"),
    "no digest": (lambda t, m: spoilt(t, m, shared_sha256="x"), "does not name the weights"),
    "nothing told": (lambda t, m: spoilt(t, m, about="[1]"), "its description cannot be read"),
    "a number told": (lambda t, m: spoilt(t, m, about='{"a": 1}'), "its description cannot be read"),
    "another format": (lambda t, m: (t, {"format": "pt"}), "not a domain pack"),
    "no recurrence": (lambda t, m: spoilt(t, m, recurrence="false"), "has unknown tensors"),
}


def test_whole_weights_are_no_pack(tmp_path):
    (tmp_path / "whole.safetensors").write_bytes(bytes(packs.MAX_PACK_BYTES + 1))
    with pytest.raises(UnisalError, match="not a domain pack: larger than 1 MiB; `unisal weights pack`"):
        load_pack(tmp_path / "whole.safetensors")


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_bad_pack_is_refused(pack_file, tmp_path, cache, spoil):
    change, message = SPOILS[spoil]
    metadata, tensors = packs.open_safetensors(pack_file)
    tensors, metadata = change(tensors, metadata)
    path = tmp_path / "bad.pack.safetensors"
    save_file({name: np.ascontiguousarray(each) for name, each in tensors.items()}, path, metadata)
    with pytest.raises(UnisalError, match=message) as found:
        installed.add(path)
    assert str(found.value).count("\n") == 0 and len(str(found.value)) < 500
    assert not cache.exists()


def test_damaged_files_are_refused(pack_file, tmp_path, cache, golden_file):
    content = pack_file.read_bytes()
    path = tmp_path / "bad.pack.safetensors"
    for bad in (
        b"",
        content[:7],
        content[:5000],
        content[:-4],
        (1 << 62).to_bytes(8, "little") + content[8:],
        content.replace(b'"shape":[41,41]', b'"shape":[99,99]'),
        content + bytes(1 << 20),
    ):
        path.write_bytes(bad)
        with pytest.raises(UnisalError, match=rf"^{path}: ") as found:
            load_pack(path)
        assert "\n" not in str(found.value)
    for place, message in ((tmp_path, "not a file"), (tmp_path / "none", "no such"), (golden_file, "MiB")):
        with pytest.raises(UnisalError, match=message):
            load_pack(place)
    with pytest.raises(
        UnisalError, match="a domain pack, not whole weights; add it with `unisal weights add`"
    ):
        load_weights(pack_file)


def test_add_list_and_remove(command, pack_file, cache, tmp_path, as_release):
    as_release("unisal")
    before = pack_file.read_bytes()
    status, out, err = command("weights", "add", pack_file)
    added = cache / "domains" / "posters.pack.safetensors"
    assert (status, err) == (0, "") and str(added) in out and "--domain posters --out" in out
    assert load_pack(added).equals(load_pack(pack_file)) and pack_file.read_bytes() == before
    assert command("weights", "add", pack_file)[0] == 0  # the same again
    assert command("weights", "add", pack_file, "--name", "ads")[0] == 0
    status, out, _ = command("weights")
    assert status == 0 and out.count("domain pack") == 2 and "missing" in out
    assert "posters, 40 people" in out and "licence: MIT" in out and "golden" in out and "64x96" in out
    status, out, _ = command("weights", "ads", "posters", "--verify")
    assert status == 0 and out.index("ads") < out.index("posters") and "missing" not in out
    added.write_bytes(before[:-1])
    status, out, err = command("weights", "posters", "--verify")
    assert status == 1 and out.startswith("posters          corrupt") and out.count("\n") == 1
    assert command("weights", "remove", "posters")[0] == 0 and not added.exists()
    assert [path.name for path in added.parent.iterdir()] == ["ads.pack.safetensors"]


def test_what_add_and_remove_refuse(command, grown, base, pack_file, cache, tmp_path, as_release):
    as_release("unisal")
    save_pack(tmp_path / "salicon.pack.safetensors", base, "salicon")
    save_pack(tmp_path / "posters.pack.safetensors", grown, "clips", ABOUT)
    assert command("weights", "add", pack_file)[0] == 0
    clips = tmp_path / "posters.pack.safetensors"
    for words, message in (
        (
            ["add", tmp_path / "salicon.pack.safetensors"],
            "have a domain 'salicon'; rename this one with --na",
        ),
        (["add", clips, "--name", "posters"], "domain 'posters' exists already"),
        (["add", clips, "--name", "../posters"], NOT_A_NAME),
        (["add", clips, "--name", "a" * 300], "is out of range"),
        (["add", clips, "--name", "Posters"], NOT_A_NAME),
        (["add", tmp_path / "none"], "no such domain pack"),
        (["add"], "add: requires PACK"),
        (["add", clips, clips], "add: requires PACK"),
        (["add", clips, "--domain", "posters"], "--domain: applies to unisal weights pack only"),
        (["unisal", "--name", "x"], "--name: applies to unisal weights add only"),
        (["remove", "clips"], "not an added pack; added: posters"),
        (["remove", "../domains/posters"], "not an added pack"),
        (["pack", clips, tmp_path / "a.pack.safetensors"], "requires --domain NAME"),
        (["clips"], "neither released weights nor a domain pack; choose from unisal, .*, posters"),
    ):
        status, out, err = command("weights", *words)
        assert status == 1 and out == "" and err.count("\n") == 1, words
        with pytest.raises(AssertionError, match=message):
            raise AssertionError(err)
    assert [path.name for path in (cache / "domains").iterdir()] == ["posters.pack.safetensors"]


def test_a_pack_is_made_of_weights(command, grown, base, cache, tmp_path, as_release):
    as_release("unisal-mit1003")
    save_weights(tmp_path / "mine.safetensors", grown)
    out_file = tmp_path / "posters.pack.safetensors"
    words = ("--domain", "posters", "--about", "licence=MIT", "--about", "data=a=b")
    status, out, _ = command("weights", "pack", tmp_path / "mine.safetensors", out_file, *words)
    assert status == 0 and "for the weights unisal-mit1003: images, 64x96" in out
    assert load_pack(out_file).about == {"licence": "MIT", "data": "a=b"}
    assert bits(with_pack(base, load_pack(out_file))).items() < bits(grown).items()
    params = {**grown.variables["params"], "post_rnn": {"kernel": np.zeros((256, 256), np.float32)}}
    moved = dataclasses.replace(grown, variables={**grown.variables, "params": params})
    save_weights(tmp_path / "moved.safetensors", moved)
    status, out, err = command("weights", "pack", tmp_path / "moved.safetensors", out_file, *words)
    assert status == 1 and err.count("\n") == 1 and "distribute the whole weights" in err
    assert load_pack(out_file).base == "unisal-mit1003"  # unchanged


def test_a_pack_predicts_as_whole_weights_do(grown, pack_file, golden_file, cache, image, tmp_path):
    save_pack(tmp_path / "clips.pack.safetensors", grown, "clips", base="golden")
    installed.add(pack_file)
    installed.add(tmp_path / "clips.pack.safetensors")
    whole = SaliencyModel(grown, engine="onnxruntime")
    model = load(golden_file, engine="onnxruntime")
    usual = model.predict(image, input_size=SIZE)
    assert model.domains == ("dhf1k", "hollywood2", "ucf_sports", "salicon", "clips", "posters")
    assert len(model.config.domains) == 4  # no pack was read
    for domain in ("Posters", "clips"):
        expected = whole.predict(image, domain, SIZE)
        assert np.array_equal(model.predict(image, domain, SIZE), expected)
        assert np.abs(expected - usual).max() > 0.01 * usual.max()
    assert np.array_equal(model.predict(image, input_size=SIZE), usual)
    # The domain that weights are loaded for is the default.
    only = load(golden_file, engine="onnxruntime", domain="posters")
    features = whole.features(image, "posters", SIZE)
    assert all(
        np.array_equal(each, features[name]) for name, each in only.features(image, None, SIZE).items()
    )
    fresh = load(golden_file, engine="onnxruntime")
    stream, expected = (each.stream((60, 80), "clips", SIZE) for each in (fresh, whole))
    for _ in range(2):
        assert np.array_equal(stream(image), expected(image))


def test_nothing_is_read_for_a_domain_of_the_weights(golden_file, pack_file, cache, image, monkeypatch):
    installed.add(pack_file)
    read = []
    monkeypatch.setattr(packs, "load_pack", lambda path: read.append(path) or load_pack(path))
    hashed = Weights.__dict__["shared_sha256"].func
    monkeypatch.setattr(Weights.__dict__["shared_sha256"], "func", lambda w: read.append("hash") or hashed(w))
    model = load(golden_file, engine="onnxruntime")
    for domain in (None, "SALICON"):
        model.predict(image, domain, SIZE)
    assert installed.default_weights(None) == installed.default_weights("Hollywood") == "unisal"
    assert read == []
    model.domain("posters", video=False)
    model.domain("posters", video=False)
    assert read == [cache / "domains" / "posters.pack.safetensors", "hash"]


def test_errors_of_a_domain(golden_file, grown, base, pack_file, cache, tmp_path, command):
    installed.add(pack_file)
    model = load(golden_file, engine="onnxruntime")
    with pytest.raises(UnisalError, match=r"^unknown domain 'cartoons'; known: dhf1k, .*, salicon, posters$"):
        model.domain("cartoons", video=False)
    for text in ("../posters", "", "a" * 5000, "posters\0"):
        with pytest.raises(UnisalError, match=r"^unknown domain"):
            model.domain(text, video=False)
    # A command reports it before it loads weights: there are none in this cache.
    status, _, err = command("predict", golden_file, "--domain", "posters", "--out", tmp_path / "maps")
    assert status == 1 and "belongs to the weights golden, not to these" in err and err.count("\n") == 1
    status, _, err = command("predict", golden_file, "--domain", "cartoons", "--out", tmp_path / "maps")
    assert status == 1 and "unknown domain 'cartoons'; known: dhf1k" in err and "posters" not in err
    place = cache / "domains" / "posters.pack.safetensors"
    shutil.copy(place, place.with_name("ads.pack.safetensors"))
    with pytest.raises(
        UnisalError, match=r"ads.pack.safetensors: is the pack of domain posters, but not named after it"
    ):
        model.domain("ads", video=False)
    place.write_bytes(b"")
    with pytest.raises(UnisalError, match=r"posters.pack.safetensors: not a readable"):
        model.domain("posters", video=False)
    assert model.domains == tuple(domain.name for domain in RELEASED_DOMAINS)


def test_the_release_follows_the_domain(grown, cache, as_release, caplog, image, tmp_path, pack_file):
    as_release("unisal-mit1003")
    save_pack(tmp_path / "bundled" / "posters.pack.safetensors", grown, "posters", ABOUT)
    whole = SaliencyModel(grown, engine="onnxruntime").predict(image, "posters", SIZE)
    model = load(domain="posters", engine="onnxruntime")  # the release unisal is missing
    assert np.array_equal(model.predict(image, input_size=SIZE), whole)
    assert caplog.messages == ["domain posters: using the weights unisal-mit1003, which its pack belongs to"]
    with pytest.raises(UnisalError, match=r"posters belongs to the weights unisal-mit1003, not to these$"):
        installed.check_domain("unisal", "posters")
    installed.check_domain("unisal-mit1003", "posters")
    # A pack of this package cannot be replaced or removed, but an added pack takes precedence.
    with pytest.raises(UnisalError, match="already"):
        installed.add(pack_file)
    with pytest.raises(UnisalError, match="part of this package"):
        installed.remove("posters")
    (cache / "domains").mkdir()
    shutil.copy(pack_file, cache / "domains")
    assert installed.find("posters").base == "golden"


def test_resume_tells_packs_apart(pack_file, grown, cache, tmp_path):
    assert weights_state("unisal", "salicon") == weights_state("unisal", "posters") == "unisal"
    installed.add(pack_file)
    first = weights_state("unisal", "posters")
    assert first["weights"] == "unisal" and weights_state("unisal", "salicon") == "unisal"
    installed.remove("posters")
    save_pack(tmp_path / "posters.pack.safetensors", grown, "posters", {}, base="golden")
    installed.add(tmp_path / "posters.pack.safetensors")
    assert weights_state("unisal", "posters") != first


def test_weights_with_a_pack_are_weights(base, grown, pack_file, command, tmp_path):
    """A file and a folder for the Hub have the domain and its description."""
    loaded = with_pack(base, load_pack(pack_file))
    publish.save_folder(tmp_path / "folder", loaded)
    again = load_weights(tmp_path / "folder")
    assert bits(again) == bits(loaded) and again.about(POSTERS) == ABOUT
    assert again.domain(None, video=False) == SALICON
    card = (tmp_path / "folder" / "README.md").read_text()
    assert "- `posters`, licence: MIT\n" in card and "| `posters` | images | 64x96 | 1 |" in card


@pytest.mark.slow
def test_export_of_a_pack(command, base, cache, golden_file, tmp_path):
    pack_file = tmp_path / "salicon.pack.safetensors"
    save_pack(pack_file, base, "salicon", ABOUT, base="golden")
    installed.add(pack_file, "posters")
    words = ("--format", "onnx", "--weights", golden_file, "--domain", "posters", "--input-size", "64x96")
    status, _, err = command("export", *words, tmp_path / "a.onnx")
    assert status == 0, err
    card = json.loads((tmp_path / "a.onnx.json").read_text())
    assert card["domain"] == "posters" and card["domain_pack"]["about"] == ABOUT
    assert card["domain_pack"]["sha256"] == load_pack(pack_file).sha256
