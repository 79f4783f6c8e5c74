"""Simulated brains: native layouts and headers, exact truth, anatomy, contrasts, tumours like gliomas."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter
from scipy import ndimage

from mirage import seeds
from mirage.config.datasets import SimulateOptions, SourceOptions
from mirage.data.tumour_labels import map_labels
from mirage.files import read_json
from mirage.preprocess.volumes import oriented
from mirage.simulate import simulate
from mirage.simulate.brain import (
    EXTENT,
    SEQUENCES,
    Brain,
    build_anatomy,
    head_grid,
    simulate_brain,
    template_positions,
)
from mirage.simulate.fields import control_count, noise, spline
from mirage.simulate.mri import Anatomy
from mirage.simulate.template import COARSE, load_template
from mirage.simulate.tumours import ED, ET, NCR, Plan, grow, infratentorial, plan_tumour
from mirage.simulate.volumes import write_brats
from mirage.sources import RawImage, open_source

SUBJECTS = range(6)
SIZE = 120


@cache
def brain(subject: int, size: int = SIZE, seed: int = 0) -> Brain:
    """A subject, simulated once for all tests."""
    return simulate_brain(seed, subject, size)


def plans(count: int) -> list[Plan]:
    return [plan_tumour(seeds.rng(5, "plans", index)) for index in range(count)]


def anatomy(plan: Plan, seed: int = 0, size: int = SIZE) -> Anatomy:
    grid = head_grid(size, np.array(EXTENT))
    return build_anatomy(np.random.default_rng(seed), grid, np.array(EXTENT), plan)


def written(reader: str, folder: Path, subjects: int = 2, size: int = 60) -> Path:
    simulate(SimulateOptions(subjects=subjects, size=size, seed=4), reader, folder)
    return folder


def read(reader: str, folder: Path) -> list[RawImage]:
    """All items through the reader of real data."""
    options = TypeAdapter(SourceOptions).validate_python({"reader": reader, "path": "unused"})
    source = open_source(options, folder)
    source.check_layout()
    return [item.load() for item in source.items()]


def upright(raw: RawImage) -> tuple[np.ndarray, np.ndarray]:
    """Image and labels with their axes in the order and direction of stored volumes."""
    assert raw.affine is not None
    return oriented(raw.image, raw.affine)[0], oriented(raw.masks["label"], raw.affine)[0]


def healthy(subject: Brain) -> np.ndarray:
    """Voxels of the brain 10 mm and more away from the tumour."""
    away = ndimage.distance_transform_edt(subject.labels == 0, sampling=subject.spacing)
    return (subject.images[0] > 0) & (away > 10)


def white_matter(subject: Brain) -> np.ndarray:
    """Healthy voxels that are bright on T1, mostly white matter, 10 to 40 mm from the tumour."""
    t1 = subject.images[SEQUENCES.index("t1")]
    away = ndimage.distance_transform_edt(subject.labels == 0, sampling=subject.spacing)
    where = healthy(subject) & (away < 40)
    return where & (t1 > np.percentile(t1[where], 65)) & (t1 < np.percentile(t1[where], 95))


def test_brats_has_a_folder_a_subject_with_five_files_and_the_headers_of_brats(tmp_path):
    """Names, types, shape, axes to the left, back and top, millimetres, and codes 1, 2 and 4."""
    folder = written("brats", tmp_path / "raw", subjects=1, size=240)
    case = "BraTS20_Training_001"
    names = {path.name for path in (folder / case).iterdir()}
    assert names == {f"{case}_{name}.nii.gz" for name in (*SEQUENCES, "seg")}
    for name in (*SEQUENCES, "seg"):
        image = nibabel.load(folder / case / f"{case}_{name}.nii.gz")
        assert image.shape == (240, 240, 155)
        assert image.get_data_dtype() == (np.uint8 if name == "seg" else np.int16)
        np.testing.assert_array_equal(
            image.affine, [[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]]
        )
        np.testing.assert_array_equal(image.header.get_qform(), image.header.get_sform())
        assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (1, 1)
        assert image.header.get_xyzt_units()[0] == "mm"
        assert image.header.get_zooms() == (1, 1, 1)
        assert "".join(nibabel.aff2axcodes(image.affine)) == "LPS"
    codes = np.unique(image.dataobj)
    assert {0, 2} < set(codes.tolist()) <= {0, 1, 2, 4}
    grades = pd.read_csv(folder / "name_mapping.csv", keep_default_na=False)
    assert grades["BraTS_2020_subject_ID"].tolist() == [case]
    assert set(grades["Grade"]) <= {"HGG", "LGG"}


@pytest.mark.parametrize(("size", "shape"), [(40, (40, 40, 26)), (64, (64, 64, 41))])
def test_smaller_sizes_show_the_same_field_of_view(tmp_path, size, shape):
    """The edges of the volume, not the centres of its voxels, stay where they are; spacing is 240 / size."""
    folder = written("brats", tmp_path / "raw", subjects=1, size=size)
    image = nibabel.load(next(folder.glob("*/*_seg.nii.gz")))
    assert image.shape == shape
    np.testing.assert_allclose(image.header.get_zooms(), 240 / size)
    first = image.affine @ [-0.5, -0.5, -0.5, 1]
    np.testing.assert_allclose(first[:3], [0.5, 239.5, -0.5])
    far = image.affine @ [size - 0.5, size - 0.5, shape[2] - 0.5, 1]
    np.testing.assert_allclose(far[:3], [-239.5, -0.5, 154.5], atol=240 / size / 2)


def test_decathlon_has_one_4d_file_a_subject_and_its_dataset_json(tmp_path):
    """Float volumes with the sequences last, axes to the right, front and top, codes 1 to 3."""
    folder = written("msd_brain", tmp_path / "raw")
    image = nibabel.load(folder / "imagesTr" / "BRATS_001.nii.gz")
    label = nibabel.load(folder / "labelsTr" / "BRATS_001.nii.gz")
    assert image.shape == (60, 60, 39, 4)
    assert label.shape == image.shape[:3]
    assert (image.get_data_dtype(), label.get_data_dtype()) == (np.float32, np.uint8)
    np.testing.assert_allclose(image.affine, np.diag([4, 4, 4, 1]))
    assert set(np.unique(label.dataobj)) <= {0, 1, 2, 3}
    description = read_json(folder / "dataset.json")
    assert description["modality"] == {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
    assert description["numTraining"] == 2
    for entry in description["training"]:
        assert (folder / entry["image"]).is_file()
        assert (folder / entry["label"]).is_file()


def test_the_readers_of_real_data_see_the_same_subjects_in_all_layouts(tmp_path):
    """BraTS 2020 and 2023 and the decathlon differ in names, axes and codes only."""
    written("brats", tmp_path / "2020")
    written("msd_brain", tmp_path / "msd")
    write_brats(SimulateOptions(subjects=2, size=60, seed=4), tmp_path / "2023", year=2023)
    case = "BraTS-GLI-00001-000"
    assert {path.name for path in (tmp_path / "2023" / case).iterdir()} == {
        f"{case}-{name}.nii.gz" for name in ("t2f", "t1n", "t1c", "t2w", "seg")
    }
    native = [np.asarray(nibabel.load(path).dataobj) for path in tmp_path.glob("2023/*/*-seg.nii.gz")]
    assert max(int(codes.max()) for codes in native) == 3
    first = read("brats", tmp_path / "2020")
    assert len(first) == 2
    for reader, name in (("brats", "2023"), ("msd_brain", "msd")):
        for one, two in zip(first, read(reader, tmp_path / name), strict=True):
            for expected, found in zip(upright(one), upright(two), strict=True):
                np.testing.assert_array_equal(expected, found)


@pytest.mark.parametrize(
    ("reader", "labels", "scheme"),
    [("brats", "{case}/{case}_seg.nii.gz", "brats2018"), ("msd_brain", "labelsTr/{case}.nii.gz", "msd")],
)
def test_ground_truth_is_that_of_the_files(tmp_path, reader, labels, scheme):
    """Volumes and the tumour's centre follow from the label file and its header to the last digit."""
    folder = written(reader, tmp_path / "raw")
    truth = read_json(folder / "ground_truth.json")["images"]
    assert len(truth) == 2
    for case, values in truth.items():
        image = nibabel.load(folder / labels.format(case=case))
        stored = map_labels(np.asarray(image.dataobj), scheme)
        voxel_ml = np.prod(image.header.get_zooms()) / 1000
        for code, name in ((NCR, "NCR"), (ED, "ED"), (ET, "ET")):
            assert values["volume_ml"][name] == pytest.approx((stored == code).sum() * voxel_ml, abs=1e-3)
        voxel = np.argwhere(stored > 0).mean(axis=0)
        np.testing.assert_allclose(values["centre_mm"], (image.affine @ [*voxel, 1])[:3], atol=0.01)
        assert values["grade"] in ("HGG", "LGG")
        assert values["foci"] in (1, 2)


