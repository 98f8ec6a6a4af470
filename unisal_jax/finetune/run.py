"""A fine-tuning from data to report, in stages; finished stages are not repeated."""

import dataclasses
import json
import shlex
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from unisal_jax.data.examples import find_examples
from unisal_jax.data.prepared import write_division
from unisal_jax.documents import read_json, write_json
from unisal_jax.domains import DHF1K, SALICON, Domain
from unisal_jax.errors import UnisalError
from unisal_jax.evaluate.examples import resized_density, shrunk
from unisal_jax.evaluate.predictions import NetworkMaps
from unisal_jax.evaluate.sources import Group, ScoringData, closing_frames, open_data
from unisal_jax.evaluate.wording import SCORE_TITLES, printable
from unisal_jax.files import write_text
from unisal_jax.finetune import folder as folders
from unisal_jax.finetune import plan as planning
from unisal_jax.finetune import scores
from unisal_jax.finetune.blend import Blend, blend
from unisal_jax.finetune.effort import Effort
from unisal_jax.finetune.folder import FinetunePlan
from unisal_jax.finetune.plan import SPLITS, TEST, TRAIN, Facts, Moved
from unisal_jax.finetune.recipe import Material, recipe, runs, variant
from unisal_jax.finetune.report import Curves, Report, Shown, ranked, summary, to_json
from unisal_jax.finetune.report_html import page
from unisal_jax.predict.model import load
from unisal_jax.train import experiments
from unisal_jax.train.cloud import BEST
from unisal_jax.train.config import TrainConfig
from unisal_jax.train.fields import typed
from unisal_jax.train.inputs import open_sources
from unisal_jax.train.logs import SCALARS, read_list
from unisal_jax.train.loop import train
from unisal_jax.train.workdir import VALIDATIONS, best_step
from unisal_jax.version import __version__
from unisal_jax.weights.fetch import PACK_SUFFIX
from unisal_jax.weights.packs import release_of, save_pack
from unisal_jax.weights.sources import fetched, resolve
from unisal_jax.weights.store import load_weights, save_weights

RELEASED = "unisal"
# Number of held-out frames in the report.
_SHOWN = {"image": 5, "video": 3}

Tell = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class FinetuneOptions:
    """Options of a fine-tuning; None lets the data decide.

    Attributes:
      data: folder of a prepared dataset.
      out: folder of the fine-tuning.
      domain: name of the new domain.
      moved: what to train.
      seed: random seed of split, data order and dropout.
      fps: frames per second of the videos.
      overrides: overrides of the training config, such as `--config.epochs=2`.
    """

    data: Path
    out: Path
    domain: str | None = None
    moved: Moved | None = None
    seed: int = 0
    fps: float | None = None
    overrides: tuple[str, ...] = ()


def finetune(options: FinetuneOptions, tell: Tell) -> Report | None:
    """Divides the data, scores, trains, scores again, and writes the weights and the report.

    Args:
      options: the options.
      tell: prints a line: choices, progress and results.

    Returns:
      The report; None if SIGTERM stopped the training, which can then be resumed.

    Raises:
      UnisalError: the data cannot be used, the folder contains another fine-tuning, or as
        `train.loop.train`.
    """
    return _Run(options, tell).until_done()


def make_plan(options: FinetuneOptions, facts: Facts) -> FinetunePlan:
    """Makes the plan from the facts of the data and the options.

    Raises:
      UnisalError: there are too few stimuli, or an option is invalid.
    """
    division = planning.divide(facts, options.seed)
    moved, reason = planning.what_to_train(facts, division, options.moved)
    size, size_line = planning.frame_size(facts)
    domain = planning.domain_name(facts, options.domain)
    folder = facts.folder if division.own else options.out / folders.DATA
    blur, blur_line = planning.map_blur(facts) if facts.kind == "image" else (None, "")
    material = Material(folder.resolve(), domain, facts.kind, division.usable, size, facts.stride, blur)
    wanted = recipe(material, moved, options.seed)
    values = experiments.overridden(dataclasses.asdict(wanted), options.overrides)
    config: TrainConfig = typed(TrainConfig, values, "config")
    _check_overrides(wanted, config)
    settings = {
        "data": str(facts.folder.resolve()),
        "domain": domain,
        "train": moved,
        "seed": options.seed,
        "stride": facts.stride,
        "overrides": list(options.overrides),
    }
    rate = f"; frame stride {facts.stride}" if facts.kind == "video" else ""
    start = config.init.weights or config.init.encoder or "random weights"
    how = f"new domain {domain}, from {start}; {reason}"
    count = runs(material, moved)
    return FinetunePlan(
        settings,
        division,
        config,
        count,
        (*division.lines, how, f"{size_line}{rate}", *filter(None, [blur_line]), *facts.lines),
    )


