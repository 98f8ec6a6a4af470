"""The model that `unisal_jax.load` returns: predicts densities of images, videos and streams."""

import copy
import os
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unisal_jax.domains import (
    Domain,
    Size,
    check_input_size,
    check_stride,
    size_by_aspect,
)
from unisal_jax.errors import UnisalError
from unisal_jax.inference.engines import Dtype, Engine, EngineName, open_engine
from unisal_jax.media.arrays import ImageLike, as_image, as_images
from unisal_jax.media.cuts import CutDetector
from unisal_jax.media.densities import resize_log_density
from unisal_jax.media.frames import Frame, RgbFrame, resize_rgb
from unisal_jax.media.images import resize_frame
from unisal_jax.media.video import VideoReader, open_video
from unisal_jax.predict.film import Predicted, predicted
from unisal_jax.weights import hub, publish
from unisal_jax.weights.contents import Weights
from unisal_jax.weights.installed import default_weights, domains_for, with_domain
from unisal_jax.weights.store import load_weights

# Maximum number of images in a batch.
MAX_BATCH = 8


def load(
    weights: str | Path | None = None,
    dtype: Dtype = "float32",
    engine: EngineName = "auto",
    domain: str | Domain | None = None,
) -> "SaliencyModel":
    """Loads a model for prediction.

    Args:
      weights: a release, `unisal` or `unisal-mit1003`, which is downloaded once and then read from the
        cache folder; an address on the Hugging Face Hub, `hf://owner/name[@revision][/file]`; or the path
        of a .safetensors or .pth file, a checkpoint folder, or a folder of `save_pretrained`. None for
        `unisal`, or the release that the domain's pack belongs to (`weights.installed.default_weights`).
      dtype: of the computation: float32, or bfloat16 for GPU and TPU. Results are float32.
      engine: "onnxruntime" (CPU), "jax" (CPU, GPU, TPU), or "auto": ONNX Runtime if JAX would run on the CPU,
        else JAX. Their results are equal up to float32 rounding.
      domain: the default domain for calls that name none; None for the usual ones, see
        `domains.default_domain`.

    Raises:
      UnisalError: the weights do not exist, are damaged, or belong to another architecture; neither they
        nor a pack have the domain; the engine does not support the dtype; or JAX has no device of the
        platform named by `JAX_PLATFORMS`.
    """
    found = load_weights(default_weights(domain) if weights is None else weights)
    return SaliencyModel(found, dtype, engine, domain)


