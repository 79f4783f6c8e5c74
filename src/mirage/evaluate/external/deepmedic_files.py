"""Data and configuration files for DeepMedic's own program (0.8.2 to 0.8.4), with our splits.

Its list files name one NIfTI file a line, a list for each channel, subjects in the same order in all of them;
its ``.cfg`` files are Python assignments. Labels are numbered from 0 without gaps, as it demands.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mirage.config.evaluations import VolumeSegmentationEvaluation
from mirage.config.judges import DeepMedicOptions
from mirage.data import Dataset
from mirage.evaluate.external.cases import (
    BACKGROUND,
    CLASSES,
    Cases,
)
from mirage.evaluate.external.folders import new_folder
from mirage.files import atomic_path, write_json
from mirage.generators import build
from mirage.generators.base import ImageSpec
from mirage.generators.volume_segmenter import VolumeSegmenter
from mirage.networks.deepmedic import RESIDUAL_LAYERS, VARIANTS
from mirage.preprocess.nifti import describe, volume_affine, write_nifti

PARTS = {"train": ("train", "train"), "val": ("train/validation", "validation"), "test": ("test", "test")}
"""Part of the arm -> folder and first word of its list files, as in the program's examples."""
NAMES = "NamesOfPredictions"

logger = logging.getLogger(__name__)


def export_deepmedic(
    config: VolumeSegmentationEvaluation,
    arm: str,
    datasets: Mapping[str, Dataset],
    folder: Path,
    seed: int = 0,
) -> None:
    """Write what DeepMedic's program needs to be trained on an arm and tested on the test split.

    The network, the normalisation and the augmentation are those of the evaluation's judge where that is
    DeepMedic, else DeepMedic's defaults. ``nifti/<dataset>_<item>/`` holds every channel as the judge of this
    project sees it (float32), the class of every voxel (uint8, 0 ... n) and the brain; ``model/``, ``train/``
    and ``test/`` the configuration, its paths relative to the files they stand in; ``classes.json`` what the
    classes mean.

    Args:
        config: the evaluation; only ``arm`` of its arms is looked at.
        arm: which arm.
        datasets: whole datasets by name: the test set and all that the arm trains on.
        folder: made; whole or absent.
        seed: of our own judge beside it, which has the same part where the arm asks for one.

    Raises:
        LeakError: the training sets know held-out subjects, or what is held out is not real.
        DataError: datasets that do not fit together, an item without a brain, or a folder in use.
        ConfigError: an arm that cannot be exported, or volumes that a training segment does not fit.
    """
    cases = Cases.of(config, arm, datasets, seed)
    with new_folder(folder) as temporary:
        _export(cases, options_of(config, arm), temporary)


def options_of(config: VolumeSegmentationEvaluation, arm: str) -> DeepMedicOptions:
    """The evaluation's judge where it is DeepMedic, else the defaults; augmentation is the arm's choice."""
    options: DeepMedicOptions
    if isinstance(config.judge, DeepMedicOptions):
        options = config.judge
    else:
        options = DeepMedicOptions()
        logger.info("the evaluation's judge is %s: DeepMedic gets its defaults", config.judge.arch)
    return options if config.arms[arm].augment else options.model_copy(update={"augment": None})


def _export(cases: Cases, options: DeepMedicOptions, folder: Path) -> None:
    judge = build("deepmedic", options, ImageSpec.of(cases.train.info))
    assert isinstance(judge, VolumeSegmenter)
    channels = cases.train.info.channel_names
    lists: dict[str, list[str]] = {}
    for part, name, items, index in cases.named():
        item, affine = items.item(index), volume_affine(items, index)
        *volumes, brain = judge.condition(item).numpy()
        files = dict(zip(channels, volumes, strict=True))
        files["label"] = judge.code.index(judge.mask(item.masks, "label")).astype(np.uint8)
        files["brain"] = brain.astype(np.uint8)
        for channel, volume in files.items():
            path = folder / "nifti" / name / f"{channel}.nii.gz"
            write_nifti(path, volume, affine, describe(items, index))
        _note(lists, part, name, channels)
    for file, lines in lists.items():
        _write(folder / file, lines)
    classes = [BACKGROUND, *(judge.labels[value] for value in sorted(judge.labels))]
    write_json(folder / CLASSES, {str(number): name for number, name in enumerate(classes)})
    _write(folder / "model/modelConfig.cfg", _assignments(config_of_model(options, channels, len(classes))))
    training_config = config_of_training(options, channels, validated=bool(len(cases.val)))
    _write(folder / "train/trainConfig.cfg", _assignments(training_config))
    _write(folder / "test/testConfig.cfg", _assignments(config_of_testing(channels, len(classes))))


def _note(lists: dict[str, list[str]], part: str, name: str, channels: Sequence[str]) -> None:
    """Add one case to the list files of its part."""
    folder, word = PARTS[part]
    up = "../" * len(folder.split("/"))
    files = {f"Channels_{channel}": f"{up}nifti/{name}/{channel}.nii.gz" for channel in channels}
    files |= {"GtLabels": f"{up}nifti/{name}/label.nii.gz", "RoiMasks": f"{up}nifti/{name}/brain.nii.gz"}
    if part != "train":
        files[NAMES] = f"pred_{name}.nii.gz"
    for file, line in files.items():
        lists.setdefault(f"{folder}/{word}{file}.cfg", []).append(line)


