"""Draw extracted lesions and propose which to use. Called by rule show_lesions."""

from pathlib import Path

from mirage.data import Dataset
from mirage.log import log_to
from mirage.recipes.curation import show_lesions

with log_to(snakemake.log[0]):
    folder = Path(snakemake.input.manifest).parent
    show_lesions(Dataset(folder), Path(snakemake.output.curation), Path(snakemake.output.sheet))
