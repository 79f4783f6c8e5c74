"""One image file of any kind, as a channel-first array with what its header says about it.

PNG (1 to 16 bit, palette, alpha), JPEG, TIFF (8, 16, 32 bit and float), BMP, GIF and whatever else Pillow
knows, NIfTI, MetaImage and DICOM. The kind is told by the content, and by the name for NIfTI and MetaImage.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mirage.config.datasets import COLOURS
from mirage.errors import DataError
from mirage.sources.base import RawImage

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Channels = Literal["grey", "rgb"]
Polarity = Literal["bright", "dark", "labels"]
CHANNEL_NAMES: dict[Channels, list[str]] = {"grey": ["grey"], "rgb": [*COLOURS]}
ORIENTATION = 0x0112
"""Tag of Exif and TIFF that says how an image is turned."""
SAME_PLACE = 0.1
"""How far, in voxels, the corners of two volumes may lie apart that are taken to be on one grid."""


def read_image(path: Path | str, channels: Channels, *, display: bool = False) -> RawImage:
    """Read one image.

    Colours become grey by ITU-R BT.601 luma, grey becomes colour by repetition. An opaque alpha channel
    is dropped, any other is composited on black. Orientation tags (JPEG, TIFF, PNG) are applied.

    Args:
        path: file. A NIfTI or MetaImage slice (one axis of length 1) is 2D, others are volumes.
        channels: ``grey`` gives C = 1, ``rgb`` gives C = 3.
        display: DICOM only: as the header says it is shown, by its VOI LUT or window, instead of as stored;
            see ``mirage.sources.dicom``.

    Returns:
        Image (C, H, W) or, for a volume, (C, D, H, W), in the file's own type; without masks.
        ``full_range`` is the range of the file's unsigned integer type; DICOM: of its stored bits after
        rescale; None for signed and float values.

    Raises:
        DataError: missing, empty, damaged or cut off; no image; several pages or frames; 2 or > 4 channels.
    """
    raw = _decode(Path(path), display=display)
    raw.image = _as_channels(raw.image, channels, Path(path))
    return raw


def read_volume(path: Path | str, channels: int = 1) -> RawImage:
    """Read one volume, NIfTI or MetaImage.

    Returns:
        Image (channels, D, H, W), axes in stored order, with its ``affine``.

    Raises:
        DataError: as for ``read_image``; also 2D images, another number of channels, an affine that does
            not tell where the voxels are.
    """
    raw = _decode(Path(path))
    if raw.affine is None:
        raise DataError(f"{path}: is no volume, found an image of shape {raw.image.shape}")
    if len(raw.image) != channels:
        raise DataError(f"{path}: has {len(raw.image)} channels, expected {channels}")
    check_affine(raw, path)
    return raw


def check_affine(raw: RawImage, path: Path | str) -> None:
    """Raise DataError when a volume's affine has no inverse: where its voxels are cannot be known."""
    if raw.affine is None:
        return
    matrix = raw.affine[:3, :3]
    lengths = np.linalg.norm(matrix, axis=0)
    # Relative to the voxel's sides: a volume of 1e-3 mm voxels is as good as any.
    if not np.isfinite(raw.affine).all() or abs(np.linalg.det(matrix)) <= 1e-3 * lengths.prod():
        raise DataError(
            f"{path}: the affine in its header cannot be inverted, so the direction of its axes is unknown: "
            f"{np.array2string(raw.affine, precision=4, separator=', ').replace(chr(10), '')}; "
            "write the file again with a right header"
        )


def check_same_grid(other: RawImage, other_path: Path | str, raw: RawImage, path: Path | str) -> None:
    """Raise DataError when two volumes differ in shape, or in where their voxels lie."""
    if other.image.shape[1:] != raw.image.shape[1:]:
        raise DataError(
            f"{other_path}: is {_size(other.image.shape[1:])}, {Path(path).name} is "
            f"{_size(raw.image.shape[1:])}; resample them to one grid"
        )
    if other.affine is None or raw.affine is None:
        return
    last = np.array(raw.image.shape[:0:-1]) - 1
    corners = np.array([[*(last * bits), 1] for bits in np.ndindex(2, 2, 2)], dtype=float)
    apart = np.linalg.norm((corners @ (other.affine - raw.affine).T)[:, :3], axis=1).max()
    if apart > SAME_PLACE * np.linalg.norm(raw.affine[:3, :3], axis=0).min():
        raise DataError(
            f"{other_path}: its affine places voxels up to {apart:.3g} mm from where that of "
            f"{Path(path).name} does; resample them to one grid, or mend the header that is wrong"
        )


