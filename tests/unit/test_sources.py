"""Readers of native layouts: files of every kind, names, masks and attributes."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import xlwt
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from mirage.config.datasets import SourceOptions
from mirage.errors import DataError, LayoutError
from mirage.sources import READERS, Source, open_source
from mirage.sources.images import read_aligned_mask, read_image, read_mask


def source(reader: str, path: Path, **options) -> Source:
    """Open a source from plain options, as a config file gives them."""
    return open_source(
        TypeAdapter(SourceOptions).validate_python({"reader": reader, "path": str(path), **options})
    )


def save(path: Path, values: np.ndarray, mode: str | None = None) -> Path:
    """Write an array with Pillow, making folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(values)
    (picture.convert(mode) if mode else picture).save(path)
    return path


@pytest.fixture
def ramp() -> np.ndarray:
    """uint8 (12, 20, 3) with different channels."""
    return np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


# --- one file ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "ppm"])
def test_lossless_colour_files_keep_their_values(tmp_path, ramp, suffix):
    """Channel-first values equal those written."""
    raw = read_image(save(tmp_path / f"a.{suffix}", ramp), "rgb")
    assert raw.image.dtype == np.uint8
    np.testing.assert_array_equal(raw.image, ramp.transpose(2, 0, 1))
    assert raw.full_range == (0, 255)


def test_grey_becomes_colour_and_back_without_change(tmp_path, ramp):
    """A grey file read as colour has equal channels; grey colours read as grey are the same values."""
    grey = ramp[..., 0]
    colour = read_image(save(tmp_path / "a.png", grey), "rgb").image
    np.testing.assert_array_equal(colour, np.stack([grey] * 3))
    back = read_image(save(tmp_path / "b.png", np.stack([grey] * 3, -1)), "grey").image
    np.testing.assert_array_equal(back, grey[None])


