"""Hostile pictures: broken ones, other formats, and pipes, devices and links with the name of a picture."""

import io
import os
import random
import struct
import zlib
from pathlib import Path

from hostile import PIECES
from hostile_bytes import damaged
from PIL import Image

ROWS = 12
_SUFFIXES = (".png", ".PNG", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".txt")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(draw: random.Random) -> bytes:
    """A PNG whose checksums are right but whose other parts may be wrong."""
    wide, high = (draw.choice((2, 0, 1, 2**31 - 1, 60_000)) if draw.random() < 0.2 else size for size in (2, 1))
    bits, color = (draw.choice((1, 2, 4, 16, 3)), draw.randrange(8)) if draw.random() < 0.2 else (8, 0)
    head = struct.pack(">IIBBBBB", wide, high, bits, color, 0, 0, int(draw.random() < 0.1))
    pixels = zlib.compress(bytes((0, draw.randrange(256), draw.randrange(256))) * draw.choice((1, 1, 1, 0, 3)))
    chunks = [_chunk(b"IHDR", head), _chunk(b"IDAT", pixels), _chunk(b"IEND", b"")]
    if draw.random() < 0.3:
        more = (
            _chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2_000_000))),
            _chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1000))),
            _chunk(b"PLTE", bytes(draw.choice((3, 4, 768, 900)))),
            _chunk(b"tRNS", bytes(9)),
            _chunk(b"acTL", struct.pack(">II", 2**31, 0)),
            _chunk(b"eXIf", b"II*\0" + bytes(60)),
            chunks[0],
            b"\xff\xff\xff\xffIDAT",
        )
        chunks.insert(draw.randrange(1, 4), draw.choice(more))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _saved(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (2, 1), 7).save(buffer, kind)
    return buffer.getvalue()


_OTHER = tuple(
    _saved(kind) for kind in ("GIF", "BMP", "TIFF", "WEBP", "ICO", "PPM", "TGA", "EPS", "PDF", "JPEG", "PNG")
)
_TEXTS = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 1\nshowpage\n",
    b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    b"",
    b"\0",
    b"MZ",
)


def _picture(path: Path, draw: random.Random) -> None:
    """Writes a file with the name of a picture, or something that is not a file."""
    match draw.randrange(100):
        case 0:
            path.write_bytes(draw.choice((*_OTHER, *_TEXTS)))
        case 1:
            path.mkdir()
        case 2:
            os.mkfifo(path)
        case 3:
            path.symlink_to(draw.choice(("/dev/zero", "/dev/stdin", "nowhere", path.name, "/proc/self/environ", "/")))
        case 4:
            path.write_bytes(damaged(draw.choice(_OTHER), draw))
        case _:
            content = _png(draw) if draw.random() < 0.2 else _OTHER[-1]
            path.write_bytes(damaged(content, draw) if draw.random() < 0.05 else content)


def write_folder(folder: Path, draw: random.Random) -> None:
    for label in ("cat", draw.choice(("dog", "a\nb", "x" * 200, "$\\frac{$"))):
        (folder / label).mkdir(parents=True)
        for number in range(draw.choice((0, 1, 3, 5))):
            _picture(folder / label / f"{number}{draw.choice(_SUFFIXES)}", draw)


def write_table(path: Path, draw: random.Random) -> None:
    rows = [draw.choice(("path,label", "path,label", "label", "path,path", "path", ""))]
    for number in range(draw.choice((1, 4, ROWS))):
        picture = path.parent / f"p{number}.png"
        _picture(picture, draw)
        other = (
            "../p0.png",
            "/etc/passwd",
            "/dev/zero",
            "/proc/self/mem",
            "a\0b",
            "x" * 5000,
            "",
            ".",
            "nowhere.png",
            draw.choice(PIECES),
        )
        name = picture.name if draw.random() < 0.9 else draw.choice(other)
        rows.append('"' + name.replace('"', '""') + f'",{number % 2}')
    path.write_bytes("\n".join(rows).encode("utf-8", "surrogatepass"))
