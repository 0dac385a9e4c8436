"""Image files as cameras, editors and broken copies leave them."""

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL import ImageFile as PillowFile

from trials.data import DatasetError
from trials.data.images.image_file import ImageFile, check_image

WriteImage = Callable[..., Path]


@pytest.fixture
def write_scene(tmp_path: Path) -> WriteImage:
    """Writes a smooth picture, as photographs are, of 96×64 pixels."""

    def write(name: str = "a.jpg", *, mode: str = "RGB", **options: object) -> Path:
        ramp = np.add.outer(2 * np.arange(64), np.arange(96)).astype(np.uint8)
        noise = np.random.default_rng(0).integers(0, 24, (64, 96, 3), dtype=np.uint8)
        image = Image.fromarray(ramp[:, :, None] // 2 + noise).convert(mode)
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return write


# --- EXIF -----------------------------------------------------------------------------------------------------------


def exif(order: str, *tags: tuple[int, int, int, bytes]) -> bytes:
    """Return a block of tags (number, type, count, value of 4 bytes) in Intel's or Motorola's byte order."""
    begin = b"II*\0" if order == "<" else b"MM\0*"
    body = b"".join(
        struct.pack(f"{order}HHI", tag, kind, count) + value.ljust(4, b"\0") for tag, kind, count, value in tags
    )
    return b"Exif\0\0" + begin + struct.pack(f"{order}IH", 8, len(tags)) + body + b"\0\0\0\0"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_upright_as_pillow_turns_it(write_scene: WriteImage, order: str, orientation: int) -> None:
    path = write_scene(exif=exif(order, (0x112, 3, 1, struct.pack(f"{order}H", orientation))))
    checked = check_image(path)
    with Image.open(path) as image:
        assert np.array_equal(checked.load(), np.asarray(ImageOps.exif_transpose(image)))
    assert checked.size_hw == checked.load().shape[:2]


@pytest.mark.parametrize(
    ("tag", "error", "words"),
    [
        ((0x100, 6, 1), struct.error, "argument out of range"),
        ((0x10F, 11, 1), AttributeError, "'float' object"),
        ((0x11A, 1, 1), TypeError, "bad operand type"),
        ((0x11A, 11, 1), ValueError, "cannot convert NaN"),
        ((0x8825, 6, 1), ValueError, "negative seek value"),
        ((0x2BC, 11, 1), TypeError, "has no len"),
    ],
)
def test_exif_that_cannot_be_written_anew_still_turns_the_image(
    write_scene: WriteImage, tag: tuple[int, int, int], error: type[Exception], words: str
) -> None:
    path = write_scene(exif=exif("<", (0x112, 3, 1, struct.pack("<H", 6)), (*tag, b"\xff\xff\xff\xff")))
    with Image.open(path) as image:
        with pytest.raises(error, match=words):
            ImageOps.exif_transpose(image)
        stored = np.asarray(image.convert("RGB"))
    assert check_image(path).size_hw == (96, 64)
    assert np.array_equal(ImageFile(path, is_upright=True)(), np.rot90(stored, -1))


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        exif("<", (0x112, 2, 1, b"6")),
        exif("<", (0x112, 3, 1, struct.pack("<H", 9))),
        exif("<", (0x112, 99, 1, b"\x06")),
    ],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow looks for a resolution there
def test_exif_that_cannot_be_read_turns_nothing(write_scene: WriteImage, block: bytes) -> None:
    path = write_scene(exif=block)
    assert check_image(path).size_hw == (64, 96)
    assert ImageFile(path, is_upright=True)().shape == (64, 96, 3)