def test_palette_and_one_bit_files_are_read_as_colours(tmp_path, ramp):
    """Palette indices are looked up and 1-bit files span the 8-bit range."""
    palette = Image.fromarray(ramp).quantize(8)
    palette.save(tmp_path / "p.gif")
    expected = np.asarray(palette.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(read_image(tmp_path / "p.gif", "rgb").image, expected)
    bits = (ramp[..., 0] > 127).astype(np.uint8)
    save(tmp_path / "b.png", bits * 255, "1")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png", "grey").image[0], bits * 255)


def test_alpha_is_dropped_when_opaque_and_composited_on_black_otherwise(tmp_path, ramp):
    """Half transparent pixels become half as bright."""
    opaque = np.dstack([ramp, np.full(ramp.shape[:2], 255, np.uint8)])
    np.testing.assert_array_equal(
        read_image(save(tmp_path / "o.png", opaque), "rgb").image, ramp.transpose(2, 0, 1)
    )
    half = np.dstack([ramp, np.full(ramp.shape[:2], 51, np.uint8)])
    expected = np.rint(ramp * np.float32(0.2)).astype(np.uint8).transpose(2, 0, 1)
    np.testing.assert_array_equal(read_image(save(tmp_path / "h.png", half), "rgb").image, expected)


def test_sixteen_bit_grey_png_and_tiff_are_exact(tmp_path):
    """All 16 bits survive, and the full range says so."""
    deep = np.arange(12 * 20, dtype=np.uint16).reshape(12, 20) * 273
    Image.fromarray(deep).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", deep)
    for name in ("a.png", "a.tif"):
        raw = read_image(tmp_path / name, "grey")
        np.testing.assert_array_equal(raw.image[0], deep)
        assert raw.full_range == (0, 65535)


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_sixteen_bit_colour_tiff_is_exact(tmp_path, planar):
    """Interleaved and planar files give the same channels."""
    deep = np.random.default_rng(1).integers(0, 65536, (12, 20, 3), dtype=np.uint16)
    stored = deep if planar == "contig" else np.moveaxis(deep, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar)
    raw = read_image(tmp_path / "a.tif", "rgb")
    np.testing.assert_array_equal(raw.image, np.moveaxis(deep, -1, 0))


def png16(deep: np.ndarray, colour_type: int) -> bytes:
    """A 16-bit PNG whose lines use the five filters in turn, encoded from the specification."""
    height, width, channels = deep.shape
    step = 2 * channels
    raw = np.frombuffer(deep.astype(">u2").tobytes(), np.uint8).reshape(height, -1).astype(int)
    lines = bytearray()
    for y in range(height):
        lines.append(y % 5)
        for at in range(width * step):
            left = raw[y, at - step] if at >= step else 0
            up = raw[y - 1, at] if y else 0
            corner = raw[y - 1, at - step] if y and at >= step else 0
            paeth = min((left, up, corner), key=lambda value: abs(left + up - corner - value))
            guess = (0, left, up, (left + up) // 2, paeth)[y % 5]
            lines.append((raw[y, at] - guess) % 256)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(lines))), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_sixteen_bit_colour_png_is_exact_under_every_filter(tmp_path):
    """Colours that Pillow would cut to 8 bits keep all 16."""
    deep = np.random.default_rng(2).integers(0, 65536, (11, 7, 3), dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(png16(deep, 2))
    raw = read_image(tmp_path / "a.png", "rgb")
    np.testing.assert_array_equal(raw.image, np.moveaxis(deep, -1, 0))
    assert raw.full_range == (0, 65535)


def test_jpeg_orientation_is_applied(tmp_path):
    """A picture stored on its side is read upright."""
    values = np.zeros((16, 32, 3), np.uint8)
    values[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(values).save(tmp_path / "a.jpg", exif=exif, quality=100)
    image = read_image(tmp_path / "a.jpg", "grey").image[0]
    assert image.shape == (32, 16)
    assert image[:12].mean() > 250
    assert image[20:].mean() < 5


@pytest.mark.parametrize("orientation", [2, 3, 4, 5, 6, 7, 8])
def test_orientation_of_sixteen_bit_colours_is_applied_as_to_eight(tmp_path, orientation):
    """Files that Pillow does not read are turned as Pillow turns its own."""
    deep = np.random.default_rng(4).integers(0, 65536, (5, 8, 3), dtype=np.uint16)
    tag = (274, "H", 1, orientation, True)
    tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="rgb", extratags=[tag])
    exif = Image.Exif()
    exif[274] = orientation
    shallow = (deep >> 8).astype(np.uint8)
    Image.fromarray(shallow).save(tmp_path / "shallow.png", exif=exif)
    data, body = png16(deep, 2), exif.tobytes()[6:]
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))
    (tmp_path / "deep.png").write_bytes(data[:33] + chunk + data[33:])  # after signature and IHDR
    expected = read_image(tmp_path / "shallow.png", "rgb").image
    assert expected.shape == ((3, 8, 5) if orientation > 4 else (3, 5, 8))
    for name in ("deep.tif", "deep.png"):
        np.testing.assert_array_equal(read_image(tmp_path / name, "rgb").image >> 8, expected, err_msg=name)


def test_nifti_slices_are_images_and_volumes_stay_volumes(tmp_path):
    """Voxel axes i, j, k become width, height, depth; spacing follows."""
    import nibabel

    values = np.arange(4 * 5 * 3, dtype=np.int16).reshape(4, 5, 3)
    affine = np.diag([0.5, 0.7, 2.0, 1])
    nibabel.save(nibabel.Nifti1Image(values[..., :1], affine), tmp_path / "slice.nii.gz")
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "volume.nii")
    flat = read_image(tmp_path / "slice.nii.gz", "grey")
    np.testing.assert_array_equal(flat.image[0], values[..., 0].T)
    assert flat.spacing_mm == pytest.approx((0.7, 0.5))
    assert flat.full_range is None
    deep = read_image(tmp_path / "volume.nii", "grey")
    assert deep.image.shape == (1, 3, 5, 4)
    assert deep.spacing_mm == pytest.approx((2.0, 0.7, 0.5))


