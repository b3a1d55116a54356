"""Bytes that are not as a tool wrote them."""

import gzip
import random


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Some bytes flipped, doubled, dropped or cut off, or none."""
    result = bytearray(content)
    match draw.randrange(10):
        case 0:
            del result[draw.randrange(len(result) + 1) :]
        case 1:
            for _ in range(draw.choice((1, 1, 5, 50))):
                if result:
                    result[draw.randrange(len(result))] ^= 1 << draw.randrange(8)
        case 2:
            start = draw.randrange(len(result) + 1)
            result[start:start] = result[start : start + draw.choice((1, 7, 100))]
        case 3:
            start = draw.randrange(len(result) + 1)
            del result[start : start + draw.choice((1, 7, 100))]
        case 4:
            start = draw.randrange(len(result) + 1)
            result[start : start + 4] = draw.choice(
                (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x80\0\0\0")
            )
        case _:
            pass
    return bytes(result)


def packed(content: bytes, draw: random.Random) -> bytes:
    """A .gz of it: whole, damaged, in two members, with something behind it, packed twice, a little bomb, or not packed at all."""
    half, compressed = len(content) // 2, gzip.compress(content)
    match draw.randrange(12):
        case 0:
            return gzip.compress(content[:half]) + gzip.compress(content[half:])
        case 1:
            return compressed + draw.choice((b"behind", bytes(512)))
        case 2:
            return gzip.compress(compressed)
        case 3:
            return gzip.compress(bytes(4_000_000))
        case 4:
            return draw.choice((content, b"", compressed[:3]))
        case 5 | 6:
            return damaged(compressed, draw)
        case _:
            return compressed
