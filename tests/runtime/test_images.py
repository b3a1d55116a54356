"""Images as data: augmentation in training only, folders of pictures, and messages about broken ones."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import at_most

import netc
from netc.runtime.data.block.declarations import DataSpec
from netc.runtime.data.block.spec import parse_data
from netc.runtime.data.dataset import load
from netc.runtime.data.pictures.augment import AUGMENTATIONS, AugmentationSpec, augmented
from netc.runtime.data.stored import Bytes

IMAGES = np.random.default_rng(0).integers(1, 255, (5, 8, 6, 1), np.uint8)


def each(*specs: tuple) -> np.ndarray:
    result = augmented(Bytes(IMAGES, 1 / 255), specs, "image", 0, 0)
    assert isinstance(result, Bytes)
    return result.array


def rotated(image: np.ndarray, degrees: float) -> np.ndarray:
    return AUGMENTATIONS["rotate"].apply(image[None], np.array([degrees]), [degrees])[0]


def test_each_augmentation_agrees_with_its_definition() -> None:
    flipped = each(AugmentationSpec("flip", ("horizontal",)))
    turned = [
        np.array_equal(flipped_image, image[:, ::-1]) for flipped_image, image in zip(flipped, IMAGES, strict=True)
    ]
    still = [np.array_equal(flipped_image, image) for flipped_image, image in zip(flipped, IMAGES, strict=True)]
    assert all(a or b for a, b in zip(turned, still, strict=True))
    assert any(turned)
    assert any(still)
    for shifted, image in zip(each(AugmentationSpec("shift", (2,))), IMAGES, strict=True):
        padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
        windows = [padded[i : i + 8, j : j + 6] for i in range(5) for j in range(5)]
        assert any(np.array_equal(shifted, window) for window in windows)
    np.testing.assert_array_equal(each(AugmentationSpec("rotate", (1e-9,))), IMAGES)
    turned = each(AugmentationSpec("rotate", (20,)))
    assert all(not np.array_equal(turned_image, image) for turned_image, image in zip(turned, IMAGES, strict=True))
    middle = np.zeros((9, 9, 1), np.uint8)
    middle[4] = 200  # a row of pixels becomes a column by a quarter turn
    np.testing.assert_array_equal(rotated(middle, 90), middle.transpose(1, 0, 2))
    rows, columns = np.arange(8) * 6 // 8, np.arange(6) * 4 // 6
    for cropped, image in zip(each(AugmentationSpec("crop", (2,))), IMAGES, strict=True):
        windows = [image[i + rows][:, j + columns] for i in range(3) for j in range(3)]
        assert any(np.array_equal(cropped, window) for window in windows)
    noisy = augmented(Bytes(IMAGES, 1 / 255), (AugmentationSpec("noise", (0.1,)),), "image", 0, 0)
    assert isinstance(noisy, np.ndarray)
    assert 0.05 < (noisy - np.asarray(Bytes(IMAGES, 1 / 255))).std() < 0.15


def test_augmentation_is_a_function_of_seed_and_epoch() -> None:
    specs = (
        AugmentationSpec("flip", ("horizontal",)),
        AugmentationSpec("shift", (2,)),
        AugmentationSpec("rotate", (10,)),
    )
    first, again, later = (augmented(IMAGES.astype(np.float32), specs, "image", 3, epoch) for epoch in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, later)


NET = """data {
  source = npz("t.npz")
  image = field("image") -> train_only(flip(horizontal) -> shift(1)) -> scale(1 / 255)
  label = field("label")
  split = (train = 0.5, valid = 0.5)
}
model {
  input image: float[8, 6, 1]
  target label: class(2)
  z = image -> conv(4) -> batchnorm -> relu -> maxpool(2) -> flatten -> dense(2)
  output p = softmax(z)
  loss cross_entropy(z, label)
}
train {
  batch = 16
  epochs = 3
}
"""


def test_only_training_is_augmented_with_the_same_bits_on_any_threads(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "t.npz", image=rng.integers(0, 255, (80, 8, 6, 1), np.uint8), label=rng.integers(0, 2, 80))
    (tmp_path / "m.net").write_text(NET, encoding="utf-8")
    (tmp_path / "n.net").write_text(NET.replace("train_only(flip(horizontal) -> shift(1)) -> ", ""), encoding="utf-8")
    runs = [netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run", threads=threads) for threads in (1, 2, 3)]
    for other in runs[1:]:
        assert all(
            np.array_equal(array, other.program.persistent[name]) for name, array in runs[0].program.persistent.items()
        )
    plain = netc.train(netc.load(tmp_path / "n.net"), out=tmp_path / "plain")
    assert runs[0].metrics[-1]["train.loss"] != plain.metrics[-1]["train.loss"]
    again = netc.open(runs[0].folder)
    assert again.evaluate("valid") == runs[0].evaluate("valid")


def test_the_largest_crop_and_shift_leave_a_pixel() -> None:
    shifted = each(AugmentationSpec("shift", (5,)))
    assert all(image.any() for image in shifted)
    for crop, image in zip(each(AugmentationSpec("crop", (5,))), IMAGES, strict=True):  # windows of 3 x 1 pixels
        columns = [np.repeat(image[:, j : j + 1], 6, axis=1) for j in range(6)]
        rows = np.arange(8) * 3 // 8
        assert any(np.array_equal(crop, column[i + rows]) for column in columns for i in range(6))


def check_spec(steps: str, images: str = "float[8, 6, 1]") -> DataSpec:
    """Checks NET with other steps of its images. Reads no file."""
    text = NET.replace("train_only(flip(horizontal) -> shift(1)) -> scale(1 / 255)", steps)
    return parse_data(netc.parse(text.replace("float[8, 6, 1]", images)))


@pytest.mark.parametrize("step", ["crop(6)", "shift(6)", "crop(9223372036854775807)", "flip(vertical) -> shift(7)"])
def test_an_augmentation_that_may_leave_nothing_is_refused_before_data_is_read(step: str) -> None:
    name = step.split(" -> ")[-1]
    with pytest.raises(netc.Fault, match=re.escape(f"error[E0804]: `{name}`")) as refusal:
        check_spec(f"train_only({step})")
    assert refusal.value.diagnostics[0].primary.span.text == name
    assert f"at most {name[: name.index('(')]}(5)" in str(refusal.value)


def test_every_train_only_counts(tmp_path: Path) -> None:
    """Earlier, a second one was ignored."""
    np.savez(tmp_path / "t.npz", image=np.zeros((20, 8, 6, 1), np.uint8), label=np.arange(20) % 2)
    text = NET.replace("scale(1 / 255)", "train_only(crop(2)) -> scale(1 / 255)")
    (tmp_path / "m.net").write_text(text, encoding="utf-8")
    model = netc.load(tmp_path / "m.net")
    specs = load(model, parse_data(model)).augmentations["image"]
    assert [spec.name for spec in specs] == ["flip", "shift", "crop"]
    with pytest.raises(netc.Fault, match="`crop\\(8\\)` leaves nothing"):
        check_spec("train_only(flip(horizontal)) -> train_only(crop(8))")


@pytest.mark.parametrize("step", ["rotate(361)", "rotate(1e308)", "rotate(0)", "noise(1e39)", "noise(-1)"])
def test_a_number_that_an_augmentation_cannot_draw_with_is_refused(step: str) -> None:
    with pytest.raises(netc.Fault, match="E0303"):
        check_spec(f"train_only({step})")


def refusal_of(tmp_path: Path, steps: str) -> str:
    np.savez(tmp_path / "t.npz", image=np.full((20, 8, 6, 1), 2, np.uint8), label=np.arange(20) % 2)
    text = NET.replace("train_only(flip(horizontal) -> shift(1)) -> scale(1 / 255)", steps)
    (tmp_path / "m.net").write_text(text, encoding="utf-8")
    model = netc.load(tmp_path / "m.net")
    with pytest.raises(netc.Fault) as refusal:
        load(model, parse_data(model))
    return str(refusal.value)


def test_a_shape_whose_size_exceeds_64_bits_is_refused(tmp_path: Path) -> None:
    """The product of these dimensions is the size of an image, modulo 2 ** 64."""
    assert "cannot become [1152921504606846979, 16]" in refusal_of(tmp_path, "reshape(2**60 + 3, 16)")


def test_bytes_that_a_factor_makes_infinite_are_refused(tmp_path: Path) -> None:
    assert "a value is not finite" in refusal_of(tmp_path, "scale(1e300)")


def test_pictures_larger_than_the_memory_are_refused(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / "pictures" / label).mkdir(parents=True)
        Image.new("L", (6, 8)).save(tmp_path / "pictures" / label / "0.png")
    text = NET.replace('npz("t.npz")', 'images("pictures", size = (2**40, 2**40))')
    (tmp_path / "m.net").write_text(text.replace('("label")', '("label") -> classes'), encoding="utf-8")
    model = netc.load(tmp_path / "m.net")
    with pytest.raises(netc.Fault, match=r"E1005.*1099511627776 x 1099511627776 pixels"):
        load(model, parse_data(model))


def test_augmentation_of_a_field_that_is_no_image_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", image=np.zeros((20, 6), np.uint8), label=np.arange(20) % 2)
    text = NET.replace("float[8, 6, 1]", "float[6]").replace(
        "conv(4) -> batchnorm -> relu -> maxpool(2) -> flatten -> ", ""
    )
    (tmp_path / "m.net").write_text(text, encoding="utf-8")
    with pytest.raises(netc.Fault, match="`train_only` takes images"):
        netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run")


FOLDER = NET.replace('npz("t.npz")', 'images("pictures")').replace('field("label")', 'field("label") -> classes')


def pictures(folder: Path, count: int = 12) -> None:
    from PIL import Image

    rng = np.random.default_rng(1)
    for i in range(2 * count):
        path = folder / "pictures" / ("dark", "light")[i % 2]
        path.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 100, (8, 6), np.uint8) + np.uint8(120 * (i % 2))
        Image.fromarray(pixels).save(path / (f"{i}.png" if i % 3 else f"{i}.jpg"))


def test_a_folder_for_each_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    pictures(tmp_path)
    (tmp_path / "m.net").write_text(FOLDER.replace("epochs = 3", "epochs = 100"), encoding="utf-8")
    run = netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run")
    assert run.evaluate("valid")["loss"] < 0.4
    assert run.states["label"][0]["classes"] == ["dark", "light"]
    from netc.runtime.data.pictures import reader as images

    monkeypatch.setattr(images._Decoder, "good", lambda _: pytest.fail("decoded a second time"))
    assert netc.open(run.folder).evaluate("valid") == run.evaluate("valid")
    monkeypatch.undo()
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    (before,) = (tmp_path / "cache" / "tables").iterdir()
    (tmp_path / "pictures" / "dark" / "0.jpg").unlink()
    changed = netc.open(run.folder).load_data()
    (after,) = (tmp_path / "cache" / "tables").iterdir()
    assert after != before, "the pictures of the folder as it was are kept"
    assert sum(len(part["label"]) for part in changed.parts.values()) == 23


def test_a_table_of_paths(tmp_path: Path) -> None:
    pictures(tmp_path)
    rows = [
        f"pictures/{path.parent.name}/{path.name},{path.parent.name}" for path in sorted(tmp_path.glob("pictures/*/*"))
    ]
    (tmp_path / "t.csv").write_text("path,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "m.net").write_text(
        FOLDER.replace('images("pictures")', 'images("t.csv", channels = 1)'), encoding="utf-8"
    )
    assert netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run").metrics


def test_a_broken_picture_is_a_message_or_skipped(tmp_path: Path) -> None:
    from PIL import Image

    pictures(tmp_path)
    (tmp_path / "pictures" / "dark" / "x.png").write_bytes(b"no picture")
    (tmp_path / "m.net").write_text(FOLDER, encoding="utf-8")
    with pytest.raises(netc.Fault, match=r"cannot decode `.*x.png`(.|\n)*broken = skip"):
        netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run")
    (tmp_path / "m.net").write_text(FOLDER.replace('"pictures"', '"pictures", broken = skip'), encoding="utf-8")
    assert netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run").load_data().notes == (
        "pictures: 1 broken picture skipped",
    )
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "pictures" / "light" / "z.png")
    with pytest.raises(netc.Fault, match=r"z.png` has 9 x 9 pixels(.|\n)*size = \(8, 6\)"):
        netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run")
    (tmp_path / "m.net").write_text(
        FOLDER.replace('"pictures"', '"pictures", broken = skip, size = (8, 6)'), encoding="utf-8"
    )
    assert netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run").metrics


_POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


def test_a_file_that_only_has_the_name_of_a_picture_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow would hand a PostScript file to Ghostscript, whatever its name."""
    pictures(tmp_path)
    (tmp_path / "pictures" / "dark" / "x.png").write_bytes(_POSTSCRIPT)
    (tmp_path / "m.net").write_text(FOLDER, encoding="utf-8")
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program of the system was started"))
    with pytest.raises(netc.Fault, match=r"cannot decode `.*x.png`"):
        netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run")


def test_a_pipe_among_pictures_is_no_picture(tmp_path: Path) -> None:
    """Opening it would wait forever for a process that writes to it."""
    pictures(tmp_path)
    os.mkfifo(tmp_path / "pictures" / "dark" / "pipe.png")
    (tmp_path / "m.net").write_text(FOLDER, encoding="utf-8")
    with at_most(60), pytest.raises(netc.Fault, match=r"cannot decode `.*pipe.png`(.|\n)*not a regular file"):
        netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run")


def test_the_report_shows_kernels_and_maps(tmp_path: Path) -> None:
    pictures(tmp_path)
    (tmp_path / "m.net").write_text(FOLDER.replace("conv(4)", "conv(5)"), encoding="utf-8")
    run = netc.train(netc.load(tmp_path / "m.net"), out=tmp_path / "run")
    from netc.runtime.insight.report import page

    text = page(run)
    assert text.count("data:image/png") >= 10
    assert "The kernels of the first convolution, line 10" in text
