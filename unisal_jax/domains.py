"""Domains: everything that the network needs to know about a dataset, as one value.

A domain has its own parameters in the network (batch norms, prior maps, fusion and smoothing; paper, section
3.1), and settings for its input: input size, frame stride, static or video.
"""

import dataclasses
import re
from collections.abc import Iterable

from unisal_jax.errors import UnisalError
from unisal_jax.limits import (
    MAX_BATCH_PIXELS,
    MAX_INPUT_PIXELS,
    MAX_NAME_LENGTH,
    MAX_PIXELS,
    MAX_STRIDE,
)

Size = tuple[int, int]  # (height, width) in pixels

# Input sides are multiples of the encoder's total stride; the area is about that of training
# (reference.md, "Input").
SIZE_UNIT = 32
_UNITS = range(7, 14)
_MIN_AREA, _MAX_AREA = 100, 120


TRAINED_FPS = 6
"""Frames per second in the recurrence when the released video domains were trained."""


@dataclasses.dataclass(frozen=True)
class Domain:
    """A dataset's geometry and the names of its parameters.

    Attributes:
      name: names the domain's collections, `<name>` and `<name>_stats`; a Python identifier.
      input_size: (height, width) of the network input in training.
      target_size: (height, width) of loss and scores; None means the input size.
      stride: frame stride, the interval between frames of one recurrence (6 fps in the released sets).
      static: True for images, which bypass the RNN.
      bn_momentum: PyTorch's convention, running = (1 - m) * running + m * batch.
      source_name: name in the authors' code and files; by default that of the domain.
      video_frame_size: the only frame size for which prediction of a video uses `input_size`; None means
        every size. Other videos, and images in any domain, get an input size by aspect ratio.
    """

    name: str
    input_size: Size
    target_size: Size | None = None
    stride: int = 1
    static: bool = False
    bn_momentum: float = 0.01
    source_name: str = ""
    video_frame_size: Size | None = None

    def __post_init__(self):
        # Fields may come from a file, so check types and ranges.
        others = [size for size in (self.target_size, self.video_frame_size) if size is not None]
        if not (
            isinstance(self.name, str)
            and isinstance(self.source_name, str)
            and isinstance(self.static, bool)
            and isinstance(self.stride, int)
            and abs(self.stride) <= MAX_PIXELS
            and isinstance(self.bn_momentum, int | float)
            and 0 <= self.bn_momentum <= 1
            and all(_is_size(size) for size in (self.input_size, *others))
            and all(min(size) > 0 and size[0] * size[1] <= MAX_PIXELS for size in others)
            and max(len(self.name), len(self.source_name)) <= MAX_NAME_LENGTH
        ):
            raise UnisalError(
                f"domain {str(self.name)[:MAX_NAME_LENGTH]!r}: a field has the wrong type or is out of range"
            )
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name) or self.name in _RESERVED:
            raise UnisalError(
                f"domain name {self.name!r}: use lower-case letters, digits and _, not a reserved name"
            )
        if self.name.endswith("_stats"):
            raise UnisalError(f"domain name {self.name!r}: the suffix _stats is reserved for statistics")
        check_input_size(self.input_size, f"domain {self.name}")
        check_stride(self.stride, f"domain {self.name}: stride")
        pixels = self.stride * self.input_size[0] * self.input_size[1]
        if not self.static and pixels > MAX_BATCH_PIXELS:
            raise UnisalError(
                f"domain {self.name}: a stride of {self.stride} frames of {shown_size(self.input_size)} "
                f"makes a batch of more than {MAX_BATCH_PIXELS} pixels"
            )
        if not self.source_name:
            object.__setattr__(self, "source_name", self.name)

    @property
    def stats(self) -> str:
        """Name of the collection of running statistics."""
        return f"{self.name}_stats"

    def is_called(self, name: str) -> bool:
        """Whether `name` is its name or source name, ignoring case."""
        return name.lower() in (self.name, self.source_name.lower())

    def video_input_size(self, frame_size: Size) -> Size:
        """Input size (height, width) for a video whose frames have `frame_size`."""
        fits = not self.static and self.video_frame_size in (None, tuple(frame_size))
        return self.input_size if fits else size_by_aspect(frame_size)

    @property
    def follows_rate(self) -> bool:
        """Whether the stride depends on the frame rate: true for released video domains."""
        released = ((domain.name, domain.stride) for domain in RELEASED_DOMAINS)
        return not self.static and (self.name, self.stride) in released

    def video_stride(self, fps: float | None) -> int:
        """Frame stride for a video of `fps` frames per second; None if unknown.

        The released video domains were trained at 6 frames per second (reference.md, "Input") and process
        videos at about that rate. Other domains, and videos of unknown rate, use the domain's stride.
        """
        if fps is None or not self.follows_rate:
            return self.stride
        return min(max(round(fps / TRAINED_FPS), 1), MAX_STRIDE)


def _is_size(size: object) -> bool:
    # Bounded, as Python refuses to print an integer of a million digits in a message.
    return (
        isinstance(size, tuple | list)
        and len(size) == 2
        and all(isinstance(n, int) and abs(n) <= MAX_PIXELS for n in size)
    )


