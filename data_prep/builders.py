"""TFDS builders: one for each released dataset, and one for own data."""

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

# Number of damaged shards that a message lists.
_DAMAGES_SHOWN = 3

FULL = tfds.core.BuilderConfig(name="full", description="frames as released")
INPUT = tfds.core.BuilderConfig(
    name="input",
    description="frames for training and validation at the network's input size",
)


class SaliencyBuilder(tfds.core.GeneratorBasedBuilder):
    """Stores one record per frame in array_record files, with the frames of a video consecutive.

    It writes records directly to their shards. TFDS's writer collects a whole split first to shuffle it, and
    above 1 GB requires TensorFlow for that.
    """

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Run `unisal prepare NAME --raw DIR --data-dir DATA_DIR`, or pass the folder of the unpacked release "
        "as `manual_dir` of `tfds.download.DownloadConfig`."
    )

    def __init__(self, *, seed: int = 0, partial: bool = False, show_progress: bool = False, **kwargs: Any):
        """Makes the builder.

        Args:
          seed: seed of the validation videos or cross-validation folds, if these are not official.
          partial: accept an incomplete release.
          show_progress: show a progress bar on stderr if it is a terminal.
          **kwargs: as for any TFDS builder.
        """
        self.seed = seed
        self.partial = partial
        self.show_progress = show_progress
        self._planned: tuple[Path, Release, dict[str, tuple[Shard, ...]]] | None = None
        try:
            super().__init__(file_format="array_record", **kwargs)
        except Exception as error:
            # This reads an existing prepared dataset. Its exceptions depend on the damaged file.
            raise UnisalError(
                f"{kwargs.get('data_dir')}: a prepared dataset in it is damaged ({one_line(error)}); "
                "remove it"
            ) from error

    @abc.abstractmethod
    def scan(self, root: Path) -> Release:
        """Reads the release's layout.

        Raises:
          UnisalError: files are missing.
        """

    def fitting(self, split: str) -> Fitting | None:
        """How to resize a split's frames; None stores them as released."""
        return None

    @property
    def resolution(self) -> str:
        """`full` or `input`."""
        return "full"

    @property
    def label(self) -> str:
        """The dataset's name, for messages."""
        return self.name

    @property
    def stage(self) -> Path:
        """The hidden folder for finished shards, next to the dataset's folder."""
        return Path(self.data_path.parent) / f".{self.version}.shards"

    def plan(self, root: Path) -> tuple[Release, dict[str, tuple[Shard, ...]]]:
        """The release, and the shards of each split."""
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
        """As for any TFDS builder; `data_prep.prepare.prepare` also locks, resumes and verifies."""
        super().download_and_prepare(**kwargs)
        shutil.rmtree(self.stage, ignore_errors=True)

    def as_dataset(self, *args: Any, **kwargs: Any) -> Any:
        """As for any TFDS builder: the tf.data.Dataset that `tfds.load` returns.

        Raises:
          UnisalError: TensorFlow is not installed.
        """
        if importlib.util.find_spec("tensorflow") is None:
            raise UnisalError(f"{self.name}: tfds.load requires TensorFlow; tfds.data_source does not")
        return super().as_dataset(*args, **kwargs)

    def _as_dataset(
        self, split: Any, decoders: Any = None, read_config: Any = None, shuffle_files: bool = False
    ) -> Any:
        """The records in order, from the data source: TFDS does not read array_record files as tf.data."""
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

    # TFDS's interface to read a builder's examples without preparing them. `write_shard` uses the same
    # records.
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
            # Another run cannot use them.
            shutil.rmtree(self.stage)
            raise
        # Written before the folder is renamed to its final name, so that it only appears complete.
        write_manifest(Path(self.data_path), manifest)
        return infos


def _check_inside(counts: dict[str, dict[str, int]], root: Path) -> None:
    """Raises UnisalError if there are fixations, but none inside its image."""
    outside = sum(count["outside"] for count in counts.values())
    if outside and not any(count["fixations"] for count in counts.values()):
        raise UnisalError(
            f"{root}: all {outside} fixations are outside their images; x and y must be in pixels, from the "
            "left and upper edge"
        )


def _write_here(shards: Sequence[Shard], stage: Path, show_progress: bool) -> None:
    """Writes the shards one after the other, and reports all damage at the end."""
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
            # Each worker writes whole shards. Their facts are read from the shared folder.
            _ = pipeline | beam.Create(list(shards)) | beam.Reshuffle() | beam.Map(write_shard, stage)
    except RuntimeError as error:
        # An exception from another process contains the text of a traceback, with the reason last.
        reason = str(error).strip().splitlines()[-1]
        raise UnisalError(f"Apache Beam: {reason}") from error


def _take(shard: Shard, stage: Path, path: Path) -> StoredShard:
    """Links a finished shard into the dataset; it stays in the stage until the dataset is complete."""
    facts = shard_facts(shard, stage)
    if facts is None:
        raise UnisalError(f"{stage}: a shard that was just written is missing")
    source = shard_file(shard, stage)
    try:
        os.link(source, path)
    except OSError:
        # Some file systems do not support hard links.
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
        """`full` or `input`, the builder's config."""
        return self.builder_config.name

    @property
    def about(self) -> str:
        """One line on the dataset."""
        return f"{self.dataset.title}: {self.dataset.about}."

    def fitting(self, split: str) -> Fitting | None:
        """The domain's training geometry; None for the test split, which is scored at the released size."""
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
    """MIT1003, only as released, as its images have many sizes."""

    dataset = DATASETS["mit1003"]
    BUILDER_CONFIGS: ClassVar = [FULL]


class Mit300(ReleasedBuilder):
    """MIT300, only as released, as its images have many sizes."""

    dataset = DATASETS["mit300"]
    BUILDER_CONFIGS: ClassVar = [FULL]


class _AnyName(dict[str, tfds.core.BuilderConfig]):
    """A dict of configs that contains every name, so that TFDS passes any name to the builder."""

    def __contains__(self, name: object) -> bool:
        return True


class Own(SaliencyBuilder):
    """Own data, at full resolution; each collection is a config under `own/`."""

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
          config: name of the collection; by default the only prepared one.
          scan: reads the layout of the folder passed to `prepare`.
          data_dir: folder of all prepared datasets; by default TFDS's.
          **kwargs: as for `SaliencyBuilder`.

        Raises:
          UnisalError: `config` is None, and there is not exactly one prepared collection.
        """
        self._scan_own = scan
        name = config or self._only(Path(data_dir or tfds.core.constants.DATA_DIR))
        # Suppresses TFDS's warning about a config that is not in the class's list.
        level = logging.get_verbosity()
        logging.set_verbosity(logging.ERROR)
        try:
            super().__init__(
                config=tfds.core.BuilderConfig(name=name, description="own data"), data_dir=data_dir, **kwargs
            )
        finally:
            logging.set_verbosity(level)

    def _only(self, data_dir: Path) -> str:
        """The name of the only prepared collection in the folder of all prepared datasets."""
        folder = data_dir / self.name
        infos = sorted(folder.glob(f"*/{self.VERSION}/dataset_info.json"))
        there = [path.parent.parent.name for path in infos]
        if len(there) != 1:
            held = f"contains {', '.join(there)}" if there else "contains no prepared collection"
            raise UnisalError(
                f"{folder}: {held}; specify one, as {self.name}/{there[0] if there else 'NAME'}"
            )
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