class SaliencyModel:
    """A model that predicts where people look.

    A density is a probability over pixels: float32 [height, width] at the image's size, which sums to one.
    With `log=True`, methods return its natural logarithm.

    Domains that the weights lack may come from packs (`weights.installed`). A pack is loaded when its domain
    is first used.

    Attributes:
      config: of the architecture.
      metadata: of the weights.
      engine: runs the network.
    """

    def __init__(
        self,
        weights: Weights,
        dtype: Dtype = "float32",
        engine: EngineName = "auto",
        domain: str | Domain | None = None,
    ):
        self._default = domain
        self._growing = threading.Lock()
        self._weights = weights if domain is None else with_domain(weights, domain)
        self.config = self._weights.config
        self.metadata = self._weights.metadata
        self.engine: Engine = open_engine(self._weights, engine, dtype)

    @classmethod
    def from_pretrained(
        cls,
        weights: str | Path | None = None,
        dtype: Dtype = "float32",
        engine: EngineName = "auto",
        domain: str | Domain | None = None,
    ) -> "SaliencyModel":
        """Loads a model: `unisal_jax.load`, with the same arguments and errors.

        In addition, `owner/name` is a repository on the Hugging Face Hub, unless it is an existing path.
        """
        if isinstance(weights, str) and hub.is_name(weights) and not Path(weights).exists():
            weights = f"{hub.SCHEME}{weights}"
        return load(weights, dtype, engine, domain)

    def save_pretrained(self, folder: str | Path, licence: str = "apache-2.0") -> None:
        """Writes the weights to a folder that `from_pretrained` reads, see `weights.publish.save_folder`.

        Includes the domains of packs that the model has loaded.

        Args:
          folder: created if needed. An existing model card is kept.
          licence: for the model card, as named by the Hub.

        Raises:
          UnisalError: a file cannot be written.
        """
        publish.save_folder(folder, self._weights, licence)

    def push_to_hub(
        self,
        repository: str,
        licence: str = "apache-2.0",
        private: bool = False,
        revision: str | None = None,
        message: str = "Weights of unisal-jax",
    ) -> str:
        """Uploads the files of `save_pretrained` to the Hugging Face Hub, see `weights.publish.push`.

        Args:
          repository: owner/name, created if needed. An existing model card is kept.
          licence: for the model card, as named by the Hub.
          private: whether a new repository is private.
          revision: an existing branch; None for the main one.
          message: of the commit.

        Returns:
          The URL of the commit. Others load the model with `from_pretrained("owner/name")`.

        Raises:
          UnisalError: the Hub rejects the upload or cannot be reached, or huggingface_hub is not installed.
        """
        return publish.push(repository, self._weights, licence, private, revision, message)

    def on(self, device: Any) -> "SaliencyModel":
        """Returns the same model restricted to one of the engine's devices."""
        other = copy.copy(self)
        other.engine = self.engine.on(device)
        return other

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the available domains: those of the weights, and of packs for them."""
        own = [domain.name for domain in self.config.domains]
        packs = [domain.name for domain in domains_for(self._weights.shared_sha256)]
        return tuple(dict.fromkeys(own + packs))

    def domain(self, domain: str | Domain | None, *, video: bool) -> Domain:
        """Returns a domain by name; for None, the default given to `load` or the usual one of the weights.

        Args:
          domain: a domain or its name; None for the default.
          video: whether the input is a video.

        Raises:
          UnisalError: there is no such domain, or its pack cannot be read or belongs to other weights.
        """
        domain = self._default if domain is None else domain
        if domain is not None:
            with self._growing:
                grown = with_domain(self._weights, domain)
                if grown is not self._weights:
                    self._weights, self.config, self.metadata = grown, grown.config, grown.metadata
                    self.engine = self.engine.of(grown)
        return self._weights.domain(domain, video=video)

    def predict(
        self,
        image: ImageLike,
        domain: str | Domain | None = None,
        input_size: Size | None = None,
        log: bool = False,
    ) -> np.ndarray:
        """Predicts the density of one image.

        Args:
          image: an image of any size: a path of an image file; a Pillow image, to which its EXIF
            orientation is applied; or an array of NumPy, JAX or PyTorch (on the CPU) of uint8 in 0 to 255 or
            floats in 0 to 1: RGB [height, width, 3], RGBA (alpha is dropped), or grey [height, width] or
            [height, width, 1]. See `media.arrays.as_image`.
          domain: the domain whose parameters are used, or its name; None for the default, see
            `SaliencyModel.domain`.
          input_size: the network's input (height, width), multiples of 32; None to choose it by aspect ratio.
          log: whether to return the log-density.

        Returns:
          float32 [height, width], of the upright image.

        Raises:
          UnisalError: the image has another type or shape, its file cannot be read, the domain is unknown, or
            the input size is invalid.
        """
        frames = as_image(image)[None]
        density: np.ndarray = self.predict_batch(frames, domain, input_size, log)[0]
        return density

    def predict_batch(
        self,
        images: ImageLike | Sequence[ImageLike],
        domain: str | Domain | None = None,
        input_size: Size | None = None,
        log: bool = False,
    ) -> np.ndarray:
        """Predicts the densities of images of the same size, float32 [N, height, width].

        Arguments and errors as for `predict`; `images` is a list of images, or an array
        [N, height, width, 1, 3 or 4 channels].
        """
        images = as_images(images)
        chosen = self.domain(domain, video=False)
        size = images.shape[1:3]
        input_size = checked_size(input_size) or size_by_aspect(size)
        results = [np.zeros((0, *size), np.float32)]
        for start in range(0, len(images), MAX_BATCH):
            chunk = [resize_frame(image, input_size) for image in images[start : start + MAX_BATCH]]
            maps = self.predict_resized(np.stack(chunk), chosen)
            results.append(np.stack([_finished(each, size, log) for each in maps]))
        return np.concatenate(results)

    def predict_resized(self, frames: np.ndarray, domain: Domain) -> np.ndarray:
        """Returns log-densities, float32 [N, h, w], of images that already have the input size."""
        return np.asarray(self.engine.images(frames, domain))

    def predict_video(
        self,
        video: str | os.PathLike[str] | Iterable[ImageLike],
        domain: str | Domain | None = None,
        input_size: Size | None = None,
        stride: int | None = None,
        log: bool = False,
        across_cuts: bool = True,
    ) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
        """Predicts the densities of a video's frames, one by one and in bounded memory.

        Every `stride`-th frame belongs to one recurrence. The recurrences that start at the first `stride`
        frames run as one batch, and their results are interleaved (paper, section 3.3). Reading, the network
        and the resizing of its maps each have a thread, each one group of frames ahead of the next, so an
        iterator is advanced in another thread after its first frame. Frames so large that this would hold
        more than a gigabyte are processed in smaller groups, if necessary one by one; the results are equal
        up to float32 rounding.

        Args:
          video: a video file, a folder of frames, `camera:N`, a `VideoReader` (`open_video`), or frames, each
            an image as for `predict`. Frames are copied, so an iterator may reuse one array.
          domain: the domain whose parameters are used; None for the default.
          input_size: the network's input (height, width); None for the domain's rule.
          stride: frame stride: the interval between frames of one recurrence. None for `Domain.video_stride`
            of the file's frame rate, or the domain's own if there is no frame rate.
          log: whether to yield the log-density.
          across_cuts: whether the recurrences continue across cuts, as in the paper, instead of being reset
            at each detected cut, as in `unisal predict`.

        Yields:
          (frame uint8 [height, width, 3], density float32 [height, width]); both arrays are new.

        Raises:
          UnisalError: the video cannot be read (after yielding the frames before the damage), or as for
            `predict`.
        """
        chosen = self.domain(domain, video=True)
        input_size = checked_size(input_size)
        stride = _checked_stride(stride)
        if isinstance(video, (str, os.PathLike)):
            with open_video(Path(video)) as reader:
                yield from self.predict_video(reader, chosen, input_size, stride, log, across_cuts)
            return
        count = stride or chosen.video_stride(video.fps if isinstance(video, VideoReader) else None)

        def finish(made: Predicted) -> tuple[np.ndarray, np.ndarray]:
            return made.frame.rgb(), _finished(made.log_density, made.frame.size, log)

        frames = _own_frames(video)
        detector = None if across_cuts else CutDetector()
        yield from predicted(self.engine, frames, chosen, input_size, count, finish, detector, across_cuts)

    def predict_film(
        self, reader: VideoReader, domain: Domain, input_size: Size, stride: int, across_cuts: bool
    ) -> Generator[Predicted, None, None]:
        """Yields the unconverted frames of a video with their log-densities at the input size.

        Like `predict_video`, for callers that need neither RGB nor full-size densities of every frame. Unless
        `across_cuts`, the recurrences are reset at each cut.
        """
        frames = reader.frames()
        yield from predicted(
            self.engine, frames, domain, input_size, stride, _as_it_is, CutDetector(), across_cuts
        )

    def stream(
        self,
        size: Size,
        domain: str | Domain | None = None,
        input_size: Size | None = None,
        stride: int | None = None,
        log: bool = False,
    ) -> "Stream":
        """Opens a live prediction: one frame in, one map out. Equals `predict_video` on the same frames.

        Args:
          size: (height, width) of the frames and maps.
          domain: as for `predict_video`.
          input_size: as for `predict_video`.
          log: as for `predict_video`.
          stride: as for `predict_video`, but None for the domain's own: a stream has no frame rate.
        """
        chosen = self.domain(domain, video=True)
        small = checked_size(input_size) or chosen.video_input_size(size)
        return Stream(
            self.engine, (size[0], size[1]), chosen, small, _checked_stride(stride) or chosen.stride, log
        )

    def features(
        self, image: ImageLike, domain: str | Domain | None = None, input_size: Size | None = None
    ) -> dict[str, np.ndarray]:
        """Returns the network's feature maps for an image as for `predict`, float32 [h, w, channels] by name.

        The names are `encoder_8`, `encoder_16`, `encoder_32` (the number is the downsampling factor),
        `bottleneck`, `decoder_16`, `decoder_8`, and `fused` [h, w], the map before smoothing.
        """
        image = as_image(image)
        input_size = checked_size(input_size) or size_by_aspect(image.shape[:2])
        small = resize_frame(image, input_size)[None]
        chosen = self.domain(domain, video=False)
        maps = self.engine.features(small, chosen)
        features = {name: np.array(each[0], np.float32) for name, each in maps.items()}
        features["fused"] = features["fused"][..., 0]
        return features


class Stream:
    """A live prediction. The hidden states of all interleaved recurrences stay on the device."""

    def __init__(self, engine: Engine, size: Size, domain: Domain, input_size: Size, stride: int, log: bool):
        self._engine, self._domain = engine, domain
        self._size, self._input_size, self._stride, self._log = size, input_size, stride, log
        self.reset()

    def reset(self) -> None:
        """Resets the recurrences, for example at the start of another video."""
        self._states = [
            self._engine.zero_state(self._domain, 1, self._input_size) for _ in range(self._stride)
        ]
        self._next = 0

    def __call__(self, frame: ImageLike) -> np.ndarray:
        """Predicts the density of the next frame, float32 [height, width].

        The frame is an image as for `SaliencyModel.predict`, and is not stored.

        Raises:
          UnisalError: the frame is not such an image, or has another size than the stream.
        """
        frame = as_image(frame, "frame")
        if frame.shape[:2] != self._size:
            raise UnisalError(
                f"frame: size {_shown(frame.shape[:2])}, but the stream was opened for {_shown(self._size)}"
            )
        small = resize_rgb(frame, self._input_size)
        slot = self._next % self._stride
        maps, self._states[slot] = self._engine.frames(small[None], self._domain, self._states[slot])
        self._next += 1
        return _finished(np.asarray(maps)[0], self._size, self._log)


def checked_size(input_size: Size | None) -> Size | None:
    """Returns the input size; raises UnisalError unless it is None or in multiples of 32."""
    if input_size is not None:
        check_input_size(input_size, "input_size")
        return input_size[0], input_size[1]
    return None


def _checked_stride(stride: int | None) -> int | None:
    if stride is not None:
        check_stride(stride, "stride:")
    return stride


def _shown(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def _as_it_is(made: Predicted) -> Predicted:
    return made


def _own_frames(video: VideoReader | Iterable[ImageLike]) -> Iterator[Frame]:
    """Yields frames of a reader, or checked copies of the caller's frames."""
    if isinstance(video, VideoReader):
        yield from video.frames()
        return
    if getattr(video, "ndim", None) == 4:
        # At once, not by as many transfers from a device as there are frames.
        video = as_images(video, "video")
    try:
        frames = iter(video)
    except TypeError:
        raise UnisalError(f"video: {type(video).__name__}, but a path or frames are needed") from None
    for each in frames:
        yield RgbFrame(as_image(each, "frame").copy())


def _finished(log_density: np.ndarray, size: Size, log: bool) -> np.ndarray:
    full = resize_log_density(log_density, size)
    return full if log else np.exp(full, out=full)
