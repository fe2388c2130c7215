"""The request of ``fgbench study``: which experiment, on which data, with which seeds. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fgbench.errors import FgbenchError
from fgbench.options import (
    AGAIN,
    BACKBONES,
    CHECKPOINT,
    DEVICE,
    FROM_SCRATCH,
    IMPLEMENTATION,
    KEEP_RATES,
    MODELS,
    OUTPUT_SECTION,
    PLUGINS,
    POSITION_INTERPOLATION,
    PRETRAINED,
    REDUCTIONS,
    SELECTORS,
    SIZES,
    THREADS,
    WEIGHTS,
    ReadsCheckpoint,
    argument,
    names_of,
    one,
    real_paths,
    switch,
    whole,
)
from fgbench.results.environment import cores
from fgbench.results.paper import OTHER_BACKBONES
from fgbench.results.recipe import SEEDS as PUBLISHED_SEEDS
from fgbench.results.recipe import published_seeds
from fgbench.results.reduced_name import base_model
from fgbench.study.condition import Condition, Study
from fgbench.training.request import (
    CHECKPOINTS,
    DATA,
    DATASET,
    DATASET_OPTIONS,
    LRS,
    MACHINE,
    MODEL,
    PATHS,
    SEARCH_EPOCHS,
    SEED,
    SEEDS,
    START,
    TEST,
    TEST_BATCH_SIZE,
    TEST_EVERY,
    TRAINING,
    WORKERS,
    AccuracyRequest,
    numbers,
)
from fgbench.values import real_number

MAX_JOBS, MAX_PRICE = 1024, 1e6
STUDY = argument("NAME", "'fgbench list studies', or a file .toml")
DATASETS = DATASET.but(flags=("--dataset", "--datasets"), metavar="NAME…", many=True, read=names_of("data set"))
JOBS = one("--jobs", "runs at once, a process each", "N", read=whole("number of jobs", 2, MAX_JOBS))
DRY_RUN = switch("--dry-run", "train nothing: how many runs, how long, how much disk and money")
PRICE = one(
    "--hour-price",
    "of the machine, for --dry-run",
    "PRICE",
    read=partial(real_number, what="--hour-price", example=2.5, largest=MAX_PRICE),
)
# Seeds of a study are counted from 1, so that 0 of them is no seed that somebody meant.
STUDY_SEEDS = SEEDS.but(
    default="1 10 100; 1 10 beyond 50,000 images", read=partial(numbers, partial(SEED, smallest=1), "seed")
)
OF_STUDY = {  # options that only some studies have a use for, and their flags
    "models": "--models",
    "selectors": "--selectors",
    "reductions": "--reduction",
    "keep_rates": "--keep-rate",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRequest(ReadsCheckpoint):
    """A study and how it is run; None stands for what the study, the data set or the paper says.

    Attributes:
        study: Its name, or the path of a TOML file.
        datasets: Names of data sets, one after the other.
        data_dir: The folder where they lie.
        dataset_options: Options of the only data set.
        models: Names, for studies that take them.
        selectors: The same.
        backbones: timm's names; one, but for a study of several.
        reductions: Names, for studies that take them.
        keep_rates: Shares of tokens.
        image_sizes: Sides in pixels; one, but for a study of several.
        impl: ``"published"`` or ``"fast"``.
        pretrained: Whether training begins from timm's weights.
        from_scratch: Whether models on the shipped backbone begin from random weights too.
        checkpoint: A file of weights to begin from.
        weights: Of several sets in the checkpoint.
        position_interpolation: How the checkpoint is read.
        lrs: Learning rates; several are searched.
        search_epochs: Epochs of the search.
        seeds: Seeds of training.
        recipe: Fields of the recipe that were asked for.
        device: ``"cuda"`` or ``"cpu"``.
        threads: Of a CPU, per run.
        workers: Processes that read images, per run.
        flip: Whether the mirror image is tested too.
        test_every: Epochs between tests.
        test_batch_size: Images.
        checkpoints: The folder where weights are kept.
        again: Whether runs in the store are trained once more.
        plugins: Plug-in files.
        jobs: Runs at once.
        dry_run: Whether nothing is trained.
        hour_price: Of the machine.

    """

    study: Annotated[str, STUDY] = ""
    datasets: Annotated[Sequence[str], DATASETS.but(default="synthetic"), DATA] = ("synthetic",)
    data_dir: Annotated[Path | None, one("--data-dir", "where the data sets lie", "DIR", read=Path), DATA] = None
    dataset_options: Annotated[Mapping[str, str], DATASET_OPTIONS, DATA] = field(default_factory=dict)
    models: Annotated[Sequence[str] | None, MODELS.but(default="those of the study"), MODEL] = None
    selectors: Annotated[Sequence[str] | None, SELECTORS.but(default="those of the study"), MODEL] = None
    backbones: Annotated[
        Sequence[str] | None, BACKBONES.but(default="ViT-B/16; for synthetic and emoji the shipped one"), MODEL
    ] = None
    reductions: Annotated[Sequence[str] | None, REDUCTIONS, MODEL] = None
    keep_rates: Annotated[Sequence[float] | None, KEEP_RATES, MODEL] = None
    image_sizes: Annotated[Sequence[int] | None, SIZES.but(default="224; small for synthetic"), MODEL] = None
    impl: Annotated[str, IMPLEMENTATION, MODEL] = "fast"
    pretrained: Annotated[bool, PRETRAINED.but(help="begin from timm's weights"), START] = False
    from_scratch: Annotated[bool, FROM_SCRATCH, START] = False
    checkpoint: Annotated[Path | None, CHECKPOINT.but(help="weights to begin from"), START] = None
    weights: Annotated[str | None, WEIGHTS, START] = None
    position_interpolation: Annotated[str | None, POSITION_INTERPOLATION, START] = None
    lrs: Annotated[Sequence[float] | None, LRS, TRAINING] = None
    search_epochs: Annotated[int | None, SEARCH_EPOCHS, TRAINING] = None
    seeds: Annotated[Sequence[int] | None, STUDY_SEEDS, TRAINING] = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    device: Annotated[str | None, DEVICE, MACHINE] = None
    threads: Annotated[int | None, THREADS.but(default="the cores, shared by --jobs"), MACHINE] = None
    workers: Annotated[int | None, WORKERS, MACHINE] = None
    jobs: Annotated[int, JOBS, MACHINE] = 1
    flip: Annotated[bool, switch("--flip", "test the mirror image too, and add the logits"), TEST] = False
    test_every: Annotated[int, TEST_EVERY, TEST] = 1
    test_batch_size: Annotated[int, TEST_BATCH_SIZE, TEST] = 64
    checkpoints: Annotated[Path, CHECKPOINTS, OUTPUT_SECTION] = Path("fgbench-checkpoints")
    again: Annotated[bool, AGAIN.but(help="train what is in the store once more"), OUTPUT_SECTION] = False
    plugins: Annotated[Sequence[str], PLUGINS.but(read=real_paths), OUTPUT_SECTION] = ()
    dry_run: Annotated[bool, DRY_RUN, OUTPUT_SECTION] = False
    hour_price: Annotated[float | None, PRICE, OUTPUT_SECTION] = None

    def check(self) -> None:
        """Refuse options that contradict each other. Raises :class:`FgbenchError`."""
        self.check_reading()
        if self.from_scratch and (self.pretrained or self.checkpoint is not None):
            flag = "--pretrained" if self.pretrained else "--checkpoint"
            raise FgbenchError(f"--from-scratch begins from random weights, not from those of {flag}; leave one out")
        if len(self.datasets) > 1 and self.dataset_options:
            raise FgbenchError("--dataset-options are those of one data set, got", ", ".join(self.datasets))
        if self.data_dir is not None and list(self.datasets) == ["synthetic"]:
            do = "name the data set that lies there: --dataset folder, 'fgbench list datasets'"
            raise FgbenchError("synthetic is drawn, nothing is read from --data-dir", str(self.data_dir), do)
        if self.hour_price is not None and not self.dry_run:
            raise FgbenchError("--hour-price is for the estimate of", "--dry-run", "add it, or leave the price out")

    def message(self) -> dict[str, Any]:
        """The request as JSON has it."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> StudyRequest:
        """The request out of :meth:`message`."""
        paths = {name: Path(message[name]) for name in PATHS if message[name] is not None}
        return cls(**{**message, **paths})

    def check_for(self, study: Study) -> None:
        """Refuse options that a study has no use for. Raises :class:`FgbenchError`."""
        for name, flag in OF_STUDY.items():
            if getattr(self, name) is not None and name not in study.takes:
                do = f"it takes {', '.join(OF_STUDY[one] for one in OF_STUDY if one in study.takes) or 'none of these'}"
                raise FgbenchError(f"study {study.name} has no use for", flag, do)
        if "models" in study.takes and study.name == "selectors" and len(self.models or ("",)) > 1:
            raise FgbenchError("study selectors is of one model, got", ", ".join(self.models or ()), "give one")
        for name, flag in (("backbones", "--backbones"), ("image_sizes", "--sizes")):
            values = getattr(self, name)
            if values is not None and len(values) > 1 and name not in study.takes:
                raise FgbenchError(f"study {study.name} takes one value of {flag}, got", " ".join(map(str, values)))

    def threads_per_run(self) -> int | None:
        """Threads of a run on a CPU; None: torch's own number."""
        if self.threads is not None or self.jobs == 1:
            return self.threads
        return max(1, cores() // self.jobs)

    def seeds_for(self, of_dataset: Sequence[int], train_images: int) -> Sequence[int]:
        """Seeds of every condition: those asked for, several of a data set's own, or the published ones."""
        if self.seeds is not None:
            return self.seeds
        return of_dataset if len(of_dataset) >= len(PUBLISHED_SEEDS) else published_seeds(train_images)

    def accuracy(self, study: Study, condition: Condition, dataset: str) -> AccuracyRequest:
        """The request of the runs of a condition on a data set; its seeds are those asked for."""
        other = base_model(condition.model) in OTHER_BACKBONES
        backbone = condition.backbone or (None if other or not self.backbones else self.backbones[0])
        size = condition.image_size or (self.image_sizes[0] if self.image_sizes else None)
        return AccuracyRequest(
            models=(condition.model,),
            backbone=backbone,
            selectors=None if condition.selector is None else (condition.selector,),
            impl=self.impl,
            model_options=condition.options,
            image_sizes=None if size is None else (size,),
            dataset=dataset,
            data_dir=None if dataset == "synthetic" else self.data_dir,
            dataset_options=self.dataset_options,
            pretrained=self.pretrained,
            from_scratch=self.from_scratch,
            checkpoint=self.checkpoint,
            weights=self.weights,
            position_interpolation=self.position_interpolation,
            lrs=self.lrs,
            search_epochs=self.search_epochs,
            seeds=self.seeds,
            recipe={**study.recipe, **self.recipe, **condition.recipe},
            device=self.device,
            threads=self.threads_per_run(),
            workers=self.workers,
            flip=self.flip,
            test_every=self.test_every,
            test_batch_size=self.test_batch_size,
            checkpoints=self.checkpoints,
            again=self.again,
            plugins=self.plugins,
        )
