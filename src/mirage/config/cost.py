"""What computing costs: energy, emissions and money, as far as the configuration says."""

from __future__ import annotations

from pydantic import Field

from mirage.config.base import Options


class Cost(Options):
    """Prices and powers by which reports and `mirage plan` reckon; what is not given is not reckoned."""

    watts_per_core: float | None = Field(None, ge=0, description="electric power of a busy CPU core, watts")
    watts_per_gpu: float | None = Field(
        None, ge=0, description="electric power of a GPU while a job holds it, watts"
    )
    grams_co2_per_kwh: float | None = Field(
        None, ge=0, description="emissions of the electricity, grams of CO2 equivalent per kWh"
    )
    price_per_core_hour: float | None = Field(
        None, ge=0, description="price of reserving a CPU core for an hour"
    )
    price_per_gpu_hour: float | None = Field(None, ge=0, description="price of reserving a GPU for an hour")
    currency: str = Field("EUR", description="what the prices are in")

    def kilowatt_hours(self, core_hours: float, gpu_hours: float) -> float | None:
        """Energy of busy cores and held GPUs; None where a power that is needed is not given."""
        watt_hours = _priced(core_hours, self.watts_per_core, gpu_hours, self.watts_per_gpu)
        return None if watt_hours is None else watt_hours / 1000

    def money(self, core_hours: float, gpu_hours: float) -> float | None:
        """Price of reserved cores and GPUs; None where a price that is needed is not given."""
        return _priced(core_hours, self.price_per_core_hour, gpu_hours, self.price_per_gpu_hour)

    def kilograms_co2(self, kilowatt_hours: float | None) -> float | None:
        """Emissions behind an energy; None where either is not known."""
        if kilowatt_hours is None or self.grams_co2_per_kwh is None:
            return None
        return kilowatt_hours * self.grams_co2_per_kwh / 1000


def _priced(cores: float, core_rate: float | None, gpus: float, gpu_rate: float | None) -> float | None:
    """Amounts times their rates; a rate is not needed where there is no amount, but one must be given."""
    if core_rate is None and gpu_rate is None:
        return None
    if (cores and core_rate is None) or (gpus and gpu_rate is None):
        return None
    return cores * (core_rate or 0) + gpus * (gpu_rate or 0)