def read_aligned_mask(
    path: Path | str, image: RawImage, image_path: Path | str, polarity: Polarity = "bright"
) -> np.ndarray:
    """Read one mask as ``read_mask`` does, and check that it lies on the grid of its image.

    Raises:
        DataError: as for ``read_mask``; also another size, or for volumes another affine.
    """
    path = Path(path)
    raw = _decode(path, mask=polarity)
    mask = check_same_size(_mask_values(raw, polarity, path), image.image, path)
    check_same_grid(raw, path, image, image_path)
    return mask


def read_mask(path: Path | str, polarity: Polarity = "bright") -> np.ndarray:
    """Read one mask as uint8 (H, W) or (D, H, W).

    Transparency of a palette, or one that is the same everywhere, is ignored. Else what is annotated is told
    by an alpha channel where all that can be seen is annotated, or where nothing annotated is hidden.

    Args:
        path: file.
        polarity: ``bright``: values above half the file's range are 1; ``dark``: values below it are 1.
            A file that holds 0 and 1 only is taken as it is, whatever its type. ``labels``: values
            (palette indices, in a palette file) are the labels.

    Raises:
        DataError: as for ``read_image``; also a binary mask that holds neither 0 and 1 nor anything
            bright, labels that are no whole numbers in 0..254, and an alpha channel that leaves open what is
            annotated.
    """
    path = Path(path)
    return _mask_values(_decode(path, mask=polarity), polarity, path)


def _mask_values(raw: RawImage, polarity: Polarity, path: Path) -> np.ndarray:
    if polarity == "labels":
        return _labels(raw.image, path)
    values = _as_channels(raw.image, "grey", path)[0]
    bright = values > _half(values, raw.full_range, path)
    return (bright if polarity == "bright" else ~bright).astype(np.uint8)


def check_same_size(mask: np.ndarray, image: np.ndarray, path: Path | str) -> np.ndarray:
    """Return ``mask``, or raise DataError when its size is not that of the (C, ...) image."""
    if mask.shape != image.shape[1:]:
        raise DataError(
            f"{path}: mask is {_size(mask.shape)}, its image is {_size(image.shape[1:])}; they must agree"
        )
    return mask


def _size(shape: tuple[int, ...]) -> str:
    axes = " (width x height x depth)" if len(shape) == 3 else " (width x height)"
    return " x ".join(map(str, reversed(shape))) + axes


def _half(values: np.ndarray, full_range: tuple[float, float] | None, path: Path) -> float:
    highest = float(values.max())
    if highest <= 1:
        return 0.5
    half = sum(full_range) / 2 if full_range else highest / 2
    if highest <= half:
        raise DataError(
            f"{path}: a binary mask must hold 0 and 1, or 0 and values above {half:g}; its highest value is "
            f"{highest:g}. If its values are labels, set `mask_polarity: labels`"
        )
    return half


def _labels(image: np.ndarray, path: Path) -> np.ndarray:
    if len(image) > 1 and (image != image[:1]).any():
        raise DataError(
            f"{path}: a label mask must be grey or palette, this one has {len(image)} channels that differ"
        )
    values = image[0]
    if values.min() < 0 or values.max() > 254 or (values.dtype.kind == "f" and (values % 1).any()):
        raise DataError(
            f"{path}: labels must be whole numbers in 0..254, found {values.min():g}..{values.max():g}"
        )
    return values.astype(np.uint8)


