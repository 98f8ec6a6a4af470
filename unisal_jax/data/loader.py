"""The stream of training batches: grain reads ahead, the order is ours.

Batch number `step` of epoch `epoch` is a pure function of the seed and these two. So it does not
matter how many threads or processes read, and a restart needs the two numbers only.
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
    """This process's share of a batch; all of it is of one domain.

    Attributes:
      epoch, step: its place in the stream, both from 0.
      domain: whose parameters it trains.
      ids: `dataset/split/video/first frame` of each example, for messages.
      arrays: what goes to the device.
    """

    epoch: int
    step: int
    domain: Domain
    ids: tuple[str, ...]
    arrays: Arrays


class State(TypedDict):
    """Where a stream stands: the next batch. `stream` tells which stream it is of."""

    epoch: int
    step: int
    stream: int


@dataclasses.dataclass(frozen=True)
class Steps:
    """All batches of all epochs, by number: what grain reads from.

    Attributes:
      examples: of each domain, by its name.
      seed: of everything that is drawn.
      epochs: how many.
      order: of the domains' batches.
      shard_index, shard_count: this process's number, and how many there are: each gets
        its consecutive part of every batch.
    """

    examples: dict[str, Examples]
    seed: int
    epochs: int
    order: Order
    shard_index: int
    shard_count: int

    @property
    def batches(self) -> dict[str, int]:
        """Batches of each domain in an epoch."""
        return {name: each.batches for name, each in self.examples.items()}

    def __len__(self) -> int:
        return self.epochs * sum(self.batches.values())

    def __getitem__(self, number: int) -> Batch:
        epoch, step = divmod(number, sum(self.batches.values()))
        # Made again for each batch: next to reading one it costs nothing.
        name, batch = epoch_plan(self.batches, self.order, self.seed, epoch)[step]
        examples = self.examples[name]
        share = examples.source.batch_size // self.shard_count
        chosen = choose_batch(examples, self.seed, epoch, batch)
        mine = chosen[self.shard_index * share : (self.shard_index + 1) * share]
        arrays, ids = read_batch(examples, mine, self.seed, epoch)
        return Batch(epoch, step, examples.source.domain, ids, arrays)


class Loader(Iterator[Batch]):
    """The batches of `epochs` epochs, one after the other.

    Attributes:
      examples: of each domain, by its name: what there is, and what was dropped.
      steps_per_epoch: batches of all domains in one epoch.
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
        """Lists the examples; nothing is read before the first batch is asked for.

        Args:
          sources: one for each domain.
          seed: at least 0.
          order: see `plan.Order`.
          workers: processes that read; 0 reads in this one. They are spawned, so the program's own
            file must not start training when it is imported.
          threads: how many batches each reading process works on at once; 0 reads a batch only when
            it is asked for.
          shard_index: this process's number among those that train together. Each gets its consecutive
            part of every batch.
          shard_count: how many processes train together.

        Raises:
          UnisalError: two sources of one domain, one that does not fill a batch, a batch that the
            processes cannot share evenly, or no such process.
        """
        if not 0 <= shard_index < shard_count:
            raise UnisalError(f"process {shard_index} of {shard_count}: they are numbered from 0")
        self.examples: dict[str, Examples] = {}
        for source in sources:
            if source.domain.name in self.examples:
                raise UnisalError(f"two sources for the domain {source.domain.name!r}")
            if source.batch_size % shard_count:
                raise UnisalError(
                    f"domain {source.domain.name}: a batch of {source.batch_size} cannot be shared by "
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
            # Arrays from another process lie in shared memory, which goes away under their views.
            batch = batch._replace(arrays=Arrays(*(np.array(array) for array in batch.arrays)))
        return batch

    def get_state(self) -> State:
        """Where the stream stands: small, and fit for JSON. The workers' number is no part of it."""
        epoch, step = divmod(self._position, self.steps_per_epoch)
        return {"epoch": epoch, "step": step, "stream": self._stream}

    def set_state(self, state: State) -> None:
        """Goes to where `get_state` was called, on this or another loader of the same stream.

        Raises:
          UnisalError: the state is of another stream: other data, seed, order or batch size.
        """
        if state["stream"] != self._stream:
            raise UnisalError("the saved position is of other data, or of another seed, order or batch size")
        self.close()
        self._position = state["epoch"] * self.steps_per_epoch + state["step"]

    def close(self) -> None:
        """Ends the reading threads or processes; the next batch starts them again."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _read_on(self) -> grain.DatasetIterator:
        options = grain.ReadOptions(num_threads=self._threads, prefetch_buffer_size=self._threads)
        steps = grain.MapDataset.source(self._steps)[self._position :].to_iter_dataset(options)
        if self._workers:
            if not flags.FLAGS.is_parsed():
                # grain's processes ask for its flags, which only programs started by absl have parsed.
                flags.FLAGS.mark_as_parsed()
            steps = steps.mp_prefetch(grain.MultiprocessingOptions(num_workers=self._workers))
        return iter(steps)


def _fingerprint(steps: Steps) -> int:
    """A number that differs for streams that differ; the process's share is no part of it."""
    parts = [repr((steps.seed, steps.order))]
    for name, each in steps.examples.items():
        source = each.source
        ids = [source.prepared.videos[position].id for group in each.groups for position in group]
        flip = source.augmentation.flip
        parts.append(repr((name, source.batch_size, each.shape, source.fixed_clips, flip, ids)))
        # Apart, so that a training of before there were other changes resumes.
        if source.augmentation != Augmentation(flip):
            parts.append(repr(source.augmentation))
    return zlib.crc32("\n".join(parts).encode())
