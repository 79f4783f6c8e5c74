"""One integer per stage: bump it when the stage's results change, so that Snakemake remakes them.

Snakemake does not see edits inside an imported package; these numbers enter every rule's `params`.
"""

STAGES: dict[str, int] = {
    "simulate": 1,
    "prepare": 6,
    "normaliser": 2,
    "gather": 2,
    "train": 4,
    "synthesise": 5,
    "lesions": 1,
    "encode_pixpca": 1,
    "encode_pretrained": 1,
    "encode_radiomics": 1,
    "encode_randconv": 1,
    "encode_ssl": 1,
    "evaluate_segmentation": 3,
    "evaluate_volume_segmentation": 2,
    "evaluate_detection": 3,
    "evaluate_classification": 2,
    "evaluate_fidelity": 6,
    "evaluate_privacy": 6,
    "observer_page": 1,
    "evaluate_observer": 1,
    "report": 14,
    "overview": 2,
    "print": 1,
    "latex": 1,
}