def test_metaimage_slices_are_images_and_volumes_stay_volumes(tmp_path):
    """Axes, spacing and place are those of the same NIfTI file; values are the file's own."""
    import nibabel
    import SimpleITK

    values = np.arange(3 * 5 * 4, dtype=np.int16).reshape(3, 5, 4)
    image = SimpleITK.GetImageFromArray(values)
    image.SetSpacing([0.5, 0.7, 2.0])
    image.SetOrigin([-1.0, 2.0, 3.0])
    image.SetDirection([0, 1, 0, 1, 0, 0, 0, 0, -1])
    for name in ("volume.mha", "volume.nii.gz"):
        SimpleITK.WriteImage(image, str(tmp_path / name), useCompression=True)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values[0]), str(tmp_path / "slice.mha"))
    meta, nifti = (read_image(tmp_path / name, "grey") for name in ("volume.mha", "volume.nii.gz"))
    np.testing.assert_array_equal(meta.image, values[None])
    np.testing.assert_array_equal(nifti.image, meta.image)
    np.testing.assert_allclose(meta.affine, nifti.affine, atol=1e-6)
    np.testing.assert_allclose(meta.affine, nibabel.load(tmp_path / "volume.nii.gz").affine, atol=1e-6)
    assert meta.spacing_mm == pytest.approx((2.0, 0.7, 0.5)) == nifti.spacing_mm
    flat = read_image(tmp_path / "slice.mha", "grey")
    np.testing.assert_array_equal(flat.image, values[:1])
    assert flat.affine is None


@pytest.mark.parametrize("kind", ["Nifti1Image", "Nifti2Image"])
def test_compressed_nifti_files_of_any_type_are_read_as_nibabel_reads_them(tmp_path, kind):
    """Either version, byte order, scaled or not; several gzip members; compressed under a plain name."""
    import gzip

    import nibabel

    values = np.random.default_rng(0).integers(-300, 3000, (4, 5, 6)).astype(np.int16)
    image = getattr(nibabel, kind)(values, np.diag([1.0, 2, 3, 1]))
    scaled = getattr(nibabel, kind)(values * 0.37, np.eye(4))
    scaled.header.set_data_dtype(np.int16)
    swapped = getattr(nibabel, kind)(values, np.eye(4), image.header.as_byteswapped())
    for name, one in (("plain", image), ("scaled", scaled), ("swapped", swapped)):
        path = tmp_path / f"{name}.nii.gz"
        nibabel.save(one, path)
        expected = np.asanyarray(nibabel.load(path).dataobj).T
        expected = expected.astype(np.float32) if name == "scaled" else expected
        np.testing.assert_array_equal(read_image(path, "grey").image[0], expected, err_msg=name)
        data = gzip.decompress(path.read_bytes())
        other = tmp_path / f"{name}-members.nii.gz"
        other.write_bytes(gzip.compress(data[:400]) + gzip.compress(data[400:]))
        np.testing.assert_array_equal(read_image(other, "grey").image[0], expected)
        hidden = tmp_path / f"{name}-hidden.nii"
        hidden.write_bytes(path.read_bytes())
        np.testing.assert_array_equal(read_image(hidden, "grey").image[0], expected)


