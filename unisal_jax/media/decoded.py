"""Video frames decoded by FFmpeg, and their conversion to and from planes."""

import dataclasses
from fractions import Fraction

import av
import numpy as np
from av.sidedata.sidedata import SideData
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from unisal_jax.domains import Size
from unisal_jax.media.colours import DEFAULT_LOOK, Colours, Look
from unisal_jax.media.frames import Frame, Planes
from unisal_jax.media.lanczos import resize_planes

_PLANAR = ("yuv420p", "yuvj420p")
# FFmpeg's codes of matrices.
_RGB_TAG, _UNKNOWN = 0, 2
# Target of RGB frames, as in DEFAULT_LOOK. Set explicitly, since FFmpeg keeps the full range some codecs tag.
_OF_RGB = Colorspace.ITU709, ColorRange.MPEG


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the stored frames of a stream become upright images of one size.

    Attributes:
      width, height: of the stored frames.
      matrix: FFmpeg's display matrix; None if there is no rotation.
      look: of the upright images.
    """

    width: int
    height: int
    matrix: tuple[int, ...] | None
    look: Look

    @classmethod
    def of(cls, first: av.VideoFrame, stream: VideoStream) -> "Layout":
        """Returns the layout of a stream, given its first frame."""
        # Read only from the first frame: side data and its frame form a reference cycle, which would keep
        # every frame alive until the next garbage collection.
        data = first.side_data.get("DISPLAYMATRIX")
        matrix = tuple(np.frombuffer(bytes(data), np.int32).tolist()) if isinstance(data, SideData) else None
        context = stream.codec_context
        # RGB frames are converted to the default YUV. Grey may be tagged as RGB, as in PNG, which would be
        # wrong for planes.
        tag = _UNKNOWN if context.colorspace == _RGB_TAG else context.colorspace
        colours = Colours(tag, context.color_primaries, context.color_trc, context.color_range)
        look = DEFAULT_LOOK if _is_rgb(first) else Look(colours)
        layout = cls(first.width, first.height, matrix, look)
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        if aspect <= 0:
            return layout
        aspect = 1 / aspect if layout.turned else aspect
        return dataclasses.replace(layout, look=dataclasses.replace(look, pixel_aspect=aspect))

    @property
    def turned(self) -> bool:
        """Whether rows are displayed as columns."""
        return self.matrix is not None and abs(self.matrix[0]) < abs(self.matrix[1])

    @property
    def size(self) -> Size:
        """(height, width) as displayed."""
        return (self.width, self.height) if self.turned else (self.height, self.width)

    def upright(self, plane: np.ndarray) -> np.ndarray:
        """Returns a view of a stored plane or image [rows, columns, ...] as displayed."""
        if self.matrix is None:
            return plane
        # x' = a x + c y, y' = b x + d y; only multiples of 90 degrees.
        a, b, _, c, d = self.matrix[:5]
        x_sign, y_sign = (c, b) if self.turned else (a, d)
        plane = plane.swapaxes(0, 1) if self.turned else plane
        return plane[:: -1 if y_sign < 0 else 1, :: -1 if x_sign < 0 else 1]


@dataclasses.dataclass(frozen=True)
class DecodedFrame:
    """A `Frame` decoded by FFmpeg.

    Attributes:
      stored: the decoder's frame.
      layout: of the stream.
      seconds, duration: see `Frame`.
    """

    stored: av.VideoFrame
    layout: Layout
    seconds: float | None
    duration: float | None

    @property
    def size(self) -> Size:
        """(height, width), upright."""
        return self.layout.size

    @property
    def look(self) -> Look:
        """See `Frame`."""
        return self.layout.look

    def rgb(self) -> np.ndarray:
        """See `Frame`."""
        width, height = self.layout.width, self.layout.height
        image = self.stored.to_ndarray(format="rgb24", width=width, height=height)
        if self.stored.format.name == "rgb24":
            # Without a conversion this may be memory that the decoder reuses for the next frame.
            image = image.copy()
        return np.ascontiguousarray(self.layout.upright(image))

    def resized(self, size: Size) -> np.ndarray:
        """See `Frame`."""
        if self.size == tuple(size):
            return self.rgb()
        green, blue, red = self._planes("gbrp")
        return resize_planes([self.layout.upright(plane) for plane in (red, green, blue)], size)

    def planes(self) -> Planes:
        """See `planes_of`."""
        stored = self.stored
        if stored.format.name in _PLANAR and (stored.width, stored.height) == self._stored_size:
            y, u, v = (_pixels(plane) for plane in stored.planes)
        else:
            y, u, v = self._planes("yuv420p", *(_OF_RGB if _is_rgb(stored) else ()))
        return Planes(*(self.layout.upright(plane) for plane in (y, u, v)))

    @property
    def _stored_size(self) -> tuple[int, int]:
        return self.layout.width, self.layout.height

    def _planes(
        self, form: str, matrix: Colorspace | None = None, span: ColorRange | None = None
    ) -> list[np.ndarray]:
        width, height = self._stored_size
        converted = self.stored.reformat(
            width=width, height=height, format=form, dst_colorspace=matrix, dst_color_range=span
        )
        return [_pixels(plane) for plane in converted.planes]


def _is_rgb(frame: av.VideoFrame) -> bool:
    return frame.format.is_rgb or frame.format.has_palette


def planes_of(frame: Frame) -> Planes:
    """Returns a frame in YUV 4:2:0 with its `look.colours`, as read-only views of the frame's memory."""
    return frame.planes() if isinstance(frame, DecodedFrame) else planes_of_rgb(frame.rgb())


def planes_of_rgb(image: np.ndarray) -> Planes:
    """Converts uint8 RGB [H, W, 3] to YUV 4:2:0 in BT.709, limited range."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    matrix, span = _OF_RGB
    converted = frame.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range=span)
    return Planes(*(_pixels(plane) for plane in converted.planes))


def frame_of_planes(planes: Planes) -> av.VideoFrame:
    """Returns a frame for an encoder. Odd sides grow by one row or column that repeats the last."""
    height, width = planes.size
    frame = av.VideoFrame(width + width % 2, height + height % 2, "yuv420p")
    for plane, pixels in zip(frame.planes, planes, strict=True):
        rows, columns = pixels.shape
        target = _pixels(plane)
        target[:rows, :columns] = pixels
        target[rows:] = target[rows - 1 : rows]
        target[:, columns:] = target[:, columns - 1 : columns]
    return frame


def _pixels(plane: av.video.plane.VideoPlane) -> np.ndarray:
    """Returns a view of an 8-bit plane, uint8 [height, width]; the view keeps the frame alive."""
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
