"""Reading and writing one photograph, with what its file says beside the pixels."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from qprune_cli.errors import UserError
from qprune_cli.images.image import decode, read_bytes

Pixels = NDArray[Any]
QUALITY = 95  # of a JPEG; colours keep their full resolution (4:4:4)
# As small as zlib's default on photographs, and eight times as fast.
PNG_SPEED: dict[str, int] = {"level": 1, "strategy": 3, "filter": 16}
PNG_HEAD = 33  # bytes of signature and IHDR chunk
# Chunks that still hold for other pixels of the same size. Others are copied if their name says that this is safe.
PNG_KEPT = {b"iCCP", b"cICP", b"sRGB", b"gAMA", b"cHRM", b"mDCV", b"cLLI", b"bKGD", b"pHYs", b"eXIf", b"tIME", b"oFFs", b"sCAL"}
# Layout of the pixels, which is written anew; pages, tables and layers that belong to the old pixels.
TIFF_LAYOUT = {254, 255, 282, 283, 296, 320, 347, *range(512, 522), *range(529, 533), 37724, *tifffile.TIFF.TAG_FILTERED}
LOSSLESS = {"NONE", "LZW", "ADOBE_DEFLATE", "DEFLATE", "PACKBITS", "ZSTD", "LZMA"}


@dataclass(frozen=True)
class Photo:
    """A photograph in memory: its pixels, and what its file keeps beside them.

    Attributes:
        path: where it comes from; the ending names its format.
        pixels: (C, H, W) unsigned integers of 8 or 16 bit, or float32 in [0, 1].
        alpha: (H, W) the opacity of a PNG, None without.
        extras: what its format keeps beside the pixels.
    """

    path: Path
    pixels: Pixels
    alpha: Pixels | None
    extras: Any

    def encode(self) -> bytes:
        """The content of a file with these pixels, and with all that the source kept beside its own.

        PNG and TIFF lose no pixel; a JPEG is written with quality 95. A thumbnail in Exif data stays as it was. Of a TIFF, tables
        of tags below the first one (Exif, GPS) are lost.
        """
        channels = self.pixels if self.alpha is None else np.concatenate([self.pixels, self.alpha[None]])
        array = channels.transpose(1, 2, 0).copy()  # ascontiguousarray would keep odd strides of sides of one pixel
        return FORMATS[self.path.suffix.lower()].encode(array[..., 0] if len(channels) == 1 else array, self.extras)


@dataclass(frozen=True)
class Format:
    """How one file format is read and written.

    Attributes:
        signatures: what a file may begin with.
        look: (path, content) -> what to keep beside the pixels; raises UserError where a file holds more than one picture can.
        encode: (pixels (H, W) or (H, W, C), what was kept) -> content.
    """

    signatures: tuple[bytes, ...]
    look: Callable[[Path, bytes], Any]
    encode: Callable[[Pixels, Any], bytes]


def read_photo(path: Path, channels: int) -> Photo:
    """Read a photograph, with all that its file keeps beside the pixels.

    Args:
        path: PNG, JPEG or TIFF.
        channels: 1 for grey, 3 for colour; an alpha channel of a PNG comes on top.

    Raises:
        UserError: no image, damaged, another number of channels, or of a kind that could not be written as it was.
    """
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise UserError(f"{path}: no image that can be read; those end in {', '.join(FORMATS)}")
    if not path.is_file():
        raise UserError(f"{path}: not an ordinary file; take it out")
    content = read_bytes(path)
    if not content.startswith(form.signatures):
        why = "empty" if not content else f"not a {path.suffix} image, whatever its name says"
        raise UserError(f"{path}: {why}; replace it or take it out")
    try:
        extras = form.look(path, content)
    except UserError:
        raise
    except Exception as error:  # each format has its own kinds of errors; all of them mean a damaged file
        why = " ".join(str(error).split())
        raise UserError(f"{path}: damaged or not a {path.suffix} image ({why}); replace it or take it out") from error
    pixels = decode(path, content, channels)
    alpha = imagecodecs.png_decode(content)[..., -1] if path.suffix.lower() == ".png" and _has_alpha(content) else None
    return Photo(path, pixels, alpha, extras)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and whole content of every chunk of a PNG."""
    at, name = 8, b""
    while name != b"IEND":
        length, name = struct.unpack(">I4s", content[at : at + 8])
        yield name, content[at : at + 12 + length]
        at += 12 + length


def _has_alpha(content: bytes) -> bool:
    """Whether decoding gives an alpha channel: from the colour type, or from a list of transparent colours."""
    return content[25] in (4, 6) or any(name == b"tRNS" for name, _ in _chunks(content))


