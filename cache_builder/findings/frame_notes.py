"""Notes about every decoded frame, whether it is stored or not."""

from av.video.frame import PictureType, VideoFrame

from cache_builder.video.decode import MAX_PICTURES_COMPARED, DecodedFrame, Pictures
from cache_builder.video.picture import LumaHasher, describe_matrix, picture_hash, read_display_matrix
from frame_store.frame_findings import PictureFormat


class FrameNotes:
    """Notes of one unit's frames, in output order; lists have a row per frame."""

    def __init__(self, *, is_first: bool) -> None:
        """None yet. `is_first`: the unit is its video's first one, and so has no edge before it."""
        self._luma_hash = LumaHasher()
        self._num_first_pictures = 0 if is_first else MAX_PICTURES_COMPARED
        self.packets: list[int] = []
        self.pts_seconds: list[float] = []
        self.is_intra: list[bool] = []
        self.luma_hashes: list[int] = []
        """Empty where frames are in a GPU's memory."""
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
            self.luma_hashes.append(self._luma_hash(frame))
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

    def _orientation(self, frame: VideoFrame) -> str:
        matrix = read_display_matrix(frame)
        # An SEI message is valid until the next sequence of pictures, which begins with a keyframe.
        if matrix is None and self.formats and not frame.key_frame:
            return self.formats[-1][1].orientation
        return describe_matrix(matrix)
