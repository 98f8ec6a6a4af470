"""The TFDS builders: one a released dataset, and one for own data."""

import abc
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from absl import logging
from tqdm import tqdm

from data_prep.manifest import StoredShard, build_manifest, source_digest, write_manifest
from data_prep.records import Fitting, read_records
from data_prep.shards import (
    CannotStore,
    Shard,
    frame_total,
    plan_shards,
    shard_facts,
    shard_file,
    write_shard,
)
from unisal_jax.data.geometry import TRAINING
from unisal_jax.data.layouts.datasets import DATASETS, Dataset
from unisal_jax.data.layouts.own import scan_folders
from unisal_jax.data.layouts.releases import Release
from unisal_jax.data.stored import FEATURES
from unisal_jax.errors import UnisalError, one_line
from unisal_jax.packages import install_command

# How many of the shards with damaged files a message tells of.
_DAMAGES_SHOWN = 3

FULL = tfds.core.BuilderConfig(name="full", description="frames as released")
INPUT = tfds.core.BuilderConfig(
    name="input",
    description="frames of train and validation at the size that training feeds to the network",
)


class SaliencyBuilder(tfds.core.GeneratorBasedBuilder):
    """A record a frame, all frames of a video in a row and in order, in array_record files.

    Records are written straight to their shards: TFDS's own writer first collects a whole split to
    shuffle it, and beyond 1 GB needs TensorFlow for that.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Run `unisal prepare NAME --raw DIR --data-dir DATA_DIR`, or give the folder of the unpacked release "
        "as `manual_dir` of `tfds.download.DownloadConfig`."
    )

    def __init__(self, *, seed: int = 0, partial: bool = False, show_progress: bool = False, **kwargs: Any):
        """Makes the builder.

        Args:
            seed: decides the validation videos or folds, where these are not official.
            partial: prepare what is there of the release, instead of refusing what is not whole.
            show_progress: a bar on stderr, where that is a terminal.
            **kwargs: as for every TFDS builder.
        """
        self.seed = seed
        self.partial = partial
        self.show_progress = show_progress
        self._planned: tuple[Path, Release, dict[str, tuple[Shard, ...]]] | None = None
        try:
            super().__init__(file_format="array_record", **kwargs)
        except Exception as error:
            # What is prepared already is read here, and what that raises depends on the file at fault.
            raise UnisalError(
                f"{kwargs.get('data_dir')}: a prepared dataset in it is damaged ({one_line(error)}); "
                "remove it"
            ) from error

    @abc.abstractmethod
    def scan(self, root: Path) -> Release:
        """Reads the release's layout.

        Raises:
            UnisalError: something is missing.
        """

    def fitting(self, split: str) -> Fitting | None:
        """What a split's frames are stored with."""
        return None

    @property
    def resolution(self) -> str:
        """`full` or `input`."""
        return "full"

    @property
    def label(self) -> str:
        """The dataset's name for people."""
        return self.name

    @property
    def stage(self) -> Path:
        """Where finished shards wait for the others: beside the dataset's folder, hidden."""
        return Path(self.data_path.parent) / f".{self.version}.shards"

    def plan(self, root: Path) -> tuple[Release, dict[str, tuple[Shard, ...]]]:
        """What there is to do: the release, and each split's shards."""
        if self._planned is None or self._planned[0] != root:
            release = self.scan(root)
            fittings = {split: self.fitting(split) for split in release.splits}
            self._planned = root, release, plan_shards(release, fittings)
        return self._planned[1:]

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self, description=self.about, features=FEATURES, disable_shuffling=True
        )

    @property
    @abc.abstractmethod
    def about(self) -> str:
        """One line on the dataset."""

    def _split_generators(self, dl_manager: Any) -> dict[str, tuple[Shard, ...]]:
        return self.plan(Path(dl_manager.manual_dir))[1]

    def download_and_prepare(self, **kwargs: Any) -> None:
        """As every TFDS builder; `data_prep.prepare.prepare` also locks, resumes and verifies."""
        super().download_and_prepare(**kwargs)
        shutil.rmtree(self.stage, ignore_errors=True)

    def as_dataset(self, *args: Any, **kwargs: Any) -> Any:
        """As every TFDS builder, what `tfds.load` gives: a tf.data.Dataset.

        Raises:
            UnisalError: TensorFlow is not installed.
        """
        if importlib.util.find_spec("tensorflow") is None:
            raise UnisalError(
                f"{self.name}: tfds.load gives tf.data, which needs TensorFlow; tfds.data_source needs none"
            )
        return super().as_dataset(*args, **kwargs)

    def _as_dataset(
        self, split: Any, decoders: Any = None, read_config: Any = None, shuffle_files: bool = False
    ) -> Any:
        """The records in their order, by the data source: TFDS makes no tf.data of array_record files."""
        import tensorflow as tf

        raw = self.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
        records = tf.data.Dataset.from_generator(
            lambda: (raw[number] for number in range(len(raw))), output_signature=tf.TensorSpec((), tf.string)
        )
        decoded = records.map(
            lambda record: self.info.features.deserialize_example(record, decoders=decoders),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        return decoded.apply(tf.data.experimental.assert_cardinality(len(raw)))

    # TFDS's way to see a builder's examples without preparing them; `write_shard` takes the same records.
    def _generate_examples(self, shard: Shard) -> Iterator[tuple[int, dict[str, Any]]]:
        records = read_records(shard.clips, shard.fitting)
        return ((number, record.example()) for number, record in enumerate(records))

    def _generate_splits(self, dl_manager: Any, download_config: Any) -> list[tfds.core.SplitInfo]:
        plan = self._split_generators(dl_manager)
        release = self.plan(Path(dl_manager.manual_dir))[0]
        shards = [shard for some in plan.values() for shard in some]
        self.stage.mkdir(parents=True, exist_ok=True)
        if download_config.beam_runner:
            _write_with_beam(shards, self.stage, download_config.beam_runner)
        else:
            _write_here(shards, self.stage, self.show_progress)
        stored: dict[str, list[StoredShard]] = {}
        infos = []
        for split, some in plan.items():
            template = self._get_filename_template(split_name=split)
            stored[split] = [
                _take(shard, self.stage, Path(template.sharded_filepath(shard_index=i, num_shards=len(some))))
                for i, shard in enumerate(some)
            ]
            infos.append(
                tfds.core.SplitInfo(
                    name=split,
                    shard_lengths=[shard.facts["records"] for shard in stored[split]],
                    num_bytes=sum(shard.facts["bytes"] for shard in stored[split]),
                    filename_template=template,
                )
            )
        source = source_digest(plan, release)
        manifest = build_manifest(self.label, self.resolution, self.seed, release, source, stored)
        try:
            _check_inside(manifest["counts"], release.root)
        except UnisalError:
            # Another run will not want them.
            shutil.rmtree(self.stage)
            raise
        # Still under the folder's temporary name: whoever sees the folder sees it whole.
        write_manifest(Path(self.data_path), manifest)
        return infos


def _check_inside(counts: dict[str, dict[str, int]], root: Path) -> None:
    """Raises UnisalError if there are fixations, and none lies inside its image."""
    outside = sum(count["outside"] for count in counts.values())
    if outside and not any(count["fixations"] for count in counts.values()):
        raise UnisalError(
            f"{root}: all {outside} fixations lie outside of their images; x and y are in pixels, from the "
            "left and upper edge"
        )


def _write_here(shards: Sequence[Shard], stage: Path, show_progress: bool) -> None:
    """Writes the shards one after the other, and tells of all damage at once."""
    waiting = [shard for shard in shards if shard_facts(shard, stage) is None]
    damages = []
    with tqdm(total=frame_total(waiting), unit=" frames", disable=None if show_progress else True) as bar:
        for shard in waiting:
            try:
                write_shard(shard, stage, bar.update)
            except CannotStore:
                raise
            except UnisalError as error:
                damages.append(str(error))
    if damages:
        more = f"; and {len(damages) - _DAMAGES_SHOWN} more" if len(damages) > _DAMAGES_SHOWN else ""
        raise UnisalError("; ".join(damages[:_DAMAGES_SHOWN]) + more)


def _write_with_beam(shards: Sequence[Shard], stage: Path, runner: str) -> None:
    """Writes the shards on the workers of an Apache Beam runner, which share the disk."""
    try:
        import apache_beam as beam
    except ImportError as error:
        raise UnisalError(
            f"--beam-runner requires apache-beam; install it with: {install_command('beam')}"
        ) from error
    try:
        with beam.Pipeline(runner=runner) as pipeline:
            # Each worker takes whole shards; what they say of them is read from the shared folder.
            _ = pipeline | beam.Create(list(shards)) | beam.Reshuffle() | beam.Map(write_shard, stage)
    except RuntimeError as error:
        # What workers in other processes raise comes as the text of a traceback, the reason last.
        reason = str(error).strip().splitlines()[-1]
        raise UnisalError(f"Apache Beam: {reason}") from error


def _take(shard: Shard, stage: Path, path: Path) -> StoredShard:
    """Gives a finished shard its name in the dataset, and leaves it in the stage until all is done."""
    facts = shard_facts(shard, stage)
    if facts is None:
        raise UnisalError(f"{stage}: a shard is not there that was just written")
    source = shard_file(shard, stage)
    try:
        os.link(source, path)
    except OSError:
        # Not every file system has hard links.
        shutil.copyfile(source, path)
    return StoredShard(path.name, facts)


class ReleasedBuilder(SaliencyBuilder):
    """A released dataset of the table `DATASETS`."""

    BUILDER_CONFIGS: ClassVar = [FULL, INPUT]

    def __init__(self, *, seed: int | None = None, **kwargs: Any):
        super().__init__(seed=self.dataset.seed if seed is None else seed, **kwargs)

    @property
    @abc.abstractmethod
    def dataset(self) -> Dataset:
        """Its entry in the table."""

    def scan(self, root: Path) -> Release:
        """Reads the release's layout."""
        return self.dataset.scan(root, self.partial, self.seed)

    @property
    def resolution(self) -> str:
        """`full` or `input`, as the builder's config says."""
        return self.builder_config.name

    @property
    def about(self) -> str:
        """One line on the dataset."""
        return f"{self.dataset.title}: {self.dataset.about}."

    def fitting(self, split: str) -> Fitting | None:
        """The domain's training geometry, but for the test split: scores are taken at the released size."""
        if self.resolution == FULL.name or split == "test" or self.dataset.domain is None:
            return None
        return Fitting(TRAINING[self.name], self.dataset.domain)


class Dhf1k(ReleasedBuilder):
    """DHF1K."""

    dataset = DATASETS["dhf1k"]


class Hollywood2(ReleasedBuilder):
    """Hollywood-2."""

    dataset = DATASETS["hollywood2"]


class UcfSports(ReleasedBuilder):
    """UCF Sports."""

    dataset = DATASETS["ucf_sports"]


class Salicon(ReleasedBuilder):
    """SALICON."""

    dataset = DATASETS["salicon"]


class Mit1003(ReleasedBuilder):
    """MIT1003, whose images have many sizes: only as released."""

    dataset = DATASETS["mit1003"]
    BUILDER_CONFIGS: ClassVar = [FULL]


class Mit300(ReleasedBuilder):
    """MIT300, whose images have many sizes: only as released."""

    dataset = DATASETS["mit300"]
    BUILDER_CONFIGS: ClassVar = [FULL]


class _AnyName(dict[str, tfds.core.BuilderConfig]):
    """Configs among which TFDS finds every name, so that it asks the builder for it."""

    def __contains__(self, name: object) -> bool:
        return True


class Own(SaliencyBuilder):
    """Own data, as released; each collection is a config of its own under `own/`."""

    builder_configs = _AnyName()

    def __init__(
        self,
        *,
        config: str | None = None,
        scan: Callable[[Path], Release] = scan_folders,
        data_dir: str | Path | None = None,
        **kwargs: Any,
    ):
        """Makes the builder.

        Args:
            config: name of the collection; by default the only one that is prepared.
            scan: reads the folder that `prepare` is given.
            data_dir: folder of all prepared datasets; by default TFDS's.
            **kwargs: as for `SaliencyBuilder`.

        Raises:
            UnisalError: no collection is named, and there is none or more than one.
        """
        self._scan_own = scan
        name = config or self._only(Path(data_dir or tfds.core.constants.DATA_DIR))
        # TFDS warns of every config that is not in its class's list.
        level = logging.get_verbosity()
        logging.set_verbosity(logging.ERROR)
        try:
            super().__init__(
                config=tfds.core.BuilderConfig(name=name, description="own data"), data_dir=data_dir, **kwargs
            )
        finally:
            logging.set_verbosity(level)

    def _only(self, data_dir: Path) -> str:
        """The one collection that is prepared in the folder of all prepared datasets."""
        folder = data_dir / self.name
        infos = sorted(folder.glob(f"*/{self.VERSION}/dataset_info.json"))
        there = [path.parent.parent.name for path in infos]
        if len(there) != 1:
            held = f"holds {', '.join(there)}" if there else "holds no prepared collection"
            raise UnisalError(f"{folder}: {held}; name one, as {self.name}/{there[0] if there else 'NAME'}")
        return there[0]

    @property
    def label(self) -> str:
        """`own/` and the collection's name."""
        return f"{self.name}/{self.builder_config.name}"

    def scan(self, root: Path) -> Release:
        """Reads the data's layout."""
        return self._scan_own(root)

    @property
    def about(self) -> str:
        """One line on the dataset."""
        return "Own images or videos and where people looked at them."


BUILDERS: dict[str, type[ReleasedBuilder]] = {
    cls.name: cls for cls in (Dhf1k, Hollywood2, UcfSports, Salicon, Mit1003, Mit300)
}