def test_subjects_depend_on_seed_and_index_only(tmp_path):
    """Two subjects are byte for byte the first two of three; another seed changes every volume."""

    def digests(name: str, **options: int) -> dict[str, str]:
        simulate(SimulateOptions(**{"subjects": 3, "size": 40, **options}), "brats", tmp_path / name)
        files = (tmp_path / name).rglob("*.nii.gz")
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    two, three, other = digests("two", subjects=2), digests("three"), digests("other", seed=1)
    assert len(two) == 10
    assert two.items() <= three.items()
    assert not three.items() & other.items()


def test_the_same_head_at_a_coarser_spacing():
    """Only noise depends on the voxels: a fine head, averaged, is the coarse one."""
    fine, coarse = brain(1), brain(1, size=60)
    blocks = fine.images.astype(float).reshape(4, 60, 2, 60, 2, 39, 2).mean(axis=(2, 4, 6))
    inside = (coarse.images[0] > 0) & (blocks > 0).all(axis=0)
    for one, two in zip(blocks, coarse.images, strict=False):
        assert np.corrcoef(one[..., : two.shape[2]][inside], two[inside])[0, 1] > 0.97
    volumes = [[(b.labels == code).sum() * b.spacing**3 for code in (NCR, ED, ET)] for b in (fine, coarse)]
    np.testing.assert_allclose(volumes[0], volumes[1], rtol=0.15)