def dicom(path: Path, values: np.ndarray, **tags) -> Path:
    """Write a small uncompressed DICOM file."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = (
        ExplicitVRLittleEndian,
        SecondaryCaptureImageStorage,
    )
    meta.MediaStorageSOPInstanceUID = generate_uid()
    header = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    header.Rows, header.Columns = values.shape[-2:]
    header.SamplesPerPixel, header.BitsAllocated = 1, 16
    header.BitsStored, header.HighBit, header.PixelRepresentation = 12, 11, int(values.dtype.kind == "i")
    header.PhotometricInterpretation = "MONOCHROME2"
    for name, value in tags.items():
        setattr(header, name, value)
    header.PixelData = values.tobytes()
    header.save_as(path, enforce_file_format=True)
    return path


def test_dicom_is_bright_on_dark_with_the_range_of_its_stored_bits(tmp_path):
    """MONOCHROME1 is inverted, spacing and bits are read, whatever the file is called."""
    values = np.arange(12, dtype=np.uint16).reshape(3, 4) * 300
    plain = read_image(dicom(tmp_path / "a", values, PixelSpacing=[0.2, 0.1]), "grey")
    np.testing.assert_array_equal(plain.image[0], values)
    assert plain.full_range == (0, 4095)
    assert plain.spacing_mm == (0.2, 0.1)
    path = dicom(tmp_path / "b.dcm", values, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_image(path, "grey").image[0], 4095 - values)


def test_dicom_rescale_gives_native_units_without_a_range_when_negative(tmp_path):
    """Hounsfield units need an explicit window later."""
    values = np.full((3, 4), 1000, np.uint16)
    raw = read_image(dicom(tmp_path / "a.dcm", values, RescaleSlope=1, RescaleIntercept=-1024), "grey")
    assert raw.image.max() == -24
    assert raw.full_range is None


def broken_files(folder: Path) -> dict[str, Path]:
    """One file of every kind that must be refused with its name."""
    values = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = save(folder / "whole.png", values).read_bytes()
    jpeg = folder / "whole.jpg"
    Image.fromarray(values).save(jpeg)
    files = {
        "empty": b"",
        "truncated.png": whole[: len(whole) // 2],
        "truncated.jpg": jpeg.read_bytes()[:900],
        "corrupt.png": whole[:60] + b"\x00" * 40 + whole[100:],
        "text.png": b"this is no image",
        "header.dcm": b"\0" * 128 + b"DICM" + b"junk",
        "a.nii": b"junk" * 200,
        "a.nii.gz": b"\x1f\x8bjunk",
        "a.mha": b"ObjectType = Image\nNDims = 2\nDimSize = 8 8\n",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    tifffile.imwrite(folder / "pages.tif", np.zeros((3, 8, 8), np.uint8), photometric="minisblack")
    frames = [Image.fromarray(np.full((8, 8), level, np.uint8)) for level in (0, 90, 200)]
    frames[0].save(folder / "frames.gif", save_all=True, append_images=frames[1:])
    tifffile.imwrite(folder / "nan.tif", np.full((8, 8), np.nan, np.float32))
    dicom(folder / "frames.dcm", np.zeros((2, 4, 4), np.uint16), NumberOfFrames=2)
    names = [*files, "pages.tif", "frames.gif", "nan.tif", "frames.dcm", "absent.png"]
    return {name: folder / name for name in names}


def test_broken_files_of_every_kind_raise_data_errors_that_name_them(tmp_path):
    """No library's own exception escapes."""
    for name, path in broken_files(tmp_path).items():
        with pytest.raises(DataError, match=name.replace(".", r"\.")):
            read_image(path, "rgb")


@pytest.mark.parametrize(("high", "polarity"), [(255, "bright"), (1, "bright"), (255, "dark")])
def test_binary_masks_are_read_by_polarity(tmp_path, high, polarity):
    """0 and 1, 0 and 255, and black on white give the same foreground."""
    wanted = np.zeros((6, 8), np.uint8)
    wanted[2:4, 3:6] = 1
    stored = (wanted if polarity == "bright" else 1 - wanted) * np.uint8(high)
    np.testing.assert_array_equal(read_mask(save(tmp_path / "m.png", stored), polarity), wanted)


def test_a_label_map_taken_for_a_binary_mask_is_refused(tmp_path):
    """Values 0 to 4 are not thresholded to an empty mask."""
    path = save(tmp_path / "m.png", np.array([[0, 4], [2, 1]], np.uint8))
    with pytest.raises(DataError, match="mask_polarity: labels"):
        read_mask(path)
    np.testing.assert_array_equal(read_mask(path, "labels"), [[0, 4], [2, 1]])


def test_label_maps_in_palette_files_keep_their_indices(tmp_path):
    """Colours of the palette do not matter."""
    values = np.array([[0, 1], [2, 1]], np.uint8)
    picture = Image.fromarray(values).convert("P")
    picture.putpalette([0, 0, 0, 250, 10, 10, 20, 240, 30])
    picture.save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", "labels"), values)


