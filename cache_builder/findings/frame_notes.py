"""Notes about every decoded frame, whether it is stored or not."""

from av.video.frame import PictureType, VideoFrame

from cache_builder.video.decode import MAX_PICTURES_COMPARED, DecodedFrame, Pictures
from cache_builder.video.picture import (
    Rows,
    describe_matrix,
    has_equal_rows,
    hash_of_rows,
    luma_rows,
    picture_hash,
    read_display_matrix,
)
from frame_store.frame_findings import PictureFormat


class FrameNotes:
    """Notes of one unit's frames, in output order; lists have a row per frame.

    The latest frame stays in memory, to be compared with the next one.
    """

    def __init__(self, *, is_first: bool) -> None:
        """None yet. `is_first`: the unit is its video's first one, and so has no edge before it."""
        self._num_first_pictures = 0 if is_first else MAX_PICTURES_COMPARED
        self.packets: list[int] = []
        self.pts_seconds: list[float] = []
        self.is_intra: list[bool] = []
        self._first_luma_hash: int | None = None
        self._latest_rows: Rows | None = None
        self.repeats: list[bool] = []
        """Whether a frame is equal to the one before in every fourth row of luma; False for the first one. Empty where
        frames are in a GPU's memory."""
        self.corrupt_positions: list[int] = []
        self.is_interlaced: list[bool] = []
        self.formats: list[tuple[int, PictureFormat]] = []
        """(position of the first frame, format), for the first frame and for each change of format."""
        self.first_pictures: Pictures = []
        """Packet and `picture_hash` of the first `MAX_PICTURES_COMPARED` frames; none of a video's first unit."""

    def take(self, decoded: DecodedFrame) -> None:
        """Note the next frame."""
        frame, position = decoded.frame, len(self.packets)
        self.packets.append(decoded.packet)
        self.pts_seconds.append(decoded.pts_seconds)
        self.is_intra.append(frame.pict_type == PictureType.I)
        if decoded.is_corrupt:
            self.corrupt_positions.append(position)
        self.is_interlaced.append(bool(frame.interlaced_frame))
        if position < self._num_first_pictures:
            self.first_pictures.append((decoded.packet, picture_hash(frame)))
        is_on_gpu = frame.format.name == "cuda"
        if not is_on_gpu:
            self._compare(luma_rows(frame))
        picture_format = PictureFormat(
            width=frame.width,
            height=frame.height,
            pixel_format=None if is_on_gpu else frame.format.name,
            color_matrix=int(frame.colorspace),
            color_range=int(frame.color_range),
            color_primaries=int(frame.color_primaries),
            color_transfer=int(frame.color_trc),
            sample_aspect_ratio=decoded.sample_aspect_ratio,
            orientation=self._orientation(frame),
        )
        if not self.formats or picture_format != self.formats[-1][1]:
            self.formats.append((position, picture_format))

    @property
    def edge_hashes(self) -> tuple[int, int] | None:
        """`hash_of_rows` of the first and of the latest frame; None where none came, or they are in a GPU's memory."""
        if self._first_luma_hash is None or self._latest_rows is None:
            return None
        return self._first_luma_hash, hash_of_rows(self._latest_rows)

    def _compare(self, rows: Rows) -> None:
        if self._latest_rows is None:
            self._first_luma_hash = hash_of_rows(rows)
        self.repeats.append(self._latest_rows is not None and has_equal_rows(rows, self._latest_rows))
        self._latest_rows = rows

    def _orientation(self, frame: VideoFrame) -> str:
        matrix = read_display_matrix(frame)
        # An SEI message is valid until the next sequence of pictures, which begins with a keyframe.
        if matrix is None and self.formats and not frame.key_frame:
            return self.formats[-1][1].orientation
        return describe_matrix(matrix)