def _write(path: Path, lines: Iterable[str]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _assignments(values: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {value!r}" for key, value in values.items()]


def config_of_model(options: DeepMedicOptions, channels: Sequence[str], classes: int) -> dict[str, Any]:
    """Assignments of ``modelConfig.cfg``: the network of the options."""
    variant = VARIANTS[options.variant]
    if options.width < 1:
        variant = variant.scaled(options.width)
    kernels, residuals = [[3, 3, 3]] * len(variant.maps), list(RESIDUAL_LAYERS)
    tile = options.tile or 45
    return {
        "modelName": "deepMedic",
        "folderForOutput": "../output/",
        "numberOfOutputClasses": classes,
        "numberOfInputChannels": len(channels),
        "numberFMsPerLayerNormal": list(variant.maps),
        "kernelDimPerLayerNormal": kernels,
        "layersWithResidualConnNormal": residuals,
        "useSubsampledPathway": True,
        "numberFMsPerLayerSubsampled": list(variant.maps),
        "kernelDimPerLayerSubsampled": kernels,
        "subsampleFactor": [[factor] * 3 for factor in variant.factors],
        "layersWithResidualConnSubsampled": residuals,
        "numberFMsPerLayerFC": list(variant.hidden),
        "kernelDimPerLayerFC": [[variant.kernel] * 3, [1, 1, 1], [1, 1, 1]],
        "padTypePerLayerFC": ["MIRROR"] * 3,
        "layersWithResidualConnFC": [2],
        "segmentsDimTrain": [options.segment] * 3,
        "segmentsDimVal": [17, 17, 17],
        "segmentsDimInference": [tile] * 3,
        "dropoutRatesNormal": [],
        "dropoutRatesSubsampled": [],
        "dropoutRatesFc": [0.0, 0.5, 0.5],
        "convWeightsInit": ["fanIn", 2],
        "activationFunction": "prelu",
        "rollAverageForBNOverThatManyBatches": 60,
    }


def config_of_training(options: DeepMedicOptions, channels: Sequence[str], validated: bool) -> dict[str, Any]:
    """Assignments of ``trainConfig.cfg``: the program's default training, on classes sampled equally often.

    Intensities are normalised already, so the program's own normalisation stays off.
    """
    augment = options.augment
    sample = None
    if augment is not None:
        sample = {
            "hist_dist": {
                "shift": {"mu": 0.0, "std": augment.shift},
                "scale": {"mu": 1.0, "std": augment.scale},
            },
            "reflect": (0.5 if augment.flip else 0.0, 0.0, 0.0),
            "rotate90": None,
        }
    made: dict[str, Any] = {
        "sessionName": "mirage",
        "folderForOutput": "../output/",
        "channelsTraining": [f"./trainChannels_{channel}.cfg" for channel in channels],
        "gtLabelsTraining": "./trainGtLabels.cfg",
        "roiMasksTraining": "./trainRoiMasks.cfg",
        "typeOfSamplingForTraining": 3,
        "numberOfEpochs": 35,
        "numberOfSubepochs": 20,
        "numOfCasesLoadedPerSubepoch": 50,
        "numberTrainingSegmentsLoadedOnGpuPerSubep": 1000,
        "batchsize_train": 10,
        "typeOfLearningRateSchedule": "predef",
        "whenDecreasingDivideLrBy": 2.0,
        "predefinedSchedule": [17, 22, 27, 30, 33],
        "augm_img_prms_tr": None,
        "augm_sample_prms_tr": sample,
        "learningRate": options.lr,
        "sgd0orAdam1orRms2": 2,
        "classicMom0OrNesterov1": 1,
        "momentumValue": options.momentum,
        "momNonNorm0orNormalized1": 0,
        "rhoRms": 0.9,
        "epsilonRms": 1e-4,
        "losses_and_weights": {"xentr": 1.0, "iou": None, "dsc": None},
        "L1_reg": options.l1,
        "L2_reg": options.l2,
        "performValidationOnSamplesThroughoutTraining": validated,
        "performFullInferenceOnValidationImagesEveryFewEpochs": False,
        "padInputImagesBool": True,
    }
    if validated:
        made |= {
            "channelsValidation": [f"./validation/validationChannels_{channel}.cfg" for channel in channels],
            "gtLabelsValidation": "./validation/validationGtLabels.cfg",
            "roiMasksValidation": "./validation/validationRoiMasks.cfg",
        }
    return made


def config_of_testing(channels: Sequence[str], classes: int) -> dict[str, Any]:
    """Assignments of ``testConfig.cfg``: labels of the test volumes, no probabilities."""
    return {
        "sessionName": "mirage",
        "folderForOutput": "../output/",
        "channels": [f"./testChannels_{channel}.cfg" for channel in channels],
        "namesForPredictionsPerCase": f"./test{NAMES}.cfg",
        "roiMasks": "./testRoiMasks.cfg",
        "gtLabels": "./testGtLabels.cfg",
        "saveSegmentation": True,
        "saveProbMapsForEachClass": [False] * classes,
        "padInputImagesBool": True,
    }
