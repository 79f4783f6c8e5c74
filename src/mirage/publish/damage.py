"""Stored copies that are damaged, and how to mend them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from mirage.errors import LedgerError
from mirage.publish.ledger import Stored
from mirage.publish.objects import Damage, Objects


def refuse_damaged(objects: Objects, stored: Iterable[Stored], fetched: Collection[str] = ()) -> None:
    """Read every object behind what is stored and compare it with its name.

    Args:
        fetched: objects that have just come from the remote. Where one of them is damaged the remote's copy
            is, and the copy here is removed, so that it is fetched again once the remote is mended.

    Raises:
        LedgerError: names every damaged file, its object, the hashes expected and found, and how to mend it.
    """
    found = objects.damaged(stored)
    if not found:
        return
    said = []
    for damage in found:
        if damage.name in fetched:
            damage.object.unlink()
        said.append(_told(damage, from_remote=damage.name in fetched))
    raise LedgerError("\n".join(said))


def _told(damage: Damage, from_remote: bool) -> str:
    hashes = f"expected the hash {damage.expected}, found {damage.found}"
    if from_remote:
        return (
            f"{damage.file}: the remote's copy is damaged ({hashes}); delete files/md5/{damage.name[:2]}/"
            f"{damage.name[2:]} in the remote and `mirage publish` again from a clone that has it whole"
        )
    return (
        f"{damage.file}: the stored copy {damage.object} is damaged ({hashes}); delete it, then `mirage "
        "pull` fetches it from the remote, or `mirage publish` stores it anew where the file itself is whole"
    )
