"""Observer studies on folders of images or prepared datasets, without a workflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mirage.cli.app import app, question

if TYPE_CHECKING:
    from mirage.config.observer import ReaderPage
    from mirage.evaluate.observer.cases import Offer

observer = typer.Typer(no_args_is_help=True, help="Do readers tell synthetic images from real ones?")
app.add_typer(observer, name="observer")

Images = Annotated[
    str, typer.Argument(help="folder of images, or of a prepared dataset (results/datasets/<name>)")
]


@observer.command()
@question
def make(
    real: Images,
    synthetic: Images,
    out: Annotated[Path, typer.Option(help="the page to write, .html; readers get this file alone")] = Path(
        "observer.html"
    ),
    key: Annotated[Path | None, typer.Option(help="the key to write, .csv; none: beside the page")] = None,
    n: Annotated[int, typer.Option(min=2, help="real images, and as many synthetic ones")] = 75,
    seed: Annotated[int, typer.Option(min=0, help="of the choice of images")] = 0,
    split: Annotated[
        Literal["train", "val", "test", "all"],
        typer.Option(help="of the real images, where a dataset has splits"),
    ] = "test",
    mode: Annotated[
        Literal["single", "2afc"], typer.Option(help="one image at a time, or a real and a synthetic one")
    ] = "single",
    scale: Annotated[
        int, typer.Option(help="steps from surely real to surely synthetic: 2 to 9, or 100 for a slider")
    ] = 6,
    practice: Annotated[int, typer.Option(min=0, help="practice images of either kind, with the truth")] = 0,
    finding: Annotated[
        list[str] | None, typer.Option(help="whose plausibility is rated; may be given several times")
    ] = None,
    break_every: Annotated[int, typer.Option(min=0, help="cases after which a rest is offered")] = 50,
    comments: Annotated[bool, typer.Option(help="offer a field for words on each case")] = False,
    side: Annotated[
        int | None, typer.Option(help="longer side of all images, pixels; none: of the smallest")
    ] = None,
    bits: Annotated[
        int | None, typer.Option(help="of the grey levels, 8 to 16; none: the fewest there are")
    ] = None,
    channels: Annotated[
        Literal["auto", "grey", "rgb"], typer.Option(help="auto: grey unless both kinds have colours")
    ] = "auto",
    crop: Annotated[int, typer.Option(min=0, help="pixels to cut off every edge")] = 0,
    window: Annotated[
        tuple[float, float] | None, typer.Option(help="native values that become black and white")
    ] = None,
    subjects: Annotated[
        str | None,
        typer.Option(help=r"regular expression on a file's path; its group is the patient: '(p\d+)_'"),
    ] = None,
    title: Annotated[str, typer.Option(help="heading of the page")] = "Real or synthetic?",
    instructions: Annotated[str, typer.Option(help="what readers should know of the images")] = "",
) -> None:
    """Write the page on which readers tell synthetic from real images, and the key that stays with you."""
    from mirage.errors import ConfigError
    from mirage.evaluate.observer.page import make_study

    page = _page(
        n=n,
        seed=seed,
        split=split,
        mode=mode,
        scale=scale,
        practice=practice,
        findings=finding or [],
        break_every=break_every,
        comments=comments,
        side=side,
        bits=bits,
        channels=channels,
        crop=crop,
        window=window,
        title=title,
        instructions=instructions,
    )
    key = key or out.with_name(f"{out.stem}_key.csv")
    if key.resolve() == out.resolve():
        raise ConfigError(f"{key} cannot be the page and its key; readers get the page and not the key")
    if key.exists():
        raise ConfigError(
            f"{key} is there, and answers to the page that it was made with can be read with it alone; give "
            "another --out or --key, or move it away"
        )
    inner, outer = sorted((Path(real).resolve(), Path(synthetic).resolve()), key=lambda one: -len(one.parts))
    if inner.is_relative_to(outer):
        raise ConfigError(
            f"{real} and {synthetic}: images of one would be shown as the other kind too, since folders are "
            "read with those below them; name two that lie side by side"
        )
    made = make_study(_offers(real, page, subjects), _offers(synthetic, None, subjects), page, out, key)
    for remark in made.remarks:
        typer.echo(f"note: {remark}")
    typer.echo(f"The page for readers, study {made.study}, {made.cases} cases: {out}")
    typer.echo(f"The key, which stays with you: {key}")


@observer.command()
@question
def analyse(
    key: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="the key of the study")],
    answers: Annotated[
        list[Path], typer.Argument(exists=True, dir_okay=False, help="CSV files that readers sent back")
    ],
    out: Annotated[Path, typer.Option(help="folder for the result: page, text, tables")] = Path(
        "observer-result"
    ),
    margin: Annotated[
        float,
        typer.Option(min=0.001, max=0.499, help="share above and below one half that counts as guessing"),
    ] = 0.1,
    scale: Annotated[
        int | None, typer.Option(help="steps of the ratings, where the key does not say; 100: from 0 to 100")
    ] = None,
) -> None:
    """Analyse what readers sent back: accuracy, d', AUC, agreement, equivalence, cases that it takes."""
    from mirage.evaluate.observer.analysis import analyse as analysed
    from mirage.evaluate.observer.answers import read_answers
    from mirage.evaluate.observer.key import read_key
    from mirage.report.readers import write_readers

    truth = read_key(key)
    result = analysed(truth, read_answers(answers, truth, scale), margin)
    written = write_readers(result, truth, margin, out)
    typer.echo((out / "result.txt").read_text(encoding="utf-8").rstrip())
    typer.echo(f"\nThe result as a page: {written}")


def _page(**options: Any) -> ReaderPage:
    """Options of the page.

    Raises:
        ConfigError: a value that cannot be, in one line.
    """
    from pydantic import ValidationError

    from mirage.config.observer import ReaderPage
    from mirage.errors import ConfigError

    try:
        return ReaderPage(**options)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-") if first["loc"] else ""
        where = f"--{'finding' if option == 'findings' else option}: " if option else ""
        raise ConfigError(f"{where}{first['msg'].removeprefix('Value error, ')}") from error


def _offers(folder: str, page: ReaderPage | None, subjects: str | None) -> list[Offer]:
    """Images of a folder; of a prepared dataset of real images the split that is asked for."""
    from mirage.data import Dataset
    from mirage.evaluate.observer.cases import offers_in, offers_of, real_part

    if not (Path(folder) / "dataset.json").is_file():
        return offers_in(folder, subjects)
    data = Dataset(folder)
    return offers_of(data, {}, synthetic=True) if page is None else offers_of(real_part(data, page), {})