def test_heads_lie_as_the_affine_says_and_nothing_folds():
    """World coordinates grow with the template's along each axis, and the deformation keeps its direction."""
    for subject, plan in enumerate(plans(6)):
        grid = head_grid(SIZE, np.array(EXTENT))
        points = template_positions(np.random.default_rng(subject), grid, np.array(EXTENT), plan)
        world = np.stack(np.meshgrid(-grid.axes[0], 239 - grid.axes[1], grid.axes[2], indexing="ij"))
        for axis in range(3):
            assert np.corrcoef(points[axis].ravel(), world[axis].ravel())[0, 1] > 0.95
        gradients = np.stack([np.stack(np.gradient(p, *grid.axes)) for p in points])
        jacobian = np.linalg.det(np.moveaxis(gradients, (0, 1), (-2, -1)))
        inside = load_template(2).at("inside", points.reshape(3, -1)) > 0.5
        assert jacobian.ravel()[inside].min() > 0.05


def test_heads_have_the_size_and_place_of_those_of_brats():
    """Volume, bounding box and centre near what brains in BraTS space have; two subjects differ."""
    volumes = []
    for subject in SUBJECTS:
        inside = brain(subject).images[0] > 0
        volumes.append(inside.sum() * brain(subject).spacing ** 3 / 1e6)
        corners = np.argwhere(inside)
        middle = (corners.min(axis=0) + corners.max(axis=0)) / 2 * brain(subject).spacing
        np.testing.assert_allclose(middle, [118, 131, 74], atol=12)
        parts, count = ndimage.label(inside)
        assert np.bincount(parts.ravel())[1:].max() > 0.995 * inside.sum(), count
    assert 1.2 < np.mean(volumes) < 1.65
    assert 0.9 < min(volumes) < max(volumes) < 2.0
    assert np.std(volumes) > 0.05
    overlap = (brain(0).images[0] > 0) & (brain(1).images[0] > 0)
    assert overlap.sum() < 0.97 * (brain(0).images[0] > 0).sum()