# Collections that a domain cannot be named after.
_RESERVED = frozenset({"params", "batch_stats", "intermediates", "dropout", "extras"})


def aspect_sizes() -> list[Size]:
    """The input sizes to choose from by aspect ratio (reference.md, "Input").

    Returns:
      (height, width), multiples of 32 with 100 to 120 tiles of 32x32 in all; in ascending height, then width.
    """
    tiles = [(h, w) for h in _UNITS for w in _UNITS if _MIN_AREA <= h * w <= _MAX_AREA]
    return [(h * SIZE_UNIT, w * SIZE_UNIT) for h, w in tiles]


def size_by_aspect(frame_size: Size) -> Size:
    """The size in `aspect_sizes` with the aspect ratio nearest to that of an image; ties go to the first.

    Args:
      frame_size: (height, width) of the image, each at least 1.
    """
    return nearest_aspect(frame_size, aspect_sizes())


def nearest_aspect(frame_size: Size, sizes: Iterable[Size]) -> Size:
    """The size in `sizes` with the aspect ratio nearest to that of an image; ties go to the first."""
    aspect = frame_size[0] / frame_size[1]

    def likeness(size: Size) -> float:
        other = size[0] / size[1]
        return min(aspect, other) / max(aspect, other)

    return max(sizes, key=likeness)


def check_input_size(size: Size, what: str) -> None:
    """Raises UnisalError, naming `what`, unless both sides are multiples of 32 and the area is in bounds."""
    if len(size) != 2 or any(side < SIZE_UNIT or side % SIZE_UNIT for side in size):
        raise UnisalError(
            f"{what}: input size {shown_size(size)} (height x width) is not in multiples of {SIZE_UNIT}"
        )
    if size[0] * size[1] > MAX_INPUT_PIXELS:
        raise UnisalError(f"{what}: input size {shown_size(size)} has more than {MAX_INPUT_PIXELS} pixels")


def check_stride(stride: int, what: str) -> None:
    """Raises UnisalError, naming `what`, unless the stride is from 1 to MAX_STRIDE."""
    if stride < 1:
        raise UnisalError(f"{what} {stride} is not positive")
    if stride > MAX_STRIDE:
        raise UnisalError(f"{what} {stride} is more than {MAX_STRIDE}")


def shown_size(size: Size) -> str:
    """A size as text, `HxW`."""
    return "x".join(str(side) for side in size)


DHF1K = Domain("dhf1k", (224, 384), (360, 640), 5, source_name="DHF1K", video_frame_size=(360, 640))
HOLLYWOOD2 = Domain("hollywood2", (224, 416), None, 4, source_name="Hollywood")
UCF_SPORTS = Domain("ucf_sports", (256, 384), None, 4, source_name="UCFSports")
SALICON = Domain("salicon", (288, 384), (480, 640), 1, static=True, bn_momentum=0.1, source_name="SALICON")

# In the order of the released weights.
RELEASED_DOMAINS = (DHF1K, HOLLYWOOD2, UCF_SPORTS, SALICON)


def find_domain(wanted: str | Domain, domains: Iterable[Domain] = RELEASED_DOMAINS) -> Domain:
    """Finds a domain by itself, its name or its source name, ignoring case.

    Raises:
      UnisalError: there is no such domain; the message lists the known ones.
    """
    domains = tuple(domains)
    for domain in domains:
        if wanted == domain or (isinstance(wanted, str) and domain.is_called(wanted)):
            return domain
    raise unknown_domain(wanted, domains)


def unknown_domain(wanted: str | Domain, domains: Iterable[Domain]) -> UnisalError:
    """The error for a domain that is not in `domains`."""
    name = wanted.name if isinstance(wanted, Domain) else wanted
    return UnisalError(f"unknown domain {name!r}; known: {', '.join(domain.name for domain in domains)}")


def default_domain(domains: Iterable[Domain], video: bool, trained: Iterable[str] | None = None) -> Domain:
    """The domain to predict with if none is named.

    In order of preference: a domain that the weights were trained on and that has the right type (static for
    images, otherwise for video), new domains before released ones; then salicon for images or dhf1k for
    video; then the first domain of the right type.

    Args:
      domains: domains of the weights, at least one.
      video: whether to predict video.
      trained: names of the domains in the last training; None if unknown: then the new domain, if there is
        exactly one.
    """
    domains = tuple(domains)
    new = new_domains(domains)
    moved = set(likely_trained(domains) if trained is None else trained)
    usual = DHF1K.name if video else SALICON.name

    def rank(domain: Domain) -> tuple[bool, ...]:
        of_kind = domain.static != video
        chosen = of_kind and domain.name in moved
        return not (chosen and domain.name in new), not chosen, domain.name != usual, not of_kind

    return min(domains, key=rank)


def new_domains(domains: Iterable[Domain]) -> set[str]:
    """Names of the domains that are not released ones."""
    return {domain.name for domain in domains} - {domain.name for domain in RELEASED_DOMAINS}


def likely_trained(domains: Iterable[Domain]) -> set[str]:
    """The probable domains of the last training: the new domain, if there is exactly one."""
    new = new_domains(domains)
    return new if len(new) == 1 else set()
