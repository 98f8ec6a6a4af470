"""The packages that this one requires, as in `setup.cfg`, and their installed versions."""

import importlib.metadata

REQUIRED = (
    "absl-py",
    "array_record",
    "av",
    "etils",
    "filelock",
    "flax",
    "grain",
    "importlib_resources",
    "jax",
    "ml-collections",
    "natsort",
    "numpy",
    "onnx",
    "onnxruntime",
    "opencv-python-headless",
    "optax",
    "orbax-checkpoint",
    "pillow",
    "platformdirs",
    "safetensors",
    "scipy",
    "tensorboardX",
    "tensorflow-datasets",
    "tqdm",
)

# Extra -> (its packages, what it enables). `pip install 'unisal-jax[EXTRA]'` installs it.
EXTRAS = {
    "analysis": (
        ("matplotlib", "scikit-learn"),
        "unisal analyze: the paper's figures; unisal score-regions --plot",
    ),
    "beam": (("apache-beam",), "unisal prepare --beam-runner: prepare datasets on many machines"),
    "demo": (("gradio",), "unisal demo: a demo page on this machine"),
    "docs": (("mkdocs-material", "mkdocstrings", "ruff"), "make docs: the documentation as a site"),
    "export": (("flatbuffers",), "unisal export --format stablehlo"),
    "gcs": (("gcsfs",), "unisal train --workdir gs://bucket/folder"),
    "heif": (("pillow-heif",), "HEIC images, as from phones"),
    "hub": (
        ("huggingface_hub",),
        "weights on the Hugging Face Hub: hf://owner/name, and uploads",
    ),
    "ray": (("ray",), "unisal predict --ray: distribute inputs over a cluster"),
    "submit": (("h5py",), "unisal submit mit300, cat2000 and coco-freeview: HDF5 submissions"),
    "tpu": (("jax", "libtpu"), "training on TPUs, and compiling for TPUs on any machine: make tpu"),
    "torch": (("torch",), "comparison with PyTorch in unisal benchmark and in the tests"),
}


def version(package: str) -> str | None:
    """The installed version of a package, by its name on PyPI; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
