"""DICOM as stored and as shown: bits, windows, look-up tables, inversion, padding, spacing, compression."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import dataset, lut, write
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_windowing
from pydicom.uid import (
    MPEG2MPML,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from mirage.errors import DataError
from mirage.sources.dicom import chest_wall_of, read_header, window
from mirage.sources.images import read_image

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def shown(path: Path) -> np.ndarray:
    """An image as its header says, 0 to 1."""
    raw = read_image(path, "grey", display=True)
    assert raw.image.dtype == np.uint16
    assert raw.full_range == (0, 65535)
    return raw.image[0] / 65535


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(1500, 800), (2047.5, 4096), (100, 3)])
def test_windows_are_pydicoms(tmp_path, function, centre, width):
    """Three functions, also beyond the range of the values."""
    tags = {"WindowCenter": centre, "WindowWidth": width, "VOILUTFunction": function}
    path = write(tmp_path / "a.dcm", RAMP, **tags)
    expected = apply_windowing(RAMP, pydicom.dcmread(path)) / 4095
    np.testing.assert_allclose(shown(path), expected, atol=1e-5)


def test_a_window_is_in_the_units_of_the_modality(tmp_path):
    """After the rescale, and without changing what is read as stored."""
    tags = {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 0, "WindowWidth": 1000}
    path = write(tmp_path / "a.dcm", RAMP, VOILUTFunction="LINEAR_EXACT", **tags)
    expected = np.clip((2.0 * RAMP - 1000) / 1000 + 0.5, 0, 1)
    np.testing.assert_allclose(shown(path), expected, atol=1e-5)
    np.testing.assert_array_equal(read_image(path, "grey").image[0], 2.0 * RAMP - 1000)


def test_the_first_of_several_windows_counts_and_without_one_all_stored_bits_do(tmp_path):
    """A missing VOI LUT is no error."""
    several = write(tmp_path / "a.dcm", RAMP, WindowCenter=[1000, 9], WindowWidth=[500, 9])
    single = write(tmp_path / "b.dcm", RAMP, WindowCenter=1000, WindowWidth=500)
    np.testing.assert_array_equal(shown(several), shown(single))
    without = write(tmp_path / "c.dcm", RAMP, bits=14)
    np.testing.assert_allclose(shown(without), RAMP / 16383, atol=1e-5)


@pytest.mark.parametrize(("monochrome", "vr"), [("MONOCHROME1", "OW"), ("MONOCHROME2", "US")])
def test_a_voi_lut_wins_over_a_window_and_monochrome1_is_inverted_last(tmp_path, monochrome, vr):
    """Values before and after the table get its ends."""
    entries = np.sqrt(np.linspace(0, 1, 2000)) * 1023
    tags = {"WindowCenter": 1, "WindowWidth": 2, "PhotometricInterpretation": monochrome}
    path = write(tmp_path / "a.dcm", RAMP, VOILUTSequence=[lut(500, entries, 10, vr)], **tags)
    expected = np.floor(entries)[np.clip(RAMP.astype(int) - 500, 0, 1999)] / 1023
    np.testing.assert_allclose(
        shown(path), 1 - expected if monochrome == "MONOCHROME1" else expected, atol=1e-5
    )


def test_a_modality_lut_gives_the_units(tmp_path):
    """As stored and as shown; cut off, it is an error."""
    entries = (np.arange(4096) ** 2) >> 8
    path = write(tmp_path / "a.dcm", RAMP, ModalityLUTSequence=[lut(0, entries, 16)])
    raw = read_image(path, "grey")
    np.testing.assert_array_equal(raw.image[0], entries[RAMP])
    assert raw.full_range == (0, 65535)
    np.testing.assert_allclose(shown(path), entries[RAMP] / 65535, atol=1e-5)
    broken = lut(0, entries, 16)
    broken.LUTDescriptor = [5000, 0, 16]
    with pytest.raises(DataError, match=r"has 4096 entries, its descriptor says 5000"):
        read_image(write(tmp_path / "b.dcm", RAMP, ModalityLUTSequence=[broken]), "grey")


def test_padding_is_black_as_shown_whatever_is_inverted(tmp_path):
    """One value, or a range of them."""
    tags = {"PhotometricInterpretation": "MONOCHROME1", "PixelPaddingValue": 0}
    path = write(tmp_path / "a.dcm", RAMP, **tags)
    assert shown(path)[0, 0] == 0
    assert shown(path)[0, 1] > 0.99
    ranged = write(tmp_path / "b.dcm", RAMP, **tags, PixelPaddingRangeLimit=9)
    np.testing.assert_array_equal(shown(ranged).ravel()[:11] > 0.5, [False] * 10 + [True])
    padded = RAMP.copy()
    padded[0, 0] = 0xFFFF
    above = write(tmp_path / "c.dcm", padded, PixelPaddingValue=0xFFFF)
    assert shown(above)[0, 0] == 0, "whatever bits beyond those stored it has"


def test_bits_beyond_those_stored_are_no_part_of_a_value(tmp_path):
    """Overlays lie there in old files, and signs may stop short of them."""
    path = write(tmp_path / "a.dcm", RAMP | np.uint16(0x8000))
    np.testing.assert_array_equal(read_image(path, "grey").image[0], RAMP)
    path = write(tmp_path / "upper.dcm", RAMP << np.uint16(4), HighBit=15)
    np.testing.assert_array_equal(read_image(path, "grey").image[0], RAMP)
    signed = RAMP.astype(np.int16) - 2048
    path = write(tmp_path / "b.dcm", signed & 0x0FFF)
    np.testing.assert_array_equal(read_image(path, "grey").image[0], signed)
    np.testing.assert_allclose(shown(path), RAMP / 4095, atol=1e-5)


def test_sixteen_bits_are_kept(tmp_path):
    """65,536 values stay as many."""
    values = np.arange(1 << 16, dtype=np.uint16).reshape(256, 256)
    path = write(tmp_path / "a.dcm", values, bits=16)
    np.testing.assert_array_equal(read_image(path, "grey").image[0], values)
    np.testing.assert_array_equal(read_image(path, "grey", display=True).image[0], values)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({}, None),
        ({"PixelSpacing": [0.2, 0.1]}, (0.2, 0.1)),
        ({"ImagerPixelSpacing": [0.1, 0.1]}, (0.1, 0.1)),
        ({"ImagerPixelSpacing": [0.1, 0.1], "EstimatedRadiographicMagnificationFactor": 1.25}, (0.08, 0.08)),
        (
            {
                "PixelSpacing": [0.1, 0.1],
                "ImagerPixelSpacing": [0.1, 0.1],
                "EstimatedRadiographicMagnificationFactor": 1.25,
            },
            (0.08, 0.08),
        ),
        (
            {
                "PixelSpacing": [0.09, 0.09],
                "ImagerPixelSpacing": [0.1, 0.1],
                "EstimatedRadiographicMagnificationFactor": 1.25,
            },
            (0.09, 0.09),
        ),
        ({"PixelSpacing": [0, 0], "NominalScannedPixelSpacing": [0.05, 0.05]}, (0.05, 0.05)),
        ({"PixelSpacing": None}, None),
    ],
)
def test_spacing_is_that_in_the_patient(tmp_path, tags, expected):
    """Calibrated, or the detector's behind a magnification, or the film scanner's."""
    assert read_image(write(tmp_path / "a.dcm", RAMP, **tags), "grey").spacing_mm == pytest.approx(expected)


def test_orientation_tells_the_side_of_the_chest_wall():
    """Rows that run to the back end at it."""
    assert chest_wall_of("P\\L") == "right"
    assert chest_wall_of("A\\FR") == "left"
    assert chest_wall_of(None) is chest_wall_of("") is chest_wall_of("L\\F") is None


def compressed(path: Path, values: np.ndarray, syntax: str, **tags) -> Path:
    """Write a file in a transfer syntax for which there is an encoder."""
    header = dataset(values, **tags)
    if syntax == JPEGLosslessSV1:
        import gdcm

        header.save_as(path, enforce_file_format=True)
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(str(path))
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(str(path))
        assert writer.Write()
    elif syntax == JPEGBaseline8Bit:
        from pydicom.encaps import encapsulate

        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, "JPEG", quality=95)
        header.PixelData = encapsulate([buffer.getvalue()])
        header["PixelData"].is_undefined_length = True
        header.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        header.save_as(path, enforce_file_format=True)
    else:
        header.compress(syntax)
        header.save_as(path, enforce_file_format=True)
    assert read_header(path).file_meta.TransferSyntaxUID == syntax
    return path


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEG2000Lossless, JPEGLSLossless, RLELossless])
@pytest.mark.parametrize("bits", [8, 12, 14, 16])
def test_lossless_compression_gives_the_very_values(tmp_path, syntax, bits):
    """At every depth that mammograms have."""
    rng = np.random.default_rng(bits)
    values = rng.integers(0, 1 << bits, (40, 56)).astype(np.uint8 if bits == 8 else np.uint16)
    path = compressed(tmp_path / "a.dcm", values, syntax, bits=bits)
    raw = read_image(path, "grey")
    np.testing.assert_array_equal(raw.image[0], values)
    assert raw.full_range == (0, (1 << bits) - 1)


def test_lossy_jpeg_gives_about_the_values(tmp_path):
    """Baseline, 8 bits."""
    values = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    path = compressed(tmp_path / "a.dcm", values, JPEGBaseline8Bit, bits=8)
    np.testing.assert_allclose(read_image(path, "grey").image[0], values, atol=4)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
        ("SC_rgb_jpeg_gdcm.dcm", None),
        ("JPEG2000.dcm", None),
        ("J2K_pixelrep_mismatch.dcm", None),
        ("examples_palette.dcm", None),
        ("SC_rgb_rle_16bit.dcm", None),
    ],
)
def test_files_of_other_programs_are_read(name, reference):
    """Those that come with pydicom: JPEG Lossless of colours, signed JPEG 2000, palettes ..."""
    raw = read_image(get_testdata_file(name, download=False), "grey")
    assert raw.image.std() > 0
    if reference:
        expected = read_image(get_testdata_file(reference, download=False), "grey")
        np.testing.assert_array_equal(raw.image, expected.image)


def test_a_missing_decoder_is_named_and_an_unknown_compression_too(tmp_path, monkeypatch):
    """The error says what to install."""
    path = compressed(tmp_path / "a.dcm", RAMP, JPEGLosslessSV1)
    from pydicom.pixels.decoders import JPEGLosslessSV1Decoder

    monkeypatch.setattr(JPEGLosslessSV1Decoder, "_available", {})
    with pytest.raises(DataError, match=r"a\.dcm: .*JPEG Lossless.*pip install.* python-gdcm"):
        read_image(path, "grey")
    extended = get_testdata_file("JPGExtended.dcm", download=False)
    with pytest.raises(DataError, match=r"JPGExtended\.dcm: .*JPEG Extended.*12 bits.*pylibjpeg-libjpeg"):
        read_image(extended, "grey")
    video = dataset(RAMP)
    video.file_meta.TransferSyntaxUID = MPEG2MPML
    video["PixelData"].is_undefined_length = True
    from pydicom.encaps import encapsulate

    video.PixelData = encapsulate([b"\0" * 20])
    video.save_as(tmp_path / "b.dcm", enforce_file_format=True)
    with pytest.raises(DataError, match=r"b\.dcm: .*MPEG2.*cannot be read"):
        read_image(tmp_path / "b.dcm", "grey")


def test_windows_that_cannot_be_are_errors_when_shown(tmp_path):
    """As stored the file is read."""
    path = write(tmp_path / "a.dcm", RAMP, WindowCenter=100, WindowWidth=0)
    read_image(path, "grey")
    with pytest.raises(DataError, match=r"a\.dcm: WindowWidth is 0, expected at least 1"):
        read_image(path, "grey", display=True)
    with pytest.raises(DataError, match="VOILUTFunction is 'CUBIC'"):
        window(RAMP, 10, 10, "CUBIC", "a.dcm")


def test_damaged_files_are_errors_that_name_them(tmp_path):
    """Cut off in the pixels, and no DICOM at all."""
    path = compressed(tmp_path / "a.dcm", RAMP, JPEGLosslessSV1)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match=r"a\.dcm"):
        read_image(path, "grey")
    (tmp_path / "b.dcm").write_bytes(b"no DICOM")
    with pytest.raises(DataError, match=r"b\.dcm: not a readable DICOM"):
        read_header(tmp_path / "b.dcm")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_damage_in_compressed_pixels_raises_nothing_but_data_errors(tmp_path, syntax):
    """One bad image never ends a job, whatever its decoder ends with."""
    noise = np.random.default_rng(0).integers(0, 4096, (64, 64)).astype(np.uint16)
    whole = compressed(tmp_path / "a.dcm", noise, syntax).read_bytes()
    start = whole.index(b"\xe0\x7f\x10\x00")
    refused = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        damaged = bytearray(whole)
        for at in rng.integers(start + 92, len(whole), 20):
            damaged[at] = int(rng.integers(256))
        (tmp_path / "b.dcm").write_bytes(damaged[: len(whole) - 300 * (seed % 4 == 3)])
        try:
            read_image(tmp_path / "b.dcm", "grey")
        except DataError:
            refused += 1
    assert refused > 0
