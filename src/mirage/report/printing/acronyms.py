"""Acronyms that a report may use, and which of them a text does use."""

from __future__ import annotations

import re
from collections.abc import Mapping

KNOWN = {
    "AI": "artificial intelligence",
    "AUC": "area under the curve",
    "CLAIM": "Checklist for Artificial Intelligence in Medical Imaging",
    "CPU": "central processing unit",
    "CSV": "comma-separated values",
    "DCGAN": "deep convolutional generative adversarial network",
    "DICOM": "Digital Imaging and Communications in Medicine",
    "EMA": "exponential moving average",
    "ET": "enhancing tumour",
    "EU": "European Union",
    "FD": "Fréchet distance",
    "FID": "Fréchet inception distance",
    "FRD": "Fréchet radiomics distance",
    "GAN": "generative adversarial network",
    "GPU": "graphics processing unit",
    "JS": "Jensen-Shannon divergence",
    "KID": "kernel inception distance",
    "KL": "Kullback-Leibler divergence",
    "MMD": "maximum mean discrepancy",
    "MRI": "magnetic resonance imaging",
    "NCR": "necrotic core",
    "PCA": "principal component analysis",
    "PR": "precision-recall",
    "RMS": "root mean square",
    "ROC": "receiver operating characteristic",
    "SSIM": "structural similarity index",
    "SVG": "scalable vector graphics",
    "TC": "tumour core",
    "WT": "whole tumour",
}


def used(words: str, own: Mapping[str, str]) -> list[tuple[str, str]]:
    """Acronyms of a text with their meanings, in alphabetical order; ``own`` are those of the study."""
    found = set(re.findall(r"\w[\w-]*", words)) | set(re.findall(r"\w+", words))
    return sorted({name: meaning for name, meaning in {**KNOWN, **own}.items() if name in found}.items())
