"""The packages that this one stands on, as `setup.cfg` has them, and their versions here."""

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

# Extra -> (its packages, what it gives). `pip install 'unisal-jax[EXTRA]'` installs it.
EXTRAS = {
    "analysis": (
        ("matplotlib", "scikit-learn"),
        "unisal analyze: the paper's figures; unisal score-regions --plot",
    ),
    "beam": (("apache-beam",), "unisal prepare --beam-runner: datasets prepared on many machines"),
    "demo": (("gradio",), "unisal demo: a page on this machine to try things on"),
    "docs": (("mkdocs-material", "mkdocstrings", "ruff"), "make docs: the documentation as a site"),
    "export": (("flatbuffers",), "unisal export --format stablehlo"),
    "gcs": (("gcsfs",), "unisal train --workdir gs://bucket/folder"),
    "heif": (("pillow-heif",), "HEIC images, as phones take them"),
    "hub": (("huggingface_hub",), "weights on the Hugging Face Hub: hf://owner/name, and pushing"),
    "ray": (("ray",), "unisal predict --ray: inputs shared out over a cluster"),
    "submit": (("h5py",), "unisal submit mit300, cat2000 and coco-freeview: HDF5 submissions"),
    "tpu": (("jax", "libtpu"), "training on TPUs, and compiling for them on any machine: make tpu"),
    "torch": (("torch",), "unisal benchmark beside PyTorch, and cross-checks in the tests"),
}


def version(package: str) -> str | None:
    """The installed version of a package by its name on the index; None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