def _as_channels(image: np.ndarray, channels: Channels, path: Path) -> np.ndarray:
    wanted = len(CHANNEL_NAMES[channels])
    if len(image) == wanted:
        return image
    if len(image) == 1:
        return np.repeat(image, wanted, axis=0)
    if len(image) == 3:
        return _luma(image)
    raise DataError(f"{path}: has {len(image)} channels, expected 1 (grey) or 3 (red, green, blue)")


def _luma(image: np.ndarray) -> np.ndarray:
    """(3, ...) to (1, ...) of the same type; whole-number weights, so equal channels stay as they are."""
    red, green, blue = image.astype(np.float64 if image.dtype.kind == "f" else np.int64)
    weighted = 299 * red + 587 * green + 114 * blue
    grey = weighted / 1000 if image.dtype.kind == "f" else (weighted + 500) // 1000
    return grey.astype(image.dtype)[None]


def _decode(path: Path, *, mask: Polarity | None = None, display: bool = False) -> RawImage:
    """Image or ``mask`` of 1, 3 or any number of channels; failures of all libraries become DataErrors."""
    try:
        with open(path, "rb") as handle:
            head = handle.read(132)
        if not head:
            raise DataError(f"{path}: the file is empty")
        if path.name.lower().endswith((".nii", ".nii.gz")):
            raw = _read_nifti(path)
        elif path.name.lower().endswith((".mha", ".mhd")):
            raw = _read_metaimage(path)
        elif head[128:] == b"DICM":
            from mirage.sources.dicom import read_dicom

            raw = read_dicom(path, display)
        else:
            raw = _read_raster(path, mask)
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: the file does not exist") from error
    except Exception as error:  # parsers of damaged files raise anything, from struct.error to IndexError
        if type(error).__name__ == "UnidentifiedImageError":
            raise DataError(
                f"{path}: not an image of a known kind (PNG, TIFF, JPEG, NIfTI, MetaImage, DICOM ...)"
            ) from error
        raise DataError(
            f"{path}: cannot be read, it may be damaged or cut off ({type(error).__name__}: {error})"
        ) from error
    if raw.image.size == 0:
        raise DataError(f"{path}: the image has no pixels (shape {raw.image.shape})")
    if raw.image.dtype.kind == "f" and not np.isfinite(raw.image).all():
        raise DataError(f"{path}: the image holds NaN or infinite values")
    return raw


def _read_raster(path: Path, mask: Polarity | None) -> RawImage:
    from PIL import Image, ImageOps

    with Image.open(path) as picture:
        if _pages(picture, path) > 1:
            raise DataError(f"{path}: has several pages or frames; split it into one image a file")
        if picture.format == "PNG" and ";16B" in str(picture.tile[0][3]) and picture.mode != "I;16":
            from mirage.sources.png16 import read_png16

            return _from_hwc(_upright(read_png16(path), picture), (0, 65535), path, mask)
        if picture.format == "TIFF" and _needs_tifffile(picture):
            values = _upright(_read_tiff(path), picture)
            return _from_hwc(values, _type_range(values.dtype), path, mask)
        if mask == "labels" and picture.mode == "P":
            return _from_hwc(np.asarray(ImageOps.exif_transpose(picture)), (0, 255), path)
        return _from_picture(ImageOps.exif_transpose(picture), path, mask)


