"""The stream of training batches. Grain reads ahead; this module determines the order.

Batch number `step` of epoch `epoch` is a pure function of these two numbers and the seed. So the number of
threads and processes does not matter, and resuming requires only the two numbers.
"""

import dataclasses
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypedDict

import grain
import numpy as np
from absl import flags

from unisal_jax.data.augment import Augmentation
from unisal_jax.data.examples import Arrays, DomainSource, Examples, choose_batch, find_examples, read_batch
from unisal_jax.data.plan import Order, epoch_plan
from unisal_jax.domains import Domain
from unisal_jax.errors import UnisalError


class Batch(NamedTuple):
    """This process's part of a batch, from one domain.

    Attributes:
      epoch, step: its position in the stream, both from 0.
      domain: the domain.
      ids: `dataset/split/video/first frame` of each example, for messages.
      arrays: the arrays for the device.
    """

    epoch: int
    step: int
    domain: Domain
    ids: tuple[str, ...]
    arrays: Arrays


class State(TypedDict):
    """The position of a stream, at the next batch; `stream` identifies the stream."""

    epoch: int
    step: int
    stream: int


@dataclasses.dataclass(frozen=True)
class Steps:
    """All batches of all epochs, by number: Grain's data source.

    Attributes:
      examples: domain name -> its examples.
      seed: the seed of all random draws.
      epochs: number of epochs.
      order: the order of the domains' batches.
      shard_index, shard_count: this process's number, and the number of processes. Each gets a consecutive
        part of every batch.
    """

    examples: dict[str, Examples]
    seed: int
    epochs: int
    order: Order
    shard_index: int
    shard_count: int

    @property
    def batches(self) -> dict[str, int]:
        """Number of batches of each domain per epoch."""
        return {name: each.batches for name, each in self.examples.items()}

    def __len__(self) -> int:
        return self.epochs * sum(self.batches.values())

    def __getitem__(self, number: int) -> Batch:
        epoch, step = divmod(number, sum(self.batches.values()))
        # Computed again for each batch, which is negligible compared to reading one.
        name, batch = epoch_plan(self.batches, self.order, self.seed, epoch)[step]
        examples = self.examples[name]
        share = examples.source.batch_size // self.shard_count
        chosen = choose_batch(examples, self.seed, epoch, batch)
        mine = chosen[self.shard_index * share : (self.shard_index + 1) * share]
        arrays, ids = read_batch(examples, mine, self.seed, epoch)
        return Batch(epoch, step, examples.source.domain, ids, arrays)


class Loader(Iterator[Batch]):
    """An iterator over the batches of `epochs` epochs.

    Attributes:
      examples: domain name -> its examples.
      steps_per_epoch: number of batches per epoch, of all domains.
    """

    def __init__(
        self,
        sources: Sequence[DomainSource],
        *,
        seed: int,
        epochs: int = 1,
        order: Order = "random",
        workers: int = 0,
        threads: int = 2,
        shard_index: int = 0,
        shard_count: int = 1,
    ):
        """Lists the examples. Reading starts with the first batch.

        Args:
          sources: one source for each domain.
          seed: the seed, at least 0.
          epochs: number of epochs.
          order: see `plan.Order`.
          workers: number of processes that read; 0 reads in this process. They are spawned, so the main
            module must not start training when it is imported.
          threads: number of batches that each process reads at the same time; 0 does not read ahead.
          shard_index: this process's number among the training processes. Each gets a consecutive part of
            every batch.
          shard_count: number of training processes.

        Raises:
          UnisalError: two sources have the same domain, a source does not fill a batch, a batch cannot be
            divided among the processes, or there is no such process.
        """
        if not 0 <= shard_index < shard_count:
            raise UnisalError(f"process {shard_index} of {shard_count}: processes are numbered from 0")
        self.examples: dict[str, Examples] = {}
        for source in sources:
            if source.domain.name in self.examples:
                raise UnisalError(f"two sources for the domain {source.domain.name!r}")
            if source.batch_size % shard_count:
                raise UnisalError(
                    f"domain {source.domain.name}: a batch of {source.batch_size} cannot be divided among "
                    f"{shard_count} processes"
                )
            self.examples[source.domain.name] = find_examples(source)
        self._steps = Steps(self.examples, seed, epochs, order, shard_index, shard_count)
        self.steps_per_epoch = sum(self._steps.batches.values())
        self._stream = _fingerprint(self._steps)
        self._workers, self._threads = workers, threads
        self._position = 0
        self._reader: grain.DatasetIterator | None = None

    def __next__(self) -> Batch:
        """The next batch.

        Raises:
          UnisalError: a record in it is damaged or has no ground truth.
        """
        if self._position >= len(self._steps):
            self.close()
            raise StopIteration
        if self._reader is None:
            self._reader = self._read_on()
        batch = next(self._reader)
        self._position += 1
        if self._workers:
            # Copies arrays from another process: they are in shared memory, which is freed too early.
            batch = batch._replace(arrays=Arrays(*(np.array(array) for array in batch.arrays)))
        return batch

    def get_state(self) -> State:
        """The position of the stream, small and JSON-serialisable. It does not depend on the workers."""
        epoch, step = divmod(self._position, self.steps_per_epoch)
        return {"epoch": epoch, "step": step, "stream": self._stream}

    def set_state(self, state: State) -> None:
        """Moves to a position from `get_state` of this or another loader of the same stream.

        Raises:
          UnisalError: the state is from another stream, with other data, seed, order or batch size.
        """
        if state["stream"] != self._stream:
            raise UnisalError("the saved position is for other data, or another seed, order or batch size")
        self.close()
        self._position = state["epoch"] * self.steps_per_epoch + state["step"]

    def close(self) -> None:
        """Stops the reading threads or processes; the next batch starts them again."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _read_on(self) -> grain.DatasetIterator:
        options = grain.ReadOptions(num_threads=self._threads, prefetch_buffer_size=self._threads)
        steps = grain.MapDataset.source(self._steps)[self._position :].to_iter_dataset(options)
        if self._workers:
            if not flags.FLAGS.is_parsed():
                # Grain's processes read its flags, which are only parsed in programs started by absl.
                flags.FLAGS.mark_as_parsed()
            steps = steps.mp_prefetch(grain.MultiprocessingOptions(num_workers=self._workers))
        return iter(steps)


def _fingerprint(steps: Steps) -> int:
    """A fingerprint of the stream, the same for all its shards."""
    parts = [repr((steps.seed, steps.order))]
    for name, each in steps.examples.items():
        source = each.source
        ids = [source.prepared.videos[position].id for group in each.groups for position in group]
        flip = source.augmentation.flip
        parts.append(repr((name, source.batch_size, each.shape, source.fixed_clips, flip, ids)))
        # Added only if set, so that trainings from versions without other augmentations can be resumed.
        if source.augmentation != Augmentation(flip):
            parts.append(repr(source.augmentation))
    return zlib.crc32("\n".join(parts).encode())