def test_ventricles_and_sulci_differ_between_subjects():
    """Share of CSF and volume of the ventricles vary; fractions are fractions."""
    heads = [anatomy(plan, seed) for seed, plan in enumerate(plans(6))]
    for head in heads:
        total = head.csf + head.grey + head.white
        np.testing.assert_allclose(total, 1, atol=1e-5)
        assert min(head.csf.min(), head.grey.min(), head.white.min()) >= 0
        assert head.grey.mean() > 0.25
        assert head.white.mean() > 0.2
    shares = [float(head.csf.mean()) for head in heads]
    assert 0.08 < min(shares) < max(shares) < 0.45
    pools = [float(head.csf[head.ventricle < 3].sum()) for head in heads]
    assert max(pools) > 1.5 * min(pools)


def test_background_is_zero_and_the_brain_is_not():
    """All sequences share one brain, whose voxels are at least 1; the tumour lies within."""
    for subject in SUBJECTS:
        images, labels = brain(subject).images, brain(subject).labels
        assert images.dtype == np.int16
        inside = images[0] > 0
        for image in images:
            np.testing.assert_array_equal(image > 0, inside)
        assert images.min() == 0
        assert images.max() < np.iinfo(np.int16).max
        assert (labels > 0).any()
        assert inside[labels > 0].all()
        assert not inside[[0, -1]].any()
        assert not inside[:, [0, -1]].any()


def test_healthy_tissue_has_the_contrast_of_each_sequence():
    """Ventricles are dark on FLAIR and T1 and bright on T2; white matter outshines grey on T1 only."""
    for subject in range(4):
        flair, t1, _, t2 = brain(subject).images.astype(float)
        where, white = healthy(brain(subject)), white_matter(brain(subject))
        fluid = where & (t2 > np.percentile(t2[where], 97))
        grey = where & (np.abs(t1 / np.median(t1[white]) - 0.72) < 0.05) & (t2 < np.percentile(t2[where], 80))
        assert np.median(t1[fluid]) < 0.7 * np.median(t1[white])
        assert np.median(flair[fluid]) < 0.7 * np.median(flair[white])
        assert np.median(t2[fluid]) > 1.8 * np.median(t2[white])
        assert np.median(t2[grey]) > np.median(t2[white])


@pytest.mark.parametrize(
    ("sequence", "label", "low", "high"),
    [
        ("flair", ED, 1.25, 2.1),
        ("t2", ED, 1.5, 2.8),
        ("t1", ED, 0.55, 0.85),
        ("t1ce", ET, 1.2, 1.9),
        ("t1", NCR, 0.4, 0.7),
        ("t1ce", NCR, 0.4, 0.75),
        ("t2", NCR, 2.0, 4.0),
    ],
)
def test_lesions_have_the_contrast_of_gliomas(sequence, label, low, high):
    """A label over white matter: the typical level in a range, everybody's on the right side of 1."""
    ratios = []
    for subject in (brain(index) for index in SUBJECTS):
        where = ndimage.binary_erosion(subject.labels == label)
        if where.sum() > 20:
            image = subject.images[SEQUENCES.index(sequence)]
            ratios.append(np.median(image[where]) / np.median(image[white_matter(subject)]))
    assert len(ratios) >= 3
    assert low < np.median(ratios) < high
    assert min(ratios) > 1.05 if low > 1 else max(ratios) < 1