def test_a_png_s_text_named_exif_turns_nothing(write_scene: WriteImage, tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("exif", "none")
    path = write_scene("a.png", pnginfo=text)
    assert ImageFile(path, is_upright=True)().shape == (64, 96, 3)


# --- truncated files ------------------------------------------------------------------------------------------------


def cut(path: Path, num_bytes: int, *, zeros: int = 0) -> Path:
    path.write_bytes(path.read_bytes()[:-num_bytes] + bytes(zeros))
    return path


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
@pytest.mark.parametrize("num_bytes", [1, 2, 20])
def test_a_jpeg_without_its_last_bytes_is_read(
    write_scene: WriteImage, mode: str, options: dict[str, object], num_bytes: int
) -> None:
    path = write_scene(mode=mode, **options)
    whole = ImageFile(path, is_upright=False)().astype(int)
    assert not check_image(path).is_cut
    checked = check_image(cut(path, num_bytes))
    assert checked.is_cut
    assert np.array_equal(checked.load()[:40], whole[:40])
    assert (np.abs(checked.load() - whole) > 40).mean() < 0.02


def test_what_is_there_is_what_opencv_shows(write_scene: WriteImage) -> None:
    path = cut(write_scene(), 20)
    theirs = cv2.imread(str(path))[:, :, ::-1].astype(int)
    assert np.abs(theirs - ImageFile(path, is_upright=False)()).max() <= 8  # two versions of libjpeg


def test_zeros_in_place_of_the_last_bytes_are_no_pixels(write_scene: WriteImage) -> None:
    path = write_scene()
    shorter = ImageFile(cut(path, 20), is_upright=False)()
    assert np.array_equal(ImageFile(cut(path, 1, zeros=4096), is_upright=False)()[:48], shorter[:48])
    path.write_bytes(path.read_bytes()[:1200] + bytes(4096))
    with pytest.raises(ValueError, match=r"pixels are missing in the last \d+ of 64 rows"):
        check_image(path)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_missing_pixels_are_counted_in_rows(write_scene: WriteImage, mode: str) -> None:
    path = write_scene(mode=mode)
    num_bytes = path.stat().st_size
    expected = (
        r"the image cannot be read: the file is truncated, pixels are missing in the last (32|40|47|48) of 64 rows"
    )
    with pytest.raises(ValueError, match=expected):
        check_image(cut(path, (num_bytes - 300) // 2))
    with pytest.raises(DatasetError, match=r"a\.jpg: the image cannot be read: the file is truncated"):
        ImageFile(path, is_upright=False)()


def test_bytes_after_the_end_mark_are_no_cut(write_scene: WriteImage) -> None:
    path = write_scene()
    path.write_bytes(path.read_bytes() + b"a camera's own words" * 10)
    assert not check_image(path).is_cut


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=str)
def test_a_film_behind_the_end_mark_is_no_cut(write_scene: WriteImage, options: dict[str, object]) -> None:
    """Phones append one; its bytes may look like marks of a JPEG."""
    preview = write_scene("preview.jpg").read_bytes()
    path = write_scene(exif=exif("<") + preview, **options)
    picture, film = path.read_bytes(), b"\0\0\0\x18ftypmp42" + b"\xff\xda film" * 99
    whole = ImageFile(path, is_upright=False)()
    path.write_bytes(picture + film)
    assert not check_image(path).is_cut
    assert np.array_equal(ImageFile(path, is_upright=False)(), whole)
    path.write_bytes(picture[:-20])
    assert check_image(path).is_cut  # the preview's end mark is not the picture's


def test_a_truncated_header_or_png_is_broken(write_scene: WriteImage) -> None:
    path = write_scene()
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="the image cannot be read"):
        check_image(path)
    with pytest.raises(ValueError, match="the image cannot be read"):
        check_image(cut(write_scene("a.png"), 100))


def test_no_setting_of_the_whole_process_is_touched(write_scene: WriteImage) -> None:
    ImageFile(cut(write_scene(), 20), is_upright=False)()
    assert not PillowFile.LOAD_TRUNCATED_IMAGES


# --- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # Pillow's, of damaged tags
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif"])
def test_any_damage_is_a_reason_or_a_picture(write_scene: WriteImage, suffix: str) -> None:
    path = write_scene(f"a{suffix}")
    data, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        damaged = np.frombuffer(data, np.uint8).copy()
        damaged[rng.integers(0, min(len(data), int(rng.choice([64, len(data)]))), size=4)] = rng.integers(
            0, 256, size=4
        )
        path.write_bytes(damaged.tobytes()[: int(rng.choice([len(data), rng.integers(8, len(data))]))])
        try:
            pixels = ImageFile(path, is_upright=True).decode()
        except ValueError:
            continue
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] == 3


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nope\.jpg does not exist$") as caught:
        ImageFile(tmp_path / "nope.jpg", is_upright=True)()
    assert caught.value.hint == ""


def test_no_file_is_taken_for_a_format_that_runs_a_program(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (r) file\n"
    )  # Pillow runs Ghostscript
    with Image.open(path) as image:
        assert image.format == "EPS"
    with pytest.raises(ValueError, match="not an image of a known format"):
        check_image(path)


def test_floating_point_pixels_are_refused_by_the_header(tmp_path: Path) -> None:
    path = tmp_path / "float.tif"
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(path)
    with pytest.raises(ValueError, match="its pixels are floating-point numbers; save it with 8 bits a channel"):
        check_image(path)


def test_more_pixels_than_memory_should_take_are_refused_by_the_header(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("1", (8001, 8000)).save(path)
    assert path.stat().st_size < 100_000
    with pytest.raises(ValueError, match="it has 8001×8000 pixels, more than the 64,000,000 that are read"):
        check_image(path)


@pytest.mark.parametrize("name", ["a" * 5000 + ".jpg", "a\0b.jpg", "\ud800.jpg"])
def test_an_image_that_no_file_can_be_is_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"the image is missing|the image cannot be read: File name too long"):
        check_image(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty: 0 bytes"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "it is a Git LFS pointer, not the file itself: run 'git lfs pull'",
        ),
    ],
)
def test_a_file_that_stands_for_an_image_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        check_image(tmp_path / "a.jpg")


def test_what_pillow_warns_of_is_not_printed(write_scene: WriteImage) -> None:
    """In a process of its own: pytest has filters of its own."""
    path = write_scene(exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    for module, is_told in (("PIL.Image", True), ("trials.data.images.image_file", False)):
        code = f"import {module}, PIL.Image as i; i.open({str(path)!r}).load()"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert ("Corrupt EXIF data" in done.stderr) == is_told
        assert is_told or not done.stderr
