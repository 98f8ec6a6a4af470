"""Frames as FFmpeg decodes them."""

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
# FFmpeg's numbers of matrices.
_RGB_TAG, _UNKNOWN = 0, 2
# Of RGB, as DEFAULT_LOOK says: some codecs tag it as full range, which FFmpeg would keep.
_OF_RGB = Colorspace.ITU709, ColorRange.MPEG


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the pixels of a stream's frames become upright images of one size.

    Attributes:
        width, height: of the stored frames.
        matrix: FFmpeg's display matrix; None where there is nothing to turn.
        look: of the upright images.
    """

    width: int
    height: int
    matrix: tuple[int, ...] | None
    look: Look

    @classmethod
    def of(cls, first: av.VideoFrame, stream: VideoStream) -> "Layout":
        """The layout of a stream whose first frame has been decoded."""
        # Asked of the first frame alone: side data and its frame refer to each other, which would keep
        # every frame alive until Python's next search for such cycles.
        data = first.side_data.get("DISPLAYMATRIX")
        matrix = tuple(np.frombuffer(bytes(data), np.int32).tolist()) if isinstance(data, SideData) else None
        context = stream.codec_context
        # What is RGB is turned to what RGB's planes are by default.
        # Grey may be tagged as RGB, as in PNG; of planes that would mean other colours.
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
        """Whether rows are shown as columns."""
        return self.matrix is not None and abs(self.matrix[0]) < abs(self.matrix[1])

    @property
    def size(self) -> Size:
        """(height, width) as shown."""
        return (self.width, self.height) if self.turned else (self.height, self.width)

    def upright(self, plane: np.ndarray) -> np.ndarray:
        """A view of a stored plane or image [rows, columns, ...] as it is shown."""
        if self.matrix is None:
            return plane
        # x' = a x + c y, y' = b x + d y, in quarter turns.
        a, b, _, c, d = self.matrix[:5]
        x_sign, y_sign = (c, b) if self.turned else (a, d)
        plane = plane.swapaxes(0, 1) if self.turned else plane
        return plane[:: -1 if y_sign < 0 else 1, :: -1 if x_sign < 0 else 1]


@dataclasses.dataclass(frozen=True)
class DecodedFrame:
    """A `Frame` as FFmpeg decoded it.

    Attributes:
        stored: by the decoder.
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
            # Nothing was converted: this may be the memory that the decoder makes the next frame from.
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
    """A frame in YUV 4:2:0, by its `look.colours`; views of what the frame holds, not to be changed."""
    return frame.planes() if isinstance(frame, DecodedFrame) else planes_of_rgb(frame.rgb())


def planes_of_rgb(image: np.ndarray) -> Planes:
    """uint8 RGB [H, W, 3] in YUV 4:2:0 by BT.709, limited range."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    matrix, span = _OF_RGB
    converted = frame.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range=span)
    return Planes(*(_pixels(plane) for plane in converted.planes))


def frame_of_planes(planes: Planes) -> av.VideoFrame:
    """A frame for an encoder; odd sides grow by one row or column that repeats the last."""
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
    """A view of a plane of 8 bits, uint8 [height, width]; it keeps the frame alive."""
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