def test_intensities_have_no_unit():
    """The scale differs by a factor between subjects, and not alike for all sequences."""
    levels = np.array([[np.median(v[v > 0]) for v in brain(subject).images] for subject in SUBJECTS])
    assert (levels.max(axis=0) / levels.min(axis=0)).min() > 3
    ratios = levels[:, 0] / levels[:, 1]
    assert ratios.max() / ratios.min() > 1.3


def test_noise_and_bias_field_are_there():
    """Neighbours differ by noise, and the level of white matter drifts across the head."""
    t1 = brain(2).images[SEQUENCES.index("t1")].astype(float)
    white = white_matter(brain(2))
    core = ndimage.binary_erosion(white)
    step = np.abs(np.diff(t1, axis=0))[core[1:]]
    assert 0.005 < np.median(step) / np.median(t1[white]) < 0.15
    drift = ndimage.gaussian_filter(t1 * white, 10) / np.maximum(
        ndimage.gaussian_filter(1.0 * white, 10), 1e-6
    )
    assert np.std(drift[white]) / np.median(t1[white]) > 0.01


def test_tumours_are_as_large_and_as_varied_as_those_of_brats():
    """Volumes, grades, foci, missing parts and sides over many plans."""
    drawn = plans(300)
    whole = np.array([plan.whole_ml for plan in drawn])
    core = np.array([plan.core_ml for plan in drawn])
    enhancing = np.array([plan.enhancing_ml for plan in drawn])
    assert 80 < np.median(whole) < 102
    assert np.percentile(whole, 90) > 3 * np.percentile(whole, 10)
    assert (whole > core).all()
    assert (core >= enhancing).all()
    assert 0.3 < np.median(core / whole) < 0.55
    assert 0.04 < np.mean(enhancing == 0) < 0.2
    assert 0.01 < np.mean(enhancing == core) < 0.15
    assert 0.13 < np.mean([plan.low_grade for plan in drawn]) < 0.3
    assert all(plan.low_grade for plan in drawn if plan.enhancing_ml == 0)
    assert 0.05 < np.mean([len(plan.centres) == 2 for plan in drawn]) < 0.2
    first = np.array([plan.centres[0] for plan in drawn])
    assert 0.4 < np.mean(first[:, 0] > 0) < 0.6
    assert np.std(first[:, 1]) > 20
    assert not infratentorial(first.T).any()


def test_labels_have_the_volumes_of_the_plan():
    """At 2 mm without averaging, each label's volume is the drawn one to a voxel."""
    for subject in range(3):
        plan = plan_tumour(seeds.rng(0, "simulate-brain-tumour", subject))
        labels = brain(subject).labels
        expected = {
            NCR: plan.core_ml - plan.enhancing_ml,
            ED: plan.whole_ml - plan.core_ml,
            ET: plan.enhancing_ml,
        }
        for code, ml in expected.items():
            assert abs((labels == code).sum() - ml / 0.008) <= 2


def test_a_front_runs_along_white_matter_and_neither_through_fluid_nor_across_the_falx():
    """Travel to voxels as far away takes longest in CSF, and longer on the other side."""
    template = load_template(COARSE)
    points = template.positions()
    for index, plan in enumerate([plan for plan in plans(20) if len(plan.centres) == 1][:3]):
        reach = grow(plan, np.random.default_rng(index))
        centre = plan.centres[0]
        away = np.linalg.norm(points - centre.reshape(3, 1, 1, 1), axis=0)
        shell = (away > 18) & (away < 40) & (template.inside > 0.9)
        same = points[0] * np.sign(centre[0]) > 4
        white, fluid = template.white > 0.8, template.white + template.grey < 0.3
        assert np.median(reach[shell & same & fluid]) > 1.3 * np.median(reach[shell & same & white])
        other = (points[0] * np.sign(centre[0]) < -4) & (template.inside > 0.9) & white
        mirrored = np.linalg.norm(points - (centre * [-1, 1, 1]).reshape(3, 1, 1, 1), axis=0) < 40
        assert np.median(reach[other & mirrored]) > 1.5 * np.median(reach[same & white & (away < 40)])
        assert reach[template.inside < 0.3].min() > reach[template.inside > 0.9].min() + 50