def _look_png(path: Path, content: bytes) -> bytes:
    chunks = list(_chunks(content))
    if any(name == b"acTL" for name, _ in chunks):
        raise UserError(f"{path}: an animation; save its frames as images of their own")
    palette = content[25] == 3  # decoded to colours, so the background is no index any more
    kept = [chunk for name, chunk in chunks if (name in PNG_KEPT or name[3:].islower()) and name[:1].islower()]
    return b"".join(chunk for chunk in kept if not (palette and chunk[4:8] == b"bKGD"))


def _encode_png(pixels: Pixels, kept: bytes) -> bytes:
    encoded = imagecodecs.png_encode(pixels, **PNG_SPEED)
    return bytes(encoded[:PNG_HEAD] + kept + encoded[PNG_HEAD:])


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and whole content of every segment of a JPEG before its pixels."""
    at = 2
    while (marker := content[at + 1]) != 0xDA:
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        (length,) = struct.unpack(">H", content[at + 2 : at + 4])
        yield marker, content[at : at + 2 + length]
        at += 2 + length


def _look_jpeg(_: Path, content: bytes) -> list[bytes]:
    """Application data (Exif, XMP, ICC, IPTC...) and comments.

    Left out are what says how the colours were coded (Adobe) and where further pictures lie behind the first (MPF).
    """
    kept = [segment for marker, segment in _segments(content) if marker == 0xFE or (0xE0 <= marker <= 0xEF and marker != 0xEE)]
    return [segment for segment in kept if segment[4:8] != b"MPF\0"]


def _encode_jpeg(pixels: Pixels, kept: list[bytes]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    content = buffer.getvalue()
    _, head = next(_segments(content))  # JFIF, which holds the resolution
    rest = content[2 + len(head) :]
    has_head = any(segment[4:9] == b"JFIF\0" for segment in kept)
    return content[:2] + b"".join(kept if has_head else [head, *kept]) + rest


def _look_tiff(path: Path, content: bytes) -> dict[str, Any]:
    """What tifffile needs to write such a file again: layout, resolution, and all tags that do not describe the layout."""
    with tifffile.TiffFile(BytesIO(content)) as tiff:
        page = cast(tifffile.TiffPage, tiff.pages[0])
        _refuse_tiff(path, page, len(tiff.pages))
        tags = page.tags
        resolution = [tags[code].value for code in (282, 283) if code in tags]
        lossless = _name(page.compression) in LOSSLESS
        return {
            "dtype": page.dtype,
            "bigtiff": tiff.is_bigtiff,
            "byteorder": tiff.byteorder,
            "compression": page.compression if lossless else "ADOBE_DEFLATE",
            "predictor": page.predictor if lossless else None,
            "resolution": tuple(resolution) if len(resolution) == 2 else None,
            "resolutionunit": tags[296].value if 296 in tags else None,
            "extratags": [tag.astuple() for tag in tags if tag.code not in TIFF_LAYOUT],
        }


def _refuse_tiff(path: Path, page: tifffile.TiffPage, n_pages: int) -> None:
    colours = _name(page.photometric)
    if n_pages > 1:
        raise UserError(f"{path}: holds {n_pages} pages; save each as an image of its own")
    if colours not in ("MINISBLACK", "RGB") and not (colours == "YCBCR" and _name(page.compression) == "JPEG"):
        raise UserError(f"{path}: colours in {colours}, neither grey (MINISBLACK) nor RGB; convert it")
    if page.samplesperpixel > 1 and _name(page.planarconfig) == "SEPARATE":
        raise UserError(f"{path}: its colours lie in planes of their own; save it with interleaved colours")
    if page.dtype is not None and page.dtype.kind == "u" and page.bitspersample not in (8, 16):
        raise UserError(f"{path}: pixels of {page.bitspersample} bits; save them as 8 or 16 bit, or as floats in [0, 1]")


def _name(value: object) -> str:
    """Of one of TIFF's numbers; those that tifffile does not know have none."""
    return str(getattr(value, "name", value))


def _encode_tiff(pixels: Pixels, kept: dict[str, Any]) -> bytes:
    settings = {name: value for name, value in kept.items() if name != "dtype"}
    buffer = BytesIO()
    photometric = "minisblack" if pixels.ndim == 2 else "rgb"
    array = pixels.astype(kept["dtype"], copy=False)
    tifffile.imwrite(buffer, array, photometric=photometric, metadata=None, software=False, **settings)
    return buffer.getvalue()


_JPEG = Format((b"\xff\xd8",), _look_jpeg, _encode_jpeg)
_TIFF = Format((b"II", b"MM"), _look_tiff, _encode_tiff)
FORMATS = {".png": Format((b"\x89PNG\r\n\x1a\n",), _look_png, _encode_png), ".jpg": _JPEG, ".jpeg": _JPEG, ".tif": _TIFF, ".tiff": _TIFF}