def painted(ground: tuple[int, ...], paint: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A mask, and a file of the mask: (6, 8) and (6, 8, channels)."""
    wanted = np.zeros((6, 8), np.uint8)
    wanted[2:4, 3:6] = 1
    return wanted, np.where(wanted[..., None], np.uint8(paint), np.uint8(ground))


@pytest.mark.parametrize(
    ("ground", "paint", "polarity"),
    [
        ((0, 0, 0, 40), (255, 255, 255, 40), "bright"),
        ((255, 255, 255, 0), (0, 0, 0, 0), "dark"),
        ((0, 0, 0, 0), (255, 255, 255, 255), "bright"),
        ((255, 255, 255, 0), (255, 255, 255, 255), "bright"),
        ((0, 0, 0, 0), (0, 0, 0, 255), "dark"),
        ((0, 0), (255, 255), "bright"),
    ],
)
def test_masks_with_an_alpha_channel_are_read_as_they_are_painted(tmp_path, ground, paint, polarity):
    """By colour where alpha is constant; paint on a transparent ground whatever colour that hides."""
    wanted, values = painted(ground, paint)
    np.testing.assert_array_equal(read_mask(save(tmp_path / "m.png", values), polarity), wanted)


@pytest.mark.parametrize("hidden", [(0, 0, 0, 0), (255, 255, 255, 0)])
@pytest.mark.parametrize("polarity", ["bright", "dark", "labels"])
def test_a_transparent_mask_without_paint_is_empty(tmp_path, hidden, polarity):
    """An image without a lesion, of a set whose annotations are painted on a transparent ground."""
    _, values = painted(hidden, hidden)
    assert not read_mask(save(tmp_path / "m.png", values), polarity).any()


@pytest.mark.parametrize(
    ("ground", "paint", "polarity"),
    [
        ((0, 0, 0, 0), (0, 0, 0, 255), "bright"),
        ((0, 0, 0, 255), (255, 255, 255, 0), "bright"),
        ((7, 7, 7, 0), (3, 3, 3, 255), "labels"),
    ],
)
def test_masks_whose_alpha_channel_leaves_open_what_is_meant_are_refused(tmp_path, ground, paint, polarity):
    """An annotation that is in alpha alone is not an empty mask."""
    _, values = painted(ground, paint)
    with pytest.raises(DataError, match=r"m\.png: the mask is partly transparent"):
        read_mask(save(tmp_path / "m.png", values), polarity)


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_the_transparent_colour_of_a_palette_stays_in_a_mask(tmp_path, suffix):
    """GIF masks whose white is marked as transparent keep their foreground; images lose it to black."""
    wanted, _ = painted((0,), (1,))
    picture = Image.fromarray(wanted, "P")
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.save(tmp_path / f"m{suffix}", transparency=1)
    np.testing.assert_array_equal(read_mask(tmp_path / f"m{suffix}"), wanted)
    np.testing.assert_array_equal(read_mask(tmp_path / f"m{suffix}", "labels"), wanted)
    assert not read_image(tmp_path / f"m{suffix}", "grey").image.any()
    picture.putpalette([0, 0, 0, 0, 0, 0])
    picture.save(tmp_path / "black.png", transparency=b"\x00\xff")
    with pytest.raises(DataError, match="partly transparent"):
        read_mask(tmp_path / "black.png")


# --- layouts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reader", "folders"),
    [
        (
            "drive",
            ["training/images", "training/1st_manual", "training/mask", "test/images", "test/mask"],
        ),
        ("chasedb1", ["."]),
        ("messidor", ["Base11"]),
        ("bubil", ["RawImages", "GoldStandard"]),
        ("folder", ["."]),
    ],
)
def test_layout_check_wants_folders_and_listing_wants_files(tmp_path, reader, folders):
    """An empty tree passes the check; each missing folder is named; no items is an error of its own."""
    root = tmp_path / "raw"
    for missing in range(len(folders)):
        with pytest.raises(LayoutError, match=r"missing|has no folder"):
            source(reader, root).check_layout()
        (root / folders[missing]).mkdir(parents=True)
    opened = source(reader, root)
    opened.check_layout()
    with pytest.raises(LayoutError):
        list(opened.items())


def test_every_reader_of_the_config_opens(tmp_path):
    """The registry and the config's union of options name the same readers."""
    for reader in READERS:
        opened = source(reader, tmp_path)
        assert opened.channel_names in (["grey"], ["red", "green", "blue"], ["flair", "t1", "t1ce", "t2"])


def test_opening_and_checking_a_source_imports_nothing_heavy(tmp_path):
    """A dry run of the workflow does both."""
    code = (
        "import sys; from mirage.config.datasets import FolderSource; from mirage.sources import open_source;"
        f"open_source(FolderSource(reader='folder', path={str(tmp_path)!r})).check_layout();"
        "print({'torch', 'monai', 'skimage', 'matplotlib', 'pandas', 'scipy', 'PIL'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "set()"


def test_simulated_data_have_a_namespace_of_their_own(tmp_path):
    """Phantoms share no subjects with the real dataset; two copies of the real one do."""
    options = TypeAdapter(SourceOptions).validate_python({"reader": "drive", "path": "a"})
    assert open_source(options).namespace == source("drive", Path("b")).namespace
    assert open_source(options, tmp_path).namespace != open_source(options).namespace


def drive(root: Path, *, test_labels: bool) -> None:
    """Two items of DRIVE's layout."""
    image, mask = np.full((8, 6, 3), 90, np.uint8), np.eye(8, 6, dtype=np.uint8) * 255
    for part, number in (("training", "21"), ("test", "01")):
        save(root / part / "images" / f"{number}_{part}.tif", image)
        save(root / part / "mask" / f"{number}_{part}_mask.gif", mask)
        if part == "training" or test_labels:
            save(root / part / "1st_manual" / f"{number}_manual1.gif", mask)
    if test_labels:
        save(root / "test" / "2nd_manual" / "01_manual2.gif", mask)


@pytest.mark.parametrize("test_labels", [True, False])
def test_drive_reads_its_official_split_with_and_without_test_labels(tmp_path, test_labels):
    """Copies without test labels give unlabelled items, not errors."""
    drive(tmp_path, test_labels=test_labels)
    opened = source("drive", tmp_path)
    opened.check_layout()
    training, test = opened.items()
    assert (training.subject_id, training.split, test.split) == ("21", "train", "test")
    assert set(training.load().masks) == {"label", "fov"}
    assert set(test.load().masks) == ({"label", "observer2", "fov"} if test_labels else {"fov"})
    np.testing.assert_array_equal(training.load().masks["label"], np.eye(8, 6))


def test_a_mask_of_another_size_or_a_missing_label_fails_that_item_only(tmp_path):
    """The message gives both sizes."""
    drive(tmp_path, test_labels=True)
    save(tmp_path / "training/1st_manual/21_manual1.gif", np.zeros((4, 4), np.uint8))
    training, test = source("drive", tmp_path).items()
    with pytest.raises(DataError, match=r"4 x 4 .* 6 x 8"):
        training.load()
    assert test.load().image.shape == (3, 8, 6)
    (tmp_path / "training/1st_manual/21_manual1.gif").unlink()
    with pytest.raises(DataError, match="does not exist"):
        training.load()


@pytest.mark.parametrize("kind", ["xls", "csv", None])
def test_messidor_grades_come_from_any_form_of_the_table_or_are_unknown(tmp_path, kind):
    """A missing sheet leaves the attributes null."""
    save(tmp_path / "Base11" / "20051020_43808_0100_PP.tif", np.zeros((4, 6, 3), np.uint8))
    lines = [
        ["Image name", "Ophthalmologic department", "Retinopathy grade", "Risk of macular edema "],
        ["20051020_43808_0100_PP.tif", "LaTIM - CHU de BREST", 3, 1],
    ]
    path = tmp_path / "Base11" / f"Annotation_Base11.{kind}"
    if kind == "csv":
        path.write_text("\n".join(",".join(map(str, line)) for line in lines))
    elif kind == "xls":
        book = xlwt.Workbook()
        sheet = book.add_sheet("Feuil1")
        for row, line in enumerate(lines):
            for column, value in enumerate(line):
                sheet.write(row, column, value)
        book.save(str(path))
    (item,) = source("messidor", tmp_path).items()
    assert item.attributes["retinopathy_grade"] == (3 if kind else None)
    assert item.attributes["macular_edema_risk"] == (1 if kind else None)
    assert item.attributes["department"] == ("LaTIM - CHU de BREST" if kind else None)


# --- folder -----------------------------------------------------------------------------------------


def test_folder_leaves_out_masks_table_hidden_and_excluded_files_but_keeps_non_images(tmp_path):
    """A text file among the images is an item that fails, so that it is reported."""
    pixels = np.zeros((4, 4), np.uint8)
    for name in ("a.png", "sub/b.png", "a_mask.png", "orphan_mask.png", "old/c.png", ".hidden.png"):
        save(tmp_path / name, pixels)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "table.csv").write_text("file,age\na.png,40\n")
    opened = source(
        "folder", tmp_path, masks="{parent}/{stem}_mask.png", exclude=["old/**"], table="table.csv"
    )
    items = {item.item_id: item for item in opened.items()}
    assert sorted(items) == ["a", "notes", "sub/b"]
    assert items["a"].attributes == {"file": "a.png", "age": 40}
    assert items["sub/b"].attributes["age"] is None
    assert set(items["a"].load().masks) == {"label"}
    assert not items["sub/b"].load().masks
    with pytest.raises(DataError, match=r"notes\.txt"):
        items["notes"].load()


def test_folder_ids_are_unique_and_clean(tmp_path):
    """Same stems, spaces and umlauts do not collide."""
    for name in ("a.png", "a.bmp", "b c.png", "b_c.png", "ü.png"):
        save(tmp_path / name, np.zeros((4, 4), np.uint8))
    ids = [item.item_id for item in source("folder", tmp_path).items()]
    assert len(set(ids)) == 5
    assert all(set(item) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-./") for item in ids)
    assert {"a.png", "a.bmp", "b_c"} <= set(ids)


def test_folder_subjects_come_from_table_then_expression(tmp_path):
    """Both eyes of a patient are one subject; a file without a subject fails by itself."""
    for name in ("007L.png", "007R.png", "x.png"):
        save(tmp_path / name, np.zeros((4, 4), np.uint8))
    (tmp_path / "t.csv").write_text("file;subject_id;split\n007L.png;007;test\n")
    items = list(source("folder", tmp_path, subject=r"(\d+)[LR]", table="t.csv").items())
    assert [item.subject_id for item in items] == ["007", "007", "x"]
    assert [item.split for item in items] == ["test", None, None]
    with pytest.raises(DataError, match="finds no subject"):
        items[2].load()


def test_images_in_folders_that_may_be_patients_are_doubted_until_somebody_says(tmp_path):
    """Two images of patient07 would be two subjects, one of them perhaps in the test set."""
    for name in ("patient07/a.png", "patient07/b.png", "patient08/a.png"):
        save(tmp_path / name, np.zeros((4, 4), np.uint8))
    (doubt,) = source("folder", tmp_path).doubts()
    assert "1 of 2 folders hold several, such as patient07" in doubt
    (tmp_path / "t.csv").write_text("file,subject_id\npatient07/a.png,7\n")
    for said in ({"subject": "^([^/]+)/"}, {"subject": "(.+)"}, {"table": "t.csv"}):
        assert source("folder", tmp_path, **said).doubts() == []
    assert source("folder", tmp_path, images="patient07/*").doubts() == [], "one folder is no patient"
    assert source("folder", tmp_path, images="**/a.png").doubts() == [], "an image a folder"


def test_folder_table_columns_are_typed_as_a_whole(tmp_path):
    """Numbers where all known values are, text for names with leading zeros."""
    for name in ("a.png", "b.png"):
        save(tmp_path / name, np.zeros((4, 4), np.uint8))
    (tmp_path / "t.csv").write_text("file,age,dose,site,grade\na.png,61,0.5,007,1\nb.png,,2,012,high\n")
    first, second = (item.attributes for item in source("folder", tmp_path, table="t.csv").items())
    assert first == {"file": "a.png", "age": 61, "dose": 0.5, "site": "007", "grade": "1"}
    assert second == {"file": "b.png", "age": None, "dose": 2.0, "site": "012", "grade": "high"}
    assert isinstance(second["dose"], float)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,age\ngone.png,3\n", r"row 2: the file 'gone\.png'"),
        ("file\na.png\na.png\n", "row 3"),
        ("name,age\na.png,3\n", "no column `file`"),
        ("file,status\na.png,ok\n", "'status'"),
        ("file,split\na.png,training\n", "train, val, test"),
        ("file,age\na.png,3,4\n", "row 2: has 3 values"),
    ],
)
def test_folder_table_errors_name_the_row(tmp_path, text, message):
    """Each kind of bad table says where and what."""
    save(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        list(source("folder", tmp_path, table="t.csv").items())


def test_folder_refuses_labels_that_have_no_name(tmp_path):
    """A label the config does not name is an error, not background."""
    save(tmp_path / "a.png", np.zeros((2, 2), np.uint8))
    save(tmp_path / "m/a.png", np.array([[0, 1], [2, 9]], np.uint8))
    opened = source("folder", tmp_path, masks="m/{name}", mask_polarity="labels", labels={1: "x", 2: "y"})
    with pytest.raises(DataError, match=r"\[9\]"):
        next(opened.items()).load()


@pytest.mark.parametrize(
    "options",
    [
        {"masks": "masks/{stm}.png"},
        {"masks": "masks/mask.png"},
        {"subject": r"\d+"},
        {"subject": "("},
        {"labels": {0: "background"}},
        {"labels": {1: "a", 2: "b"}},
    ],
)
def test_folder_options_that_cannot_work_are_refused_at_parse_time(tmp_path, options):
    """Patterns, expressions and labels are checked before any file is read."""
    with pytest.raises(ValidationError):
        source("folder", tmp_path, **options)


# --- real data --------------------------------------------------------------------------------------


def test_real_chasedb1_has_both_eyes_of_ten_children_with_two_observers(shared_data):
    """Vessel shares and agreement are those of careful manual drawings."""
    items = list(source("chasedb1", shared_data / "CHASEDB1").items())
    assert len(items) == 20
    assert len({item.subject_id for item in items}) == 10
    for item in items[:4]:
        raw = item.load()
        first, second = raw.masks["label"], raw.masks["observer2"]
        assert raw.image.shape == (3, 960, 999)
        assert 0.03 < first.mean() < 0.12
        assert 2 * (first & second).sum() / (first.sum() + second.sum()) > 0.7


def test_real_bubil_is_read_whole_and_experts_agree_with_gold(shared_data):
    """All 35 cells, whatever the mode and spelling of their masks."""
    root = shared_data / "BU-BIL" / "BU-BIL_Dataset1"
    golds, votes = (list(source("bubil", root, annotator=name).items()) for name in ("gold", "majority"))
    assert len(golds) == len(votes) == 35
    cells = [gold.load() for gold in golds]
    assert all(raw.image.shape == (1, *raw.masks["label"].shape) for raw in cells)
    assert all(0.005 < raw.masks["label"].mean() < 0.15 for raw in cells)
    for raw, vote in list(zip(cells, votes, strict=True))[1::8]:
        cell, majority = raw.masks["label"], vote.load().masks["label"]
        assert 2 * (cell & majority).sum() / (cell.sum() + majority.sum()) > 0.8


def test_real_nodule_patches_are_read_from_metaimage(shared_data):
    """CT of 50 x 50 x 50 voxels of 1 mm in Hounsfield units, and the mask of its nodule on the same grid."""
    folder = shared_data / "LUNA16-NODE21-patches" / "nodule_patches"
    path = next(path for path in sorted(folder.glob("*_dcm_*.mha")))
    raw = read_image(path, "grey")
    mask = read_aligned_mask(path.with_name(path.name.replace("_dcm_", "_seg_")), raw, path)
    assert raw.image.shape == (1, 50, 50, 50)
    assert raw.spacing_mm == pytest.approx((1.0, 1.0, 1.0))
    assert raw.image[0][mask > 0].mean() > raw.image.mean()
    assert raw.image.min() < -500
