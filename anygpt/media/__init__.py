"""Media values: decode them from files, bytes and data URLs under limits, encode them again. Loads no torch.

PyAV and trimesh, from the extra `media`, are imported only when a sound, video or mesh is at hand.
"""

from anygpt.media.audio import AudioLimits, AudioSource, encode_wav, load_audio, save_audio
from anygpt.media.image import ImageLimits, ImageSource, encode_png, load_image, save_image, to_data_url
from anygpt.media.point_limits import PointLimits
from anygpt.media.points import PointSource, encode_ply, load_points, save_points
from anygpt.media.resampling import resample
from anygpt.media.values import Audio, PointCloud, Video
from anygpt.media.video import VideoLimits, VideoSource, load_video
from anygpt.media.video_encoding import encode_mp4, save_video

__all__ = [
    "Audio",
    "AudioLimits",
    "AudioSource",
    "ImageLimits",
    "ImageSource",
    "PointCloud",
    "PointLimits",
    "PointSource",
    "Video",
    "VideoLimits",
    "VideoSource",
    "encode_mp4",
    "encode_ply",
    "encode_png",
    "encode_wav",
    "load_audio",
    "load_image",
    "load_points",
    "load_video",
    "resample",
    "save_audio",
    "save_image",
    "save_points",
    "save_video",
    "to_data_url",
]
