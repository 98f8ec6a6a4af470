"""What `unisal_jax.load` returns: images, videos and streams in, densities out."""

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
from unisal_jax.weights import publish
from unisal_jax.weights.contents import Weights
from unisal_jax.weights.installed import default_weights, domains_for, with_domain
from unisal_jax.weights.store import load_weights

# Images of one size go to the device together, at most so many.
MAX_BATCH = 8


def load(
    weights: str | Path | None = None,
    dtype: Dtype = "float32",
    engine: EngineName = "auto",
    domain: str | Domain | None = None,
) -> "SaliencyModel":
    """Loads a network for prediction.

    Args:
      weights: a release, `unisal` or `unisal-mit1003`, which is downloaded once and then read from the
        cache folder; an address on the Hugging Face Hub, `hf://owner/name[@revision][/file]`; or the path
        of a .safetensors or .pth file, a checkpoint folder, or a folder of `save_pretrained`. None for
        `unisal`, or the release that the domain's pack belongs to (`weights.installed.default_weights`).
      dtype: of the computation: float32, or bfloat16 for GPU and TPU. Results are float32.
      engine: what computes: "onnxruntime" (CPU), "jax" (CPU, GPU, TPU), or "auto": ONNX Runtime where
        JAX's device would be the CPU, else JAX. Their results are the same but for the rounding of
        float32.
      domain: that is used where a call names none; None for the usual ones, see
        `domains.default_domain`.

    Raises:
      UnisalError: the weights do not exist, are damaged, or belong to another network; they lack the
        domain, and no pack has it for them; the engine cannot do the dtype; or JAX has no device of the
        platform that `JAX_PLATFORMS` names.
    """
    return SaliencyModel.from_pretrained(weights, dtype, engine, domain)


