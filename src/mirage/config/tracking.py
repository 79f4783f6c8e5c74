"""Whether and where runs are tracked by MLflow."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from mirage.config.base import Options
from mirage.tracking import EXPERIMENT, URI, WEIGHTS

SQLITE = "sqlite:///"


class Tracking(Options):
    """MLflow's server or file that trainings and evaluations are logged to; never remakes anything."""

    uri: str = Field(
        f"{SQLITE}results/mlflow.db",
        pattern=r"^(sqlite:///.+|https?://.+)$",
        description="sqlite:///<file>, from the project's folder, or http(s)://<tracking server>",
    )
    experiment: str = Field("mirage", min_length=1, description="MLflow's experiment that runs are put under")
    weights: bool = Field(False, description="upload weights as well, and not only tables and pictures")

    def environment(self, folder: Path) -> dict[str, str]:
        """How a job is told, by environment variables: no rule's text or parameters change.

        Args:
            folder: the project's folder, which a relative SQLite file lies in.
        """
        uri = self.uri
        if uri.startswith(SQLITE):
            uri = f"{SQLITE}{(folder / uri.removeprefix(SQLITE)).resolve()}"
        return {URI: uri, EXPERIMENT: self.experiment, WEIGHTS: str(int(self.weights))}
