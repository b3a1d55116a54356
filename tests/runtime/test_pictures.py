"""Pictures as people have them: formats, modes, orientations and folders. Expected pixels are computed with NumPy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import command

import netc
from netc.dsl.source import NOWHERE
from netc.runtime.data.pictures import decoder as picture_decoder
from netc.runtime.data.pictures.reader import read_images
from netc.runtime.data.readers.readers import read as read_table
from netc.runtime.data.readers.readers import read_by_suffix
from netc.runtime.data.readers.request import Request, Use, every
from netc.runtime.data.tables.cells import BadRows
from netc.runtime.data.tables.table import Table

COLOURS = np.random.default_rng(3).integers(0, 256, (6, 4, 3), np.uint8)
GREYS = COLOURS[..., 0]


def saved(picture: Image.Image, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
    return path


def read(folder: Path, **options: Any) -> tuple[np.ndarray, dict[str, list[Any]], tuple[str, ...]]:
    """The images of a folder, its other columns, and the notes."""
    table = read_images(Request(folder, folder.name, NOWHERE, options=options), read_by_suffix)
    columns = table.columns
    return columns["image"], {name: column.tolist() for name, column in columns.items() if name != "image"}, table.notes


def only(folder: Path, **options: Any) -> np.ndarray:
    images, _, _ = read(folder, **options)
    assert len(images) == 1
    return images[0]


# how a camera that is turned stores the picture, by the EXIF orientation that it writes
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: upright[:, ::-1].transpose(1, 0, 2),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: upright[::-1].transpose(1, 0, 2),
}


@pytest.mark.parametrize("suffix", ["png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", STORED)
def test_pictures_are_turned_as_their_exif_data_says(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](COLOURS)))
    lossless = {"lossless": True} if suffix == "webp" else {}
    saved(stored, tmp_path / "p" / "a" / f"x.{suffix}", exif=exif, **lossless)
    np.testing.assert_array_equal(only(tmp_path / "p"), COLOURS)


def test_a_turned_photo_is_scaled_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    upright = np.zeros((32, 16, 3), np.uint8)
    upright[:16] = 255
    saved(Image.fromarray(np.rot90(upright).copy()), tmp_path / "p" / "a" / "x.jpg", exif=exif, quality=95)
    image = only(tmp_path / "p", size=(8, 8))
    assert (image[:3] > 250).all()
    assert (image[-3:] < 5).all()


def test_damaged_exif_data_does_not_matter(tmp_path: Path) -> None:
    saved(Image.fromarray(COLOURS), tmp_path / "p" / "a" / "x.png", exif=b"Exif\0\0II*\0" + bytes([255] * 60))
    np.testing.assert_array_equal(only(tmp_path / "p"), COLOURS)


def test_grey_of_16_bits_keeps_its_upper_bits(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.uint16).reshape(4, 6) * 2849
    saved(Image.fromarray(values), tmp_path / "p" / "a" / "x.png")
    saved(Image.fromarray(values), tmp_path / "p" / "a" / "y.tif")
    images, _, _ = read(tmp_path / "p")
    np.testing.assert_array_equal(images, np.stack([values // 256] * 2)[..., None])


def test_numbers_of_32_bits_are_refused(tmp_path: Path) -> None:
    saved(Image.fromarray(GREYS.astype(np.float32)), tmp_path / "p" / "a" / "x.tif")
    with pytest.raises(netc.Fault, match=r"E0801.*cannot decode `.*x.tif(.|\n)*32 bits"):
        read(tmp_path / "p")


def over(ground: tuple[int, int, int], alpha: np.ndarray) -> np.ndarray:
    """COLOURS over a ground."""
    share = alpha[..., None] / 255
    return COLOURS * share + np.array(ground) * (1 - share)


@pytest.mark.parametrize("ground", [None, (0, 0, 0), (255, 0, 128)])
def test_transparent_pictures_lie_over_the_ground(tmp_path: Path, ground: tuple[int, int, int] | None) -> None:
    alpha = np.random.default_rng(4).integers(0, 256, GREYS.shape, np.uint8)
    saved(Image.fromarray(np.dstack([COLOURS, alpha])), tmp_path / "p" / "a" / "x.png")
    image = only(tmp_path / "p", **({} if ground is None else {"ground": ground}))
    assert np.abs(image - over(ground or (255, 255, 255), alpha)).max() <= 1


def test_palettes_and_their_transparent_colour(tmp_path: Path) -> None:
    index = np.arange(24, dtype=np.uint8).reshape(6, 4) % 3
    picture = Image.frombytes("P", (4, 6), index.tobytes())
    picture.putpalette([10, 20, 30, 200, 100, 0, 5, 6, 7])
    saved(picture, tmp_path / "p" / "a" / "x.png", transparency=1)
    colours = np.array([[10, 20, 30], [255, 255, 255], [5, 6, 7]])
    np.testing.assert_array_equal(only(tmp_path / "p"), colours[index])


def test_cmyk_and_one_bit(tmp_path: Path) -> None:
    plain = np.full((8, 8, 3), (200, 30, 60), np.uint8)
    saved(Image.fromarray(plain).convert("CMYK"), tmp_path / "cmyk" / "a" / "x.jpg", quality=100)
    assert np.abs(only(tmp_path / "cmyk").astype(int) - plain).max() < 6
    bits = np.indices((8, 8)).sum(axis=0) % 2 == 0
    saved(Image.fromarray(bits), tmp_path / "bits" / "a" / "x.bmp")
    np.testing.assert_array_equal(only(tmp_path / "bits"), bits[..., None] * 255)


@pytest.mark.parametrize("first", ["grey", "colour"])
def test_grey_pictures_become_coloured_beside_coloured_ones(tmp_path: Path, first: str) -> None:
    names = ("x", "y") if first == "grey" else ("y", "x")
    saved(Image.fromarray(GREYS), tmp_path / "p" / "a" / f"{names[0]}.png")
    saved(Image.fromarray(COLOURS), tmp_path / "p" / "a" / f"{names[1]}.png")
    images, columns, _ = read(tmp_path / "p")
    for image, path in zip(images, columns["path"], strict=True):
        np.testing.assert_array_equal(image, np.dstack([GREYS] * 3) if Path(path).stem == names[0] else COLOURS)
    images, _, _ = read(tmp_path / "p", channels=1)
    assert images.shape == (2, 6, 4, 1)


def test_every_format_is_read_and_the_first_picture_of_an_animation(tmp_path: Path) -> None:
    plain = Image.new("RGB", (4, 6), (250, 120, 0))
    suffixes = ("png", "PNG", "jpg", "jpeg", "JPG", "webp", "gif", "bmp", "tif", "tiff")
    for i, suffix in enumerate(suffixes):
        more = {"save_all": True, "append_images": [Image.new("RGB", (4, 6))]} if suffix in ("gif", "webp") else {}
        saved(plain, tmp_path / "p" / "a" / f"{i}.{suffix}", **more)
    images, _, notes = read(tmp_path / "p")
    assert len(images) == len(suffixes)
    assert np.abs(images.astype(int) - np.array([250, 120, 0])).max() < 8
    assert not notes


def test_what_is_left_out_is_noted(tmp_path: Path) -> None:
    folder, grey = tmp_path / "p", Image.fromarray(GREYS)
    saved(grey, folder / "cat" / "0.png")
    saved(grey, folder / "cat" / "winter" / "old" / "1.png")
    saved(grey, folder / "dog" / "2.png")
    saved(grey, folder / "loose.png")
    for hidden in (".ipynb_checkpoints/3.png", "__MACOSX/4.png", "cat/._0.png", "dog/.thumbnails/5.png"):
        saved(grey, folder / hidden)
    for other in ("cat/Thumbs.db", "cat/.DS_Store", "notes.txt", "dog/list.csv", "dog/raw.heic", "dog/raw2.heic"):
        (folder / other).write_bytes(b"")
    (folder / "fox" / "empty").mkdir(parents=True)
    _, columns, notes = read(folder)
    assert columns == {
        "label": ["cat", "cat", "dog"],
        "path": ["cat/0.png", "cat/winter/old/1.png", "dog/2.png"],
    }
    assert notes == (
        "p: left out 6 hidden files or folders: .ipynb_checkpoints, __MACOSX, cat/.DS_Store, ...",
        "p: left out 4 files that are not pictures: 2 .heic, 1 .txt, 1 .csv",
        "p: left out 1 picture beside the class folders: loose.png",
        "p: left out 1 class folder without pictures: fox",
    )


def test_a_link_back_to_the_folder_ends(tmp_path: Path) -> None:
    saved(Image.fromarray(GREYS), tmp_path / "p" / "a" / "0.png")
    (tmp_path / "p" / "a" / "again").symlink_to(tmp_path / "p")
    images, _, _ = read(tmp_path / "p")
    assert len(images) <= 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("pixels", [picture_decoder.MOST_PIXELS + 1, 4 * picture_decoder.MOST_PIXELS])
def test_a_bomb_is_refused_by_name_and_limit(tmp_path: Path, pixels: int) -> None:
    width = 20_000
    saved(Image.new("1", (width, -(-pixels // width))), tmp_path / "p" / "a" / "bomb.png")
    with pytest.raises(netc.Fault, match=r"bomb.png`(.|\n)*100,000,000 pixels, the limit"):
        read(tmp_path / "p", size=(8, 8))


@pytest.mark.filterwarnings("error")
def test_the_limit_of_pixels_is_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's own limit does not count: it refuses pictures that are twice as large."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 11)
    saved(Image.fromarray(COLOURS), tmp_path / "p" / "a" / "0.png")
    with pytest.raises(netc.Fault, match=r"more than 23 pixels, the limit(.|\n)*max_pixels = 24\) reads it"):
        read(tmp_path / "p", max_pixels=23)
    np.testing.assert_array_equal(only(tmp_path / "p", max_pixels=24), COLOURS)
    assert Image.MAX_IMAGE_PIXELS == 11


TABLE = ["path;größe;label", "a/0.png;1,5;cat", "", '"a/1.png";2;"dog; small"']


def table_of(folder: Path, name: str, content: bytes, **options: Any) -> Table:
    for number in range(2):
        saved(Image.fromarray(COLOURS + number), folder / "a" / f"{number}.png")
    (folder / name).write_bytes(content)
    return read_table("images", folder / name, name, NOWHERE, every(Use.LABELS), options)


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("t.csv", "\n".join(TABLE).encode("cp1252"), {}),
        ("t.csv", "\r\n".join(TABLE).encode("utf-16"), {}),
        ("t.tsv", "\n".join(TABLE).replace(";", "\t").replace("dog\t", "dog;").encode(), {}),
        ("t.csv", "\n".join(["! a comment", *TABLE]).replace(";", "~").encode(), {"delimiter": "~", "comment": "!"}),
        ("t.csv", "\n".join(TABLE[1:]).encode(), {"header": ("path", "größe", "label")}),
    ],
)
def test_a_table_of_pictures_in_any_dialect(name: str, content: bytes, options: dict[str, Any], tmp_path: Path) -> None:
    table = table_of(tmp_path, name, content, **options)
    np.testing.assert_array_equal(table.columns["image"], [COLOURS, COLOURS + 1])
    label = "dog~ small" if options.get("delimiter") else "dog; small"
    assert [table.columns[column][:].tolist() for column in ("path", "label")] == [
        ["a/0.png", "a/1.png"],
        ["cat", label],
    ]
    assert table.names == ("image", "path", "größe", "label")
    first = 3 if options.get("comment") else 1 if options.get("header") else 2
    assert table.numbers(np.arange(2)).tolist() == [first, first + 2]


def test_other_tables_of_pictures(tmp_path: Path) -> None:
    rows = '[{"path": "a/1.png", "label": 1.0}, {"path": "a/0.png", "label": 2}]'
    table = table_of(tmp_path, "t.json", rows.encode())
    np.testing.assert_array_equal(table.columns["image"], [COLOURS + 1, COLOURS])
    assert table.columns["label"].tolist() == ["1", "2"]
    (tmp_path / "t.jsonl").write_text('{"path": "a/0.png", "label": "?"}\n', encoding="utf-8")
    table = read_table("images", tmp_path / "t.jsonl", "t.jsonl", NOWHERE, every(Use.LABELS), {"missing": ("?",)})
    assert table.columns["label"].tolist() == [None]


@pytest.mark.parametrize("name", ["file", "image"])
def test_another_column_may_name_the_pictures(name: str, tmp_path: Path) -> None:
    table = table_of(tmp_path, "t.csv", f"label,{name}\ncat,a/0.png\ndog,a/1.png\n".encode(), path=name)
    np.testing.assert_array_equal(table.columns["image"], [COLOURS, COLOURS + 1])
    assert [table.columns[column][:].tolist() for column in ("label", "path")] == [
        ["cat", "dog"],
        ["a/0.png", "a/1.png"],
    ]
    assert table.names == (("image", "label", "file") if name == "file" else ("image", "label"))


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("path,label\na/0.png,x\n,y\n", {}, "a value is missing(.|\n)*`t.csv`, row 3, column `path`"),
        ("path,label\na/0.png,x\n\na/9.png,y\n", {}, "9.png`(.|\n)*`t.csv`, row 4, column `path`: No such file"),
        ("path,label\na/0.png,x\na/1.png\n", {}, "`t.csv`, row 3"),
        ("image,path\n1,a/0.png\n", {}, "has a column `image`"),
        ("file,label\na/0.png,x\n", {}, 'no column `path`(.|\n)*path = "COLUMN" names another(.|\n)*file, label'),
        ("path,label\na/0.png,x\n", {"path": "file"}, "no column `file`"),
        ("path\na/0.png\n", {"sheet": "b"}, "`sheet` is not an option of `csv`"),
    ],
)
def test_wrong_tables_of_pictures(content: str, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(netc.Fault, match=message):
        table_of(tmp_path, "t.csv", content.encode(), **options)


def test_a_folder_takes_no_options_of_tables(tmp_path: Path) -> None:
    saved(Image.fromarray(GREYS), tmp_path / "p" / "a" / "0.png")
    with pytest.raises(netc.Fault, match="`path` is about a table of pictures"):
        read(tmp_path / "p", path="file")
    with pytest.raises(netc.Fault, match="`delimiter` is about a table of pictures, and `p` is a folder"):
        read(tmp_path / "p", delimiter=";")
    request = Request(tmp_path / "p", "p", NOWHERE, options={"delimiter": ";"}, bad_rows=BadRows())
    assert len(read_images(request, read_by_suffix)) == 1, "a run of a table predicts from a folder too"


def test_rows_of_new_tables_of_pictures_keep_their_numbers(tmp_path: Path) -> None:
    """A row without a path and one whose file is missing are bad, and the others are answered."""
    table_of(tmp_path, "t.csv", b"path\na/0.png\n")
    (tmp_path / "t.csv").write_text("path,x\na/0.png,1\n,2\n\na/7.png,3\na/1.png,4\n", encoding="utf-8")
    bad_rows = BadRows()
    options = {"shape": (6, 4, 3)}
    table = read_table("images", tmp_path / "t.csv", "t.csv", NOWHERE, every(Use.NUMBERS), options, bad_rows)
    zeros = np.zeros_like(COLOURS)
    np.testing.assert_array_equal(table.columns["image"], np.stack([COLOURS, zeros, zeros, COLOURS + 1]))
    assert table.numbers(np.arange(4)).tolist() == [2, 3, 5, 6]
    assert [(problem.row, problem.reason.split("`")[0]) for problem in bad_rows.in_order()] == [
        (3, "a value is missing"),
        (5, "cannot decode "),
    ]


def test_rows_after_skipped_pictures_keep_their_numbers(tmp_path: Path) -> None:
    content = b"path\na/8.png\na/0.png\n\na/9.png\na/1.png\n"
    table = table_of(tmp_path, "t.csv", content, broken="skip")
    assert table.numbers(np.arange(2)).tolist() == [3, 6]
    assert table.notes == ("t.csv: 2 broken pictures skipped",)


def test_the_cache_knows_the_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    saved(Image.fromarray(GREYS), tmp_path / "p" / "a" / "0.png")
    read(tmp_path / "p")
    (before,) = (tmp_path / "cache" / "tables").iterdir()
    monkeypatch.setattr("PIL.__version__", "99.0")
    read(tmp_path / "p")
    (after,) = (tmp_path / "cache" / "tables").iterdir()
    assert before != after


def test_new_pictures_that_cannot_be_used_are_bad_rows(tmp_path: Path) -> None:
    """A flat folder, with grey pictures for a model of coloured ones."""
    folder = tmp_path / "new"
    saved(Image.fromarray(GREYS), folder / "0.png")
    (folder / "1.png").write_bytes(b"no picture")
    saved(Image.fromarray(GREYS[:3]), folder / "2.png")
    saved(Image.fromarray(COLOURS), folder / "3.png")
    bad_rows = BadRows()
    options = {"shape": (6, 4, 3), "broken": "skip"}
    columns = read_images(Request(folder, "new", NOWHERE, options=options, bad_rows=bad_rows), read_by_suffix).columns
    zeros = np.zeros_like(COLOURS)
    np.testing.assert_array_equal(columns["image"], np.stack([np.dstack([GREYS] * 3), zeros, zeros, COLOURS]))
    assert columns["path"].tolist() == ["0.png", "1.png", "2.png", "3.png"]
    assert [problem.row for problem in bad_rows.problems.values()] == [2, 3]
    assert "2.png` has 3 x 4 pixels: training has 6 x 4" in bad_rows.problems[3].reason
    (folder / "0.png").unlink()
    (folder / "3.png").unlink()
    with pytest.raises(netc.Fault, match=r"cannot decode `.*1.png`"):
        read_images(Request(folder, "new", NOWHERE, options={"shape": (6, 4, 3)}, bad_rows=BadRows()), read_by_suffix)


NET = """data {
  source = images("shop", broken = skip)
  x = field("image") -> scale(1 / 255)
  y = column("label") -> classes
  split = (train = 1.0)
}
model {
  input x: float[6, 4, 3]
  target y: class(2)
  z = x -> flatten -> dense(2)
  output p = softmax(z)
  loss cross_entropy(z, y)
}
train { epochs = 1 }
"""


def test_prediction_names_pictures_that_it_cannot_use(tmp_path: Path) -> None:
    """One picture, a flat folder with a broken one and a grey one, and a folder of folders with a loose picture."""
    for i in range(8):
        saved(Image.fromarray(COLOURS // (1 + i % 2)), tmp_path / "shop" / "ab"[i % 2] / f"{i}.png")
    (tmp_path / "m.net").write_text(NET, encoding="utf-8")
    run = netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run")
    new = tmp_path / "new"
    saved(Image.fromarray(COLOURS), new / "0.png")
    (new / "1.png").write_bytes(b"no picture")
    saved(Image.fromarray(GREYS), new / "2.png")
    saved(Image.fromarray(COLOURS[:3]), new / "3.png")
    predictions = run.predict(str(new))
    assert np.isnan(predictions["p"]).any(axis=1).tolist() == [False, True, False, True]
    assert [(problem.row, problem.column) for problem in predictions.problems] == [(2, "image"), (4, "image")]
    np.testing.assert_array_equal(run.predict(str(new / "0.png"))["p"], predictions["p"][:1])
    grey = {"x": np.dstack([GREYS] * 3)[None] / np.float32(255)}
    np.testing.assert_allclose(run.predict_prepared(grey)["p"], predictions["p"][2:3], atol=1e-6)
    done = command("predict", str(run.folder), str(new), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.split(",")[0] for line in done.stdout.splitlines()] == ["path", "0.png", "1.png", "2.png", "3.png"]
    assert "row 2, column `image`: cannot decode" in done.stderr
    assert command("predict", str(run.folder), str(new), "--strict", cwd=tmp_path).returncode == 1
    saved(Image.fromarray(COLOURS), tmp_path / "nested" / "a" / "0.png")
    saved(Image.fromarray(COLOURS), tmp_path / "nested" / "loose.png")
    assert len(run.predict(str(tmp_path / "nested"))["p"]) == 2