def _check_overrides(wanted: TrainConfig, config: TrainConfig) -> None:
    """Refuses overrides that change the training data, as the scores would be of another split."""
    chosen = ("data", "train_split", "validation_split", "cross_validation_fold", "hold_out")
    if config.domains.keys() != wanted.domains.keys():
        raise UnisalError(f"config.domains: a fine-tuning has one domain, {', '.join(wanted.domains)}")
    for name, domain in config.domains.items():
        for field in chosen:
            if getattr(domain, field) != getattr(wanted.domains[name], field):
                raise UnisalError(f"config.domains.{name}.{field}: set by unisal finetune; remove it")


class _Run:
    """The stages, and the state that they share."""

    def __init__(self, options: FinetuneOptions, tell: Tell):
        self.options, self._tell, self.out = options, tell, options.out
        self.facts = planning.read_facts(options.data, options.fps)
        _check_apart(self.facts.folder, options.out)
        given = {"domain": options.domain, "train": options.moved}
        named = frozenset(name for name, value in given.items() if value is not None)
        self.plan = folders.start(options.out, make_plan(options, self.facts), named)
        self.domain_name = next(iter(self.plan.config.domains))
        self.video = self.facts.kind == "video"
        # As on the command line; the config contains the absolute path.
        self.data_folder = self.facts.folder if self.plan.division.own else self.out / folders.DATA

    def tell(self, line: str) -> None:
        self._tell(printable(line))

    def until_done(self) -> Report | None:
        """Runs all stages."""
        for line in self.plan.lines:
            self.tell(line)
        if not self.plan.division.own:
            parts = self.plan.division.parts
            write_division(self.data_folder, self.facts.folder, {split: parts[split] for split in SPLITS})
        finished = (self.out / folders.PAGE).exists()
        if finished:
            self.tell(f"{self.out}: already finished; choose another --out to repeat it")
        if not (self.out / folders.WEIGHTS).exists() and self.plan.config.init.weights is not None:
            # Fail before any computation if the weights are unavailable.
            fetched(resolve(self.plan.config.init.weights))
        before = self.scored("before", RELEASED, self.released.name)
        people = self.people()
        if not (self.out / folders.WEIGHTS).exists() and not self.train():
            return None
        weights = self.out / folders.WEIGHTS
        after = self.scored("after", weights, self.domain_name)
        report = self.report(before, after, people)
        if not finished:
            report = dataclasses.replace(report, shown=self.shown(before, after))
            write_text(self.out / folders.REPORT, to_json(report))
            write_text(self.out / folders.PAGE, page(report))
        for line in summary(report):
            self._tell(line)
        return report

    @cached_property
    def held_out(self) -> ScoringData:
        """The stimuli to test with."""
        return open_data(self.data_folder, TEST)

    @cached_property
    def prior(self) -> np.ndarray:
        """The centre prior, [H, W]."""
        return scores.prior_map(open_data(self.data_folder, TRAIN))

    @property
    def stride(self) -> int | None:
        """Frame stride; None for images."""
        return self.facts.stride if self.video else None

    @property
    def released(self) -> Domain:
        """The released domain for this type of data, which is scored before training."""
        return DHF1K if self.video else SALICON

    def scored(self, name: str, weights: str | Path, domain: str) -> scores.Document:
        """Scores of the held-out stimuli, from the stored file if there is one."""
        path = self.out / folders.SCORES / f"{name}.json"
        if (document := scores.stored(path)) is None:
            count = len(self.held_out.groups)
            self.tell(f"scoring {name} ({Path(weights).name}, domain {domain}) on {count} stimuli")
            model = load(weights)
            document = scores.score_model(
                path,
                self.held_out,
                model,
                model.domain(domain, video=self.video),
                self.stride,
                self.prior,
                {"weights": Path(weights).name},
                # The baseline is the same before and after.
                ("centre_prior",) if name == "before" else (),
            )
        means = ", ".join(
            f"{SCORE_TITLES[each]} {document['mean'][each]:.3f}"
            for each in ("nss", "cc", "kld")
            if each in document["mean"]
        )
        self.tell(f"{name}: {means}")
        return document

    def people(self) -> scores.Document | None:
        """Scores of the held-out stimuli by other observers; None if observers are unknown."""
        path = self.out / folders.SCORES / "people.json"
        if (document := scores.stored(path)) is not None:
            return document
        self.tell("scoring observers against each other")
        return scores.score_people(path, self.held_out, self.prior)

    def train(self) -> bool:
        """Trains and writes the weights; False if SIGTERM stopped it."""
        config = self.plan.config
        training, _ = open_sources(config, self.out)
        per_epoch = sum(find_examples(source).batches for source in training)
        patience = f"; stops after {config.patience} without improvement" if config.patience else ""
        count = self.plan.runs
        times = f"{count} trainings" if count > 1 else "training"
        self.tell(
            f"{times}: at most {config.epochs} epochs of {per_epoch} steps{' each' if count > 1 else ''}, "
            f"{count * config.epochs * per_epoch} in total; validates every epoch{patience}; compiles first"
        )
        for number, workdir in enumerate(self.workdirs):
            if count > 1:
                self.tell(f"training {number + 1} of {count}")
            outcome = train(variant(config, number), workdir, on_step=Effort(config, per_epoch, self.tell))
            if not outcome.finished:
                self.tell(f"stopped after step {outcome.step}; run the same command to resume")
                return False
        self.tell("choosing the blend with the initial weights, and the sharpness")
        weights, chosen = blend([load_weights(workdir / BEST) for workdir in self.workdirs], config, self.out)
        self.tell(
            f"{chosen.line}: validation loss {chosen.after['loss']:.4f}, {chosen.before['loss']:.4f} without"
        )
        write_json(self.out / folders.BLEND, chosen._asdict())
        if config.optimizer.domain_only:
            about = {"data": self.facts.name, "made_by": "unisal finetune"}
            start = Path(config.init.weights or "other weights").name
            base = release_of(weights.shared_sha256) or start
            save_pack(self.pack, weights, self.domain_name, about, base)
        save_weights(self.out / folders.WEIGHTS, weights)
        return True

    @property
    def chosen(self) -> Blend:
        """The stored blend."""
        path = self.out / folders.BLEND
        found = read_json(path, "the blend of a fine-tuning")
        try:
            return Blend(
                float(found["share"]), float(found["factor"]), dict(found["before"]), dict(found["after"])
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UnisalError(f"{path}: damaged ({error}); choose another --out") from error

    @property
    def workdirs(self) -> list[Path]:
        """Working folders of the trainings."""
        numbers = range(1, self.plan.runs + 1)
        return [self.out / (folders.TRAINING + (f"-{number}" if number > 1 else "")) for number in numbers]

    @property
    def pack(self) -> Path:
        """Path of the domain pack, written if only the domain's parameters are trained."""
        return self.out / f"{self.domain_name}{PACK_SUFFIX}"

    def report(
        self, before: scores.Document, after: scores.Document, people: scores.Document | None
    ) -> Report:
        """Makes the report, without example frames."""
        config = self.plan.config
        about = {
            "data": self.facts.name,
            "domain": self.domain_name,
            "before": f"{before['about']['weights']}, domain {before['about']['domain']}",
            "starts from": str(config.init.weights or config.init.encoder or "random weights"),
            "trained": {"all": "all weights", "domain": "only the domain's parameters"}[
                self.plan.settings["train"]
            ],
            "weights": f"{self.plan.runs} trainings, " * (self.plan.runs > 1) + self.chosen.line,
            "made by": f"unisal-jax {__version__}",
            "seed": str(self.plan.settings["seed"]),
            "overrides": " ".join(self.plan.settings["overrides"]) or "none",
        }
        if people is not None and people["counts"]["frames"] < after["counts"]["frames"]:
            about["other people"] = (
                f"scored on {people['counts']['frames']} of {after['counts']['frames']} frames"
            )
        files = {
            "the report": folders.PAGE,
            "scores and stimuli": folders.REPORT,
            "the weights": folders.WEIGHTS,
        }
        if self.pack.exists():
            files["the domain pack"] = self.pack.name
        return Report(
            self.facts.name,
            self.facts.kind,
            about,
            self.plan.lines,
            self.plan.division,
            before,
            after,
            people,
            self.curves(),
            self.commands(),
            {what: str(self.out / name) for what, name in files.items()},
        )

    def curves(self) -> Curves:
        """Reads the curves from the training logs."""
        workdir = self.workdirs[0]
        validations = read_list(workdir / VALIDATIONS)
        try:
            rows = [json.loads(line) for line in (workdir / SCALARS).read_text("utf-8").splitlines()]
            steps = [(int(row["step"]), float(row["loss"])) for row in rows if row["kind"] == "train"]
            epochs = [
                {"epoch": each["epoch"], "step": each["step"], **each["scores"][self.domain_name]}
                for each in validations
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UnisalError(f"{workdir}: the training logs are damaged ({error})") from error
        best = best_step(self.plan.config, validations)
        return Curves(tuple(steps), tuple(epochs), best or 0)

    def commands(self) -> dict[str, str]:
        """Commands that reproduce the scores and use the weights."""
        weights = str(self.out / folders.WEIGHTS)
        score = ["unisal", "evaluate", "--data", str(self.data_folder), "--split", TEST, "--prior", "train"]
        strided = ["--stride", str(self.stride)] if self.stride else []
        stimulus = "film.mp4" if self.video else "photo.jpg"
        given = {"--domain": self.options.domain, "--train": self.options.moved, "--fps": self.options.fps}
        again = ["unisal", "finetune", "--data", str(self.options.data), "--out", str(self.out)]
        again += [str(part) for pair in given.items() if pair[1] is not None for part in pair]
        again += ["--seed", str(self.options.seed)] if self.options.seed else []
        found = {
            "fine-tune": [*again, *self.options.overrides],
            "score before": [*score, "--domain", self.released.name, *strided],
            "score after": [*score, "--weights", weights, "--domain", self.domain_name, *strided],
            "predict": ["unisal", "predict", stimulus, "--weights", weights, "--out", "maps"],
        }
        if self.pack.exists():
            found["add the domain to the released weights"] = ["unisal", "weights", "add", str(self.pack)]
        return {what: shlex.join(words) for what, words in found.items()}

    def shown(self, before: scores.Document, after: scores.Document) -> tuple[Shown, ...]:
        """Example frames, from the largest gain to the largest loss; of a video, its middle frame."""
        _, order = ranked(before, after)
        places = np.unique(
            np.linspace(0, len(order) - 1, min(_SHOWN[self.facts.kind], len(order))).astype(int)
        )
        groups = {group.id: group for group in self.held_out.groups}
        maps = [
            NetworkMaps(model, self.held_out, model.domain(name, video=self.video), stride=self.stride)
            for model, name in (
                (load(RELEASED), self.released.name),
                (load(self.out / folders.WEIGHTS), self.domain_name),
            )
        ]
        found = []
        for place in places:
            name = order[place]
            pairs = {score: _pair(before, after, name, score) for score in scores.SCORES}
            known = {score: pair for score, pair in pairs.items() if pair is not None}
            found.append(_shown(groups[name], self.video, maps, known))
        return tuple(found)


def _pair(before: Any, after: Any, stimulus: str, score: str) -> tuple[float, float] | None:
    return scores.paired(before, after, score).get(stimulus)


def _shown(
    group: Group, video: bool, maps: Sequence[NetworkMaps], known: dict[str, tuple[float, float]]
) -> Shown:
    """The middle frame of a stimulus, with its truth and both predictions."""
    middle = len(group.frame_names) // 2
    with closing_frames(group) as frames:
        image = next(frame for number, frame in enumerate(frames) if number == middle)
    image = shrunk(image)
    size = image.shape[0], image.shape[1]
    densities = [
        resized_density(
            next(each for number, each in enumerate(method.maps(group)) if number == middle), size
        )
        for method in maps
    ]
    truth = resized_density(group.truth(middle).map, size)
    name = f"{group.id}, frame {middle + 1}" if video else group.id
    return Shown(name, known, image, truth, densities[0], densities[1])


def _check_apart(data: Path, out: Path) -> None:
    """Refuses an output folder inside the data folder."""
    inner, outer = out.resolve(), data.resolve()
    if inner == outer or outer in inner.parents:
        raise UnisalError(f"--out {out}: is inside the data folder {data}; choose another one")
