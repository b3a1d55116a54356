"""Product photos and reviews."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from benchmarks.strangers.stranger import Stranger, divided

_SIDE = 32


def _photo(kind: str, rng: np.random.Generator) -> np.ndarray:
    """A picture of a product: a disc (plate), a ring (cup), a bar (knife), on a ground of some colour."""
    y, x = np.mgrid[:_SIDE, :_SIDE] - _SIDE / 2 + rng.uniform(-3, 3, (2, 1, 1))
    radius, size = np.hypot(x, y), rng.uniform(7, 11)
    shape = {"plate": radius < size, "cup": abs(radius - size) < 2.2, "knife": (abs(x) < 2.5) & (abs(y) < size + 2)}
    ground, colour = rng.uniform(150, 255, 3), rng.uniform(0, 110, 3)
    pixels = np.where(shape[kind][..., None], colour, ground) + rng.normal(0, 9, (_SIDE, _SIDE, 3))
    return pixels.clip(0, 255).astype(np.uint8)


def _save(pixels: np.ndarray, path: Path, i: int) -> Path:
    """Saves a picture as people have them: PNG, JPEG, WebP, grey, with transparency, turned by EXIF, of other sizes."""
    image = Image.fromarray(pixels)
    if i % 7 == 3:
        image = image.convert("L")
    if i % 7 == 4:
        image.putalpha(255)
    if i % 5 == 1:
        image = image.resize((_SIDE + 8, _SIDE))
    suffix = (".png", ".jpg", ".webp")[i % 3] if image.mode == "RGB" else ".png"
    turned = Image.Exif()
    if suffix == ".jpg":
        turned[0x0112] = 1 + 5 * (i % 2)
    image.save(path.with_suffix(suffix), exif=turned)
    return path.with_suffix(suffix)


def photos(folder: Path, rng: np.random.Generator) -> Stranger:
    """A folder for each product, with pictures of mixed formats and sizes, and a hidden file."""
    rows: dict[str, list[tuple[str, np.ndarray]]] = {"train": [], "test": []}
    for i in range(600):
        kind, part = ("plate", "cup", "knife")[i % 3], "train" if i < 450 else "test"
        pixels = _photo(kind, rng)
        path = folder / "shop" / kind if part == "train" else folder / "inbox"
        path.mkdir(parents=True, exist_ok=True)
        _save(pixels, path / f"photo{i:04d}", i // 3)
        rows[part].append((kind, pixels))
    (folder / "shop" / ".DS_Store").write_bytes(b"\0")

    def frame(part: str) -> pd.DataFrame:
        flat = pd.DataFrame(np.stack([pixels.ravel() for _, pixels in rows[part]]).astype(float) / 255)
        return flat.rename(columns=str).assign(label=np.array([kind for kind, _ in rows[part]], object))

    return Stranger("shop", "inbox", "label", frame("train"), frame("test"))


_GOOD = ["great", "lovely", "perfect", "excellent", "sturdy", "recommend", "happy", "love", "fast", "beautiful"]
_BAD = ["broken", "awful", "refund", "cheap", "terrible", "disappointed", "late", "useless", "never", "worst"]
_PLAIN = [
    "the",
    "it",
    "was",
    "and",
    "with",
    "box",
    "colour",
    "size",
    "arrived",
    "bought",
    "my",
    "for",
    "kitchen",
    "this",
    "lamp",
    "very",
    "after",
    "a",
    "week",
]


def reviews(folder: Path, rng: np.random.Generator) -> Stranger:
    """Reviews as JSON lines, with quotes, line ends and emoji inside; are they positive?"""
    n = 1600
    is_positive = rng.random(n) < 0.6
    texts = []
    for positive in is_positive:
        frequent, rare = (_GOOD, _BAD) if positive else (_BAD, _GOOD)
        words = [*rng.choice(_PLAIN, rng.integers(5, 14)), *rng.choice(frequent, rng.integers(1, 3))]
        words += list(rng.choice(rare, 1)) if rng.random() < 0.15 else []
        text = " ".join(rng.permutation(words))
        texts.append(text.capitalize() + rng.choice(["!", ".", ' "really"', "\n:-)", " 😀"]))
    frame = pd.DataFrame(
        {
            "product": rng.choice(["lamp", "chair", "pan"], n).astype(object),
            "text": texts,
            "verdict": np.where(is_positive, "positive", "negative").astype(object),
        }
    )
    train, test = divided(frame, 400)

    def lines(part: pd.DataFrame) -> str:
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in part.to_dict("records"))

    (folder / "reviews.jsonl").write_text(lines(train), encoding="utf-8")
    (folder / "new.jsonl").write_text(lines(test.drop(columns="verdict")), encoding="utf-8")
    return Stranger("reviews.jsonl", "new.jsonl", "verdict", train, test, text=("text",))
