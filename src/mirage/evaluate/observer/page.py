"""The page that readers get: one file with everything in it but the truth, which goes into the key."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from mirage import seeds
from mirage.amounts import size as as_size
from mirage.config.observer import ReaderPage
from mirage.data.shards import content_hash
from mirage.evaluate.observer.answers import KEPT
from mirage.evaluate.observer.audit import Audit, audit
from mirage.evaluate.observer.cases import Chosen, Offer, choose
from mirage.evaluate.observer.key import FORCED, KINDS, PLACES, SINGLE, write_key
from mirage.evaluate.observer.pictures import make_alike
from mirage.files import atomic_path

LARGE_PAGE = 60_000_000
ID_DIGITS = 8
STEPS = ["surely", "probably", "perhaps"]
WORDS = {"title", "instructions", "comments", "break_every", "findings", "own_order"}
"""Options that change what is said and asked beside, and not which case is what."""


@dataclass(frozen=True)
class Made:
    """A study that was made.

    Attributes:
        study: its id.
        cases: number of them; of pairs in ``2afc``.
        page_bytes: of the page.
        remarks: how the kinds differed before they were made alike, and what the audit warns of.
        audit: what the files tell.
    """

    study: str
    cases: int
    page_bytes: int
    remarks: tuple[str, ...]
    audit: Audit


def make_study(
    real: Sequence[Offer], synthetic: Sequence[Offer], page: ReaderPage, out: Path, key: Path
) -> Made:
    """Choose images, and write the page and its key.

    Order, ids, sides and roundings follow from the seed and from a digest of the images by kind: nobody
    who has the page and the seed but not the truth can draw them again. The same images and options give the
    same page.

    Args:
        real, synthetic: images that may be shown.
        page: options.
        out: the page, HTML.
        key: CSV, see :mod:`mirage.evaluate.observer.key`.

    Raises:
        DataError: too few images, or some that cannot be shown.
    """
    shown: set[str] = set()
    wanted = page.n + page.practice
    kinds = dict(zip(KINDS, (real, synthetic), strict=True))
    chosen = {
        kind: choose(offers, wanted, seeds.rng(page.seed, f"observer/choose/{kind}"), shown)
        for kind, offers in kinds.items()
    }
    secret = _secret(chosen, page)
    pictures = [[one.picture for one in chosen[kind]] for kind in KINDS]
    stack = make_alike(pictures[0], pictures[1], page, _rng(page, "round", secret))
    told = np.arange(2 * wanted) >= wanted
    found = audit(stack.pixels, told, stack.bits)
    study = f"s{hashlib.sha256(b'study' + secret).hexdigest()[:ID_DIGITS]}"
    rng = _rng(page, "order", secret)
    cases = _cases(chosen, page, rng)
    order = [place for case in cases for place in case.places]
    rows = [case.row(study, page, chosen, wanted) for case in cases]
    data = {
        "study": study,
        "mode": page.mode,
        "practice": [{"case": case.id, "truth": case.truth} for case in cases if case.practice],
        "cases": [case.id for case in cases if not case.practice],
        "channels": stack.pixels.shape[1],
        "height": stack.pixels.shape[2],
        "width": stack.pixels.shape[3],
        "bits": stack.bits,
        "window": list(stack.window),
        "scale": page.scale if page.asks_rating else 0,
        "answer": page.asks_answer,
        "findings": list(page.findings),
        "comments": page.comments,
        "breakEvery": page.break_every,
        "ownOrder": page.own_order,
    }
    text = render(page, data, pack(stack.pixels[order]))
    with atomic_path(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_key(key, rows)
    remarks = (*stack.remarks, *([f"Audit: {found.warning}."] if found.warning else []))
    if len(text) > LARGE_PAGE:
        remarks += (f"The page has {as_size(len(text))}; a smaller `side` or `n` loads faster.",)
    return Made(study, page.n if page.mode == FORCED else 2 * page.n, len(text), remarks, found)


@dataclass(frozen=True)
class Case:
    """One case of the page.

    Attributes:
        id: opaque.
        practice: whether the truth follows it.
        truth: real or synthetic; of a pair left or right, where the synthetic one is.
        places: of its one or two images among all, real ones first.
    """

    id: str
    practice: bool
    truth: str
    places: tuple[int, ...]

    def row(
        self, study: str, page: ReaderPage, chosen: dict[str, list[Chosen]], wanted: int
    ) -> dict[str, str]:
        """Its row of the key."""
        images = [chosen[KINDS[place >= wanted]][place % wanted] for place in self.places]
        if self.truth == PLACES[1]:  # the synthetic image first
            images.reverse()
        row = {
            "study": study,
            "mode": page.mode,
            "scale": str(page.scale if page.asks_rating else 0),
            "phase": "practice" if self.practice else "study",
            "case": self.id,
            "truth": self.truth,
        }
        for prefix, image in zip(("", "other_"), images, strict=False):
            row |= {
                f"{prefix}dataset": image.dataset,
                f"{prefix}item_id": image.item_id,
                f"{prefix}subject_id": image.subject_id,
            }
        return row


def _cases(chosen: dict[str, list[Chosen]], page: ReaderPage, rng: np.random.Generator) -> list[Case]:
    """Practice first, then the cases, each part in random order."""
    wanted = len(chosen[KINDS[0]])
    ids = _ids(2 * wanted, rng)
    drawn: list[Case] = []
    if page.mode == SINGLE:
        for place in range(2 * wanted):
            practice = place % wanted < page.practice
            drawn.append(Case(ids[place], practice, KINDS[place >= wanted], (place,)))
    else:
        partners = [*rng.permutation(page.practice), *(page.practice + rng.permutation(page.n))]
        left = _balanced(page.practice, rng) + _balanced(page.n, rng)
        for place in range(wanted):
            pair = (place, wanted + int(partners[place]))
            truth = PLACES[0] if left[place] else PLACES[1]
            pair = pair[::-1] if left[place] else pair
            drawn.append(Case(ids[place], place < page.practice, truth, pair))
    mixed = [drawn[place] for place in rng.permutation(len(drawn))]
    return sorted(mixed, key=lambda case: not case.practice)


def _balanced(count: int, rng: np.random.Generator) -> list[bool]:
    """As many True as False, but for one, at random."""
    sides = np.arange(count) % 2 == int(rng.integers(2))
    return [bool(side) for side in rng.permutation(sides)]


def _ids(count: int, rng: np.random.Generator) -> list[str]:
    """Different random names; the letter in front keeps spreadsheets from reading 00123e45 as a number."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[f"c{rng.bytes(ID_DIGITS // 2).hex()}"] = None
    return list(found)


def _secret(chosen: dict[str, list[Chosen]], page: ReaderPage) -> bytes:
    """Digest of the images by kind, and of the options that decide what is shown; words may be mended."""
    decide = set(ReaderPage.model_fields) - WORDS
    parts: list[Any] = [page.model_dump(mode="json", include=decide)]
    parts += [[content_hash(one.picture.image) for one in chosen[kind]] for kind in KINDS]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()


def _rng(page: ReaderPage, stage: str, secret: bytes) -> np.random.Generator:
    return seeds.rng(page.seed, f"observer/{stage}", *np.frombuffer(secret, "<u4").tolist())


def pack(pixels: np.ndarray) -> str:
    """All images as one text: differences along rows, low bytes before high bytes, deflated, base64.

    One stream holds them all, each of as many bytes as any other once it is unpacked, so that no length
    belongs to an image.

    Args:
        pixels: (N, C, H, W), uint8 or uint16.
    """
    steps = pixels.copy()
    steps[..., 1:] -= pixels[..., :-1]
    planes = [steps] if pixels.dtype == np.uint8 else [steps & 255, steps >> 8]
    content = np.stack(planes, axis=1).astype(np.uint8).tobytes()
    return base64.b64encode(zlib.compress(content, 9)).decode()


def render(page: ReaderPage, data: dict[str, Any], pixels: str) -> str:
    """The page as HTML text."""
    # A `<` would end the block of data; JSON has another way to write it.
    encoded = Markup(json.dumps(data, sort_keys=True).replace("<", "\\u003c"))
    template = _environment().get_template("page.html.j2")
    return template.render(
        page=page,
        data=encoded,
        pixels=pixels,
        total=len(data["cases"]),
        practice=len(data["practice"]),
        steps=steps_of(page.scale),
        kept="|".join(KEPT),
    )


def steps_of(scale: int) -> list[str]:
    """Words for the steps of a rating scale, surely real first."""
    half = STEPS[: scale // 2] if scale // 2 < len(STEPS) else [*STEPS, *[""] * (scale // 2 - len(STEPS))]
    middle = ["cannot tell"] * (scale % 2)
    known = [f"{word} {{}}".strip() if word else "" for word in half]
    return [
        *(word.format("real") for word in known),
        *middle,
        *(word.format("synthetic") for word in reversed(known)),
    ]


@functools.cache
def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(str(files("mirage.evaluate.observer") / "templates"))
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