class SaliencyModel:
    """A network that predicts where people look.

    A density is a probability over pixels: float32 [height, width] of the image's own size, that
    sums to one. With `log=True` it is the natural logarithm of that.

    A domain that the weights lack may come from a pack (`weights.installed`): it is read when it is first
    named, and the model has it from then on.

    Attributes:
      config: of the network.
      metadata: of the weights.
      engine: what computes.
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
        """Loads a model: `unisal_jax.load`, with the same arguments and errors."""
        found = load_weights(default_weights(domain) if weights is None else weights)
        return cls(found, dtype, engine, domain)

    def save_pretrained(self, folder: str | Path, licence: str = "apache-2.0") -> None:
        """Writes the weights to a folder that `from_pretrained` reads, see `weights.publish.save_folder`.

        The domains of packs that the model has used by then are part of them.

        Args:
          folder: created if needed. A model card that it has is kept.
          licence: for the card, by the Hub's names.

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
        """Uploads what `save_pretrained` writes to the Hugging Face Hub, see `weights.publish.push`.

        Args:
          repository: owner/name, created if needed. A model card that it has is kept.
          licence: for the card, by the Hub's names.
          private: whether a repository that is created is private.
          revision: an existing branch; None for the main one.
          message: of the commit.

        Returns:
          The commit's address. Others load the model with `from_pretrained("hf://owner/name")`.

        Raises:
          UnisalError: the Hub refuses or cannot be reached, or huggingface_hub is not installed.
        """
        return publish.push(repository, self._weights, licence, private, revision, message)

    def on(self, device: Any) -> "SaliencyModel":
        """The same model on one of the engine's devices alone."""
        other = copy.copy(self)
        other.engine = self.engine.on(device)
        return other

    @property
    def domains(self) -> tuple[str, ...]:
        """Names of the domains that it can predict in: of the weights, and of packs for them."""
        own = [domain.name for domain in self.config.domains]
        packs = [domain.name for domain in domains_for(self._weights.shared_sha256)]
        return tuple(dict.fromkeys(own + packs))

    def domain(self, domain: str | Domain | None, *, video: bool) -> Domain:
        """One of the domains, or that of the name; None for that of `load`, or the usual one of the weights.

        Raises:
          UnisalError: there is none, or its pack cannot be read or belongs to other weights.
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
        """The density of one image.

        Args:
          image: of any size: the path of an image file, read as `unisal predict` reads it; a Pillow image,
            which is turned upright by its EXIF orientation; or an array of NumPy, JAX or PyTorch (on the CPU)
            of uint8 in 0 to 255 or floats in 0 to 1: RGB [height, width, 3], RGBA, whose alpha is dropped, or
            grey [height, width] or [height, width, 1]. See `media.arrays.as_image`.
          domain: whose parameters to use, or its name; None for the default one, see `SaliencyModel.domain`.
          input_size: (height, width) that the network sees, multiples of 32; None for the one by
            aspect ratio.
          log: return the log-density.

        Returns:
          float32 [height, width], of the upright image.

        Raises:
          UnisalError: it is no such image, its file cannot be read, the domain is unknown, or the size
            impossible.
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
        """The densities float32 [N, height, width] of images of one size.

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
        """Log-densities at the input size, float32 [N, h, w], of images that have it already."""
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
        """The frames of a video with their densities, one by one, in bounded memory.

        Every `stride`-th frame belongs to one recurrence; the recurrences that start at the first
        `stride` frames run side by side, as one batch, and their results are interleaved (paper,
        section 3.3). Reading, the network and the resizing of its maps each have a thread, a group of
        frames ahead of the next one: what an iterator does after its first frame runs in another thread than
        the caller's. Frames so large that this would hold more than a gigabyte of them go through in smaller
        groups, one by one at the least; the results are the same up to the rounding of float32.

        Args:
          video: a video file, a folder of frames, `camera:N`, or frames, each an image as `predict` takes it.
            Each is copied as it comes, so that an iterator may fill one array again and again. A
            `VideoReader` (`open_video`) knows when its frames are shown.
          domain: whose parameters to use; None for the default one.
          input_size: (height, width) that the network sees; None for the domain's rule.
          stride: frames from one to the next of a recurrence; None for `Domain.video_stride` of the file's
            frame rate, or the domain's own where frames have none.
          log: yield the log-density.
          across_cuts: the recurrences go on from shot to shot, as in the paper; else they start anew where a
            cut is found, as in `unisal predict`.

        Yields:
          (frame uint8 [height, width, 3], density float32 [height, width]), both arrays of the caller's own.

        Raises:
          UnisalError: the video cannot be read (after the frames before the fault), or as `predict`.
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
        """The frames of a film as they came, with their log-densities at the input size.

        As `predict_video`, for those who need neither RGB nor full-size densities of every frame. Unless
        `across_cuts`, the recurrences start anew at each cut.
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
        """A live prediction: one frame in, one map out; equal to `predict_video` on the same frames.

        Args:
          size: (height, width) of the frames and maps.
          domain: as for `predict_video`.
          input_size: as for `predict_video`.
          log: as for `predict_video`.
          stride: as there, but None for the domain's own: a stream does not know its frame rate.
        """
        chosen = self.domain(domain, video=True)
        small = checked_size(input_size) or chosen.video_input_size(size)
        return Stream(
            self.engine, (size[0], size[1]), chosen, small, _checked_stride(stride) or chosen.stride, log
        )

    def features(
        self, image: ImageLike, domain: str | Domain | None = None, input_size: Size | None = None
    ) -> dict[str, np.ndarray]:
        """The network's inner maps for an image, as `predict` takes it, float32 [h, w, channels] by name.

        `encoder_8`, `encoder_16`, `encoder_32` (the number is the reduction), `bottleneck`,
        `decoder_16`, `decoder_8`, and `fused` [h, w], the map before smoothing.
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
    """A video as it happens. The hidden states of all interleaved recurrences stay on the device."""

    def __init__(self, engine: Engine, size: Size, domain: Domain, input_size: Size, stride: int, log: bool):
        self._engine, self._domain = engine, domain
        self._size, self._input_size, self._stride, self._log = size, input_size, stride, log
        self.reset()

    def reset(self) -> None:
        """Forgets all frames, as at the start of another video."""
        self._states = [
            self._engine.zero_state(self._domain, 1, self._input_size) for _ in range(self._stride)
        ]
        self._next = 0

    def __call__(self, frame: ImageLike) -> np.ndarray:
        """The density float32 [height, width] of the next frame.

        The frame is an image as `SaliencyModel.predict` takes it, and is not kept.

        Raises:
          UnisalError: the frame is no such image, or not of the stream's size.
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
    """The input size, refused unless None or in multiples of 32."""
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
    """Frames of a reader, or of a program, checked, each an array of its own."""
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