def _upright(values: np.ndarray, picture: Picture) -> np.ndarray:
    """(H, W) or (H, W, C) as the orientation tag of its file says that it is shown (Exif 2.32, 4.6.4 A)."""
    orientation = picture.getexif().get(ORIENTATION, 1)
    if orientation in (5, 6, 7, 8):
        values = np.swapaxes(values, 0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return np.ascontiguousarray(values)


def _pages(picture: Picture, path: Path) -> int:
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format == "TIFF":  # thumbnails are pages too, but no images of their own
        import tifffile

        with tifffile.TiffFile(path) as tiff:
            return sum(not page.is_reduced for page in tiff.pages)
    return 1 if picture.format == "MPO" else frames


def _needs_tifffile(picture: Any) -> bool:
    """Pillow keeps 8-bit colours only, and leaves planar 16-bit files unread."""
    bits = picture.tag_v2.get(258, (1,))
    return max(bits) > 8 and len(bits) > 1


def _read_tiff(path: Path) -> np.ndarray:
    """The first page (H, W) or (H, W, C), as it is stored."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        values: np.ndarray = page.asarray()
        return np.moveaxis(values, 0, -1) if page.axes.startswith("S") else values


def _from_picture(picture: Picture, path: Path, mask: Polarity | None) -> RawImage:
    if mask is not None and "transparency" in picture.info:
        picture = _opaque(picture)
    mode = picture.mode
    if "transparency" in picture.info or mode in ("PA", "La", "RGBa"):
        picture = picture.convert("RGBA")
    elif mode == "1":
        picture = picture.convert("L")
    elif mode not in ("L", "LA", "RGB", "RGBA", "F", "I") and not mode.startswith("I;16"):
        picture = picture.convert("RGB")
    values = np.asarray(picture)
    if picture.mode == "I" and picture.format == "PNG":
        values = values.astype(np.uint16)
    return _from_hwc(
        values.astype(values.dtype.newbyteorder("="), copy=False), _type_range(values.dtype), path, mask
    )


def _opaque(picture: Picture) -> Picture:
    """A mask without its transparent colour, unless transparency alone tells its pixels apart."""
    plain = picture.copy()
    del plain.info["transparency"]
    plain = plain.convert("RGB") if plain.mode == "P" else plain
    lowest_is_highest = {low == high for low, high in np.atleast_2d(plain.getextrema())}
    return picture if lowest_is_highest == {True} else plain


def _type_range(dtype: np.dtype) -> tuple[float, float] | None:
    if dtype.kind != "u":
        return None
    return 0.0, float(np.iinfo(dtype).max)


def _from_hwc(
    values: np.ndarray, full_range: tuple[float, float] | None, path: Path, mask: Polarity | None = None
) -> RawImage:
    """(H, W) or (H, W, C), C = 2 and 4 being alpha last, to a RawImage of (C, H, W)."""
    if values.ndim == 2:
        return RawImage(values[None], full_range=full_range)
    if values.ndim != 3 or values.shape[-1] > 4:
        raise DataError(f"{path}: has shape {values.shape}, expected height x width with 1 to 4 channels")
    if values.shape[-1] in (2, 4):
        values = _flatten_alpha(values) if mask is None else _mask_colours(values, mask, path)
    return RawImage(np.moveaxis(values, -1, 0), full_range=full_range)


def _flatten_alpha(values: np.ndarray) -> np.ndarray:
    colour, alpha = values[..., :-1], values[..., -1:]
    opaque = _highest(values)
    if (alpha == opaque).all():
        return colour
    flat = colour.astype(np.float32) * (alpha.astype(np.float32) / np.float32(opaque))
    return (np.rint(flat) if values.dtype.kind == "u" else flat).astype(values.dtype)


def _mask_colours(values: np.ndarray, polarity: Polarity, path: Path) -> np.ndarray:
    """Colours (H, W, C) of a mask with an alpha channel, which may be the one place of its annotation."""
    colour, alpha, opaque = values[..., :-1], values[..., -1], _highest(values)
    if not alpha.any() and (colour == colour[:1, :1]).all():  # nothing painted on a transparent ground
        return np.full_like(colour, opaque if polarity == "dark" else 0)
    if (alpha == alpha.flat[0]).all():
        return colour
    if polarity == "labels":
        if not colour[alpha < opaque].any():
            return colour
    else:
        bright = colour.mean(axis=-1) > (opaque / 2 if colour.max() > 1 else 0.5)
        seen, paint = alpha > opaque / 2, bright if polarity == "bright" else ~bright
        if seen.any() and paint[seen].all():  # paint on a transparent ground, whatever colour that hides
            return np.where(seen == (polarity == "bright"), opaque, 0).astype(values.dtype)[..., None]
        if paint[seen].any() and not paint[~seen].any():
            return colour
    raise DataError(
        f"{path}: the mask is partly transparent, and its colours do not tell what is annotated; save it "
        "without transparency (alpha channel), white on black. Dark paint on a transparent ground is read "
        "with `mask_polarity: dark`"
    )


def _highest(values: np.ndarray) -> float:
    """What white, or opaque, is in an array of this type."""
    return float(np.iinfo(values.dtype).max) if values.dtype.kind == "u" else 1.0


def _open_nifti(path: Path) -> tuple[Any, np.ndarray]:
    """A nibabel image and its voxels, scaled as its header says, in the order of the file.

    A compressed file is decompressed as a whole and its voxels are not copied, which is several times as
    fast as nibabel's own reading through a file object.
    """
    import nibabel
    from isal import igzip

    with open(path, "rb") as handle:
        compressed = handle.read(2) == b"\x1f\x8b"
    if not compressed:
        volume: Any = nibabel.load(path)
        return volume, np.asanyarray(volume.dataobj)
    data = igzip.decompress(path.read_bytes())
    nifti2 = any(int.from_bytes(data[:4], order) == 540 for order in ("little", "big"))
    kind: Any = nibabel.Nifti2Image if nifti2 else nibabel.Nifti1Image
    volume = kind.from_stream(io.BytesIO(data))
    proxy = volume.dataobj
    if (proxy.slope, proxy.inter) != (1, 0):
        return volume, np.asanyarray(proxy)
    count = int(np.prod(proxy.shape))
    return volume, np.frombuffer(data, proxy.dtype, count, proxy.offset).reshape(proxy.shape, order="F")


def _read_nifti(path: Path) -> RawImage:
    """Voxel axes (i, j, k) become width, height, depth in stored order; further axes are channels."""
    volume, values = _open_nifti(path)
    if values.dtype.names:
        values = np.stack([values[name] for name in values.dtype.names], axis=-1)
        spatial = values.shape[:-1]
    else:
        spatial = values.shape[:3]
    if values.dtype == np.float64:
        values = values.astype(np.float32)
    spatial = (*spatial, 1, 1)[:3]
    values = values.reshape(*spatial, -1)
    zooms = [float(zoom) for zoom in volume.header.get_zooms()[:3]]
    zooms += [1.0] * (3 - len(zooms))
    kept = _kept(spatial)
    values = values.reshape(*(spatial[axis] for axis in kept), values.shape[-1])
    return RawImage(
        values.transpose(),
        full_range=_type_range(values.dtype),
        spacing_mm=tuple(zooms[axis] for axis in reversed(kept)),
        affine=np.asarray(volume.affine, dtype=np.float64) if len(kept) == 3 else None,
    )


def _read_metaimage(path: Path) -> RawImage:
    """MetaImage (.mha, .mhd), whose coordinates are LPS, as NIfTI's: RAS, x before y before z."""
    import SimpleITK

    volume = SimpleITK.ReadImage(str(path))
    if volume.GetDimension() > 3:
        raise DataError(f"{path}: has {volume.GetDimension()} dimensions; split it into one volume a file")
    values, channels = SimpleITK.GetArrayFromImage(volume), volume.GetNumberOfComponentsPerPixel()
    values = values[None] if channels == 1 else np.moveaxis(values, -1, 0)
    sizes, spacing = (*volume.GetSize(), 1), volume.GetSpacing()
    kept = _kept(sizes[:3])
    affine = np.eye(4)
    if len(kept) == 3:
        affine[:3, :3] = np.reshape(volume.GetDirection(), (3, 3)) * spacing
        affine[:3, 3] = volume.GetOrigin()
        affine[:2] *= -1
    return RawImage(
        values.reshape(channels, *(sizes[axis] for axis in reversed(kept))),
        full_range=_type_range(values.dtype),
        spacing_mm=tuple(spacing[axis] for axis in reversed(kept)),
        affine=affine if len(kept) == 3 else None,
    )


def _kept(spatial: tuple[int, ...]) -> list[int]:
    """Axes (x, y, z) of a volume, or the two of a slice, which is one voxel thick."""
    kept = [axis for axis in range(3) if spatial[axis] > 1] if 1 in spatial else [0, 1, 2]
    return kept if len(kept) >= 2 else [0, 1]