def test_enhancement_lies_around_necrosis():
    """Where a tumour has both, enhancing voxels are nearer to the core's surface."""
    seen = 0
    for subject in SUBJECTS:
        labels = brain(subject).labels
        core = (labels == NCR) | (labels == ET)
        if (labels == NCR).sum() * 0.008 > 5 and (labels == ET).sum() * 0.008 > 5:
            depth = ndimage.distance_transform_edt(core, sampling=2.0)
            assert depth[labels == ET].mean() < depth[labels == NCR].mean()
            seen += 1
    assert seen >= 3


def test_tumours_are_not_balls():
    """A ball of the tumour's volume would overlap it by less than this; oedema surrounds the core."""
    for subject in SUBJECTS:
        labels = brain(subject).labels
        where = np.argwhere(labels > 0)
        radius = np.cbrt(3 * len(where) / (4 * np.pi))
        inside = np.linalg.norm(where - where.mean(axis=0), axis=1) < radius
        assert inside.mean() < 0.92
        core = (labels == NCR) | (labels == ET)
        around = ndimage.binary_dilation(core) & ~core & (brain(subject).images[0] > 0)
        assert (labels[around] == ED).mean() > 0.2


def test_mass_effect_pushes_tissue_away():
    """With the push, tissue beside the tumour comes from nearer to its centre; far away nothing moves."""
    from dataclasses import replace

    plan = max(plans(30), key=lambda plan: plan.push)
    grid = head_grid(SIZE, np.array(EXTENT))
    still, pushed = (
        template_positions(np.random.default_rng(0), grid, np.array(EXTENT), replace(plan, push=push))
        for push in (0.0, plan.push)
    )
    centre = plan.centres[0].reshape(3, 1, 1, 1)
    away, moved = np.linalg.norm(still - centre, axis=0), np.linalg.norm(pushed - still, axis=0)
    near = (away > 0.6 * plan.radius) & (away < 1.4 * plan.radius)
    assert 0.4 * plan.push < np.percentile(moved[near], 90) < 1.1 * plan.push
    assert (np.linalg.norm(pushed - centre, axis=0)[near] <= away[near] + 0.1).all()
    assert moved[away > 7 * plan.radius].max(initial=0) < 0.5


def test_splines_reproduce_constants_and_lines_and_noise_has_unit_variance():
    """The basis sums to one and is linearly precise; the field is the same on any grid."""
    axes = (np.linspace(0, 239, 24), np.linspace(0, 239, 20), np.linspace(0, 154, 16))
    count = control_count(20.0)
    np.testing.assert_allclose(spline(np.ones((count,) * 3), axes, 20.0), 1, atol=1e-5)
    line = np.broadcast_to(np.arange(count)[:, None, None] * 20.0, (count,) * 3)
    values = spline(line, axes, 20.0)
    np.testing.assert_allclose(np.diff(values[:, 0, 0]), np.diff(axes[0]), rtol=1e-4)
    drawn = np.stack([noise(np.random.default_rng(seed), axes, 9.0) for seed in range(4)])
    assert abs(drawn.mean()) < 0.05
    assert abs(drawn.std() - 1) < 0.05
    half = tuple(axis[::2] for axis in axes)
    np.testing.assert_allclose(noise(np.random.default_rng(0), half, 9.0), drawn[0][::2, ::2, ::2], atol=1e-5)
