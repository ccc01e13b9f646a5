"""How fast propagation trains: beside the published procedure, the same network and clips, interleaved in one run.

    python -m benchmarks.training [--data FOLDER] [--rounds 3] [--steps 6] [--networks 18x0.125,50x0.5] [--crop 128]

All sides start every round from the same random weights and train on the same clips of the same videos, with the
published augmentation and losses. The published side reads BL30K's folders (benchmarks.loading) and steps as published
(benchmarks.published_training); ours is `train.loop.fit` on shards, as it is and with the setting ``channels_last``.
Clips are prepared in the training process, so that each step's time is all of its work: of the processor with one
thread, else of the clock on the wall. The first step of a round is left out.

Beside the table: how far the losses of both procedures are apart where both are given our clips, and in the timed
steps, whose clips differ: the published reader resamples by PIL, twice, and fills what lies beyond the crop. Where only
one of them finds no object large enough in a crop, it draws another clip.
"""

import argparse
import copy
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.table import Table
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.data import DataLoader, default_collate

from benchmarks.loading import PublishedReader, agree, one_thread, publish, rendered
from benchmarks.networks import seconds
from benchmarks.published_training import PublishedTraining
from mivos_models import Propagation, normalise_planes
from train.data.clips import ClipDataset, ClipSample, ShardDataset
from train.data.order import RunOrder
from train.loop import Step, fit
from train.propagation import propagation_loss
from train.settings import PropagationSettings
from vosforge.log import console
from vosforge.videos.folders import open_folder

PARTS = ("data", "forward", "backward", "optimiser", "rest")
PUBLISHED, OURS, CHANNELS_LAST = "published", "ours", "ours, channels last"


class Trained(NamedTuple):
    """The steps of a round: seconds by part of each but the first, and the losses of all."""

    seconds: list[dict[str, float]]
    losses: list[float]

    @property
    def per_step(self) -> float:
        """Seconds a step: the median."""
        return statistics.median(sum(parts.values()) for parts in self.seconds)

    def share(self, part: str) -> float:
        """The share of all time spent in ``part``."""
        return sum(parts[part] for parts in self.seconds) / sum(sum(parts.values()) for parts in self.seconds)


class Stopwatch:
    """Adds up the seconds of each part of each step."""

    def __init__(self) -> None:
        self.steps = [dict.fromkeys(PARTS, 0.0)]
        self.losses: list[float] = []
        self._last = seconds()

    def lap(self, part: str) -> None:
        """All since the last call was ``part``."""
        now = seconds()
        self.steps[-1][part] += now - self._last
        self._last = now

    def end_step(self, loss: float) -> None:
        """The step is over."""
        self.lap("rest")
        self.losses.append(loss)
        self.steps.append(dict.fromkeys(PARTS, 0.0))

    def result(self) -> Trained:
        """What was measured."""
        return Trained(self.steps[1:-1], self.losses)


Side = Callable[[Propagation, ClipDataset, PropagationSettings], Trained]


def train_published(network: Propagation, samples: ClipDataset, settings: PropagationSettings) -> Trained:
    """All steps of ``settings``, as published; ``samples`` give normalised clips."""
    training = PublishedTraining(network, settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(training.optimiser, settings.lr_factor)
    watch = Stopwatch()
    order = RunOrder(len(samples), settings.batch)
    for step, batch in enumerate(DataLoader(samples, settings.batch, sampler=order)):
        watch.lap("data")
        loss = training.loss(batch, settings.loss.share(step, settings.iterations))
        watch.lap("forward")
        training.optimiser.zero_grad()
        loss.backward()
        watch.lap("backward")
        training.optimiser.step()
        watch.lap("optimiser")
        schedule.step()
        watch.end_step(loss.item())
    return watch.result()


def train_ours(network: Propagation, samples: ClipDataset, settings: PropagationSettings) -> Trained:
    """The same steps by our trainer, its files included."""
    watch = Stopwatch()

    def loss_of(batch: ClipSample, step: Step) -> torch.Tensor:
        watch.lap("data")
        loss = propagation_loss(network, batch, step.share, settings.match_weight, step.objects)
        watch.lap("forward")
        return loss

    before = register_optimizer_step_pre_hook(lambda *_: watch.lap("backward"))
    after = register_optimizer_step_post_hook(lambda *_: watch.lap("optimiser"))
    try:
        with tempfile.TemporaryDirectory() as out:
            fit("propagation", network, samples, loss_of, settings, Path(out), lambda _step, _of, x: watch.end_step(x))
    finally:
        before.remove()
        after.remove()
    return watch.result()


def untrained(settings: PropagationSettings) -> Propagation:
    """The network that both sides start from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Propagation(settings.depth, settings.width)


class Normalised(ClipDataset):
    """Clips as float32, for the published step."""

    def __getitem__(self, index: int) -> ClipSample:
        """Clip ``index``."""
        clip = super().__getitem__(index)
        return clip._replace(frames=normalise_planes(clip.frames))


def apart(one: list[float], other: list[float]) -> list[float]:
    """How far losses are apart, as shares of them, ascending."""
    return sorted(abs(a - b) / abs(a) for a, b in zip(one, other, strict=True))


def compare(
    folders: ClipDataset, shards: ClipDataset, settings: PropagationSettings, rounds: int
) -> dict[str, list[Trained]]:
    """The rounds of all sides, which take turns, and begin in turns."""
    channels_last = settings.model_copy(update={"channels_last": True})
    sides: dict[str, tuple[Side, ClipDataset, PropagationSettings]] = {
        PUBLISHED: (train_published, folders, settings),
        OURS: (train_ours, shards, settings),
        CHANNELS_LAST: (train_ours, shards, channels_last),
    }
    initial = untrained(settings)
    trained: dict[str, list[Trained]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides)[:: -1 if number % 2 else 1]:
            train, samples, how = sides[name]
            trained[name].append(train(copy.deepcopy(initial), samples, how))
    return trained


def losses_of_equal_clips(samples: ClipDataset, settings: PropagationSettings) -> dict[str, list[float]]:
    """The losses of both sides, step by step, where both train on our clips."""
    initial = untrained(settings)
    videos = samples.videos
    return {
        PUBLISHED: train_published(copy.deepcopy(initial), Normalised(videos, settings), settings).losses,
        OURS: train_ours(copy.deepcopy(initial), ClipDataset(videos, settings), settings).losses,
    }


def present_share(samples: ClipDataset) -> float:
    """The share of the objects of a batch that its clips have."""
    return float(default_collate([samples[index] for index in range(len(samples))]).present.float().mean())


def ratios(trained: dict[str, list[Trained]], side: str) -> list[float]:
    """How many times as many steps a second ``side`` does as the published one, of each round, ascending."""
    pairs = zip(trained[PUBLISHED], trained[side], strict=True)
    return sorted(published.per_step / ours.per_step for published, ours in pairs)


def result_table(trained: dict[str, list[Trained]], title: str) -> Table:
    """Steps a second of all sides, their ratios, and the milliseconds and the share of each part of a step."""
    columns = []
    for name, found in trained.items():
        step, ratio = statistics.median(each.per_step for each in found), ratios(trained, name)
        shares = [statistics.median(each.share(part) for each in found) for part in PARTS]
        parts = [f"{share * step * 1000:.0f} ms ({share:.0%})" for share in shares]
        rates = [f"{1 / step:.3f}", f"{statistics.median(ratio):.2f}", f"{ratio[0]:.2f}–{ratio[-1]:.2f}"]
        columns.append([*rates, *parts])
    table = Table("", *trained, title=title)
    for label, *cells in zip(("steps/s", "ratio", "of the rounds", *PARTS), *columns, strict=True):
        table.add_row(label, *cells)
    return table


def measure(data: Path, folders: Path, settings: PropagationSettings, rounds: int) -> dict[str, Any]:
    """Compare both procedures with one network, print the results and return them."""
    reader, shards = PublishedReader(open_folder(folders), settings), ShardDataset(data, settings)
    colours, labels = agree(reader, shards, settings.batch * 2)
    console.print(f"clips of both readers: colours differ by {colours:.2f} of 255 on average, {labels:.2%} of labels")
    present = present_share(shards)
    console.print(f"objects: {present:.0%} of {settings.num_objects} a clip")
    equal = losses_of_equal_clips(shards, settings.model_copy(update={"iterations": 4}))
    console.print(f"losses of {len(equal[OURS])} steps on equal clips differ by up to {apart(*equal.values())[-1]:.1e}")
    trained = compare(reader, shards, settings, rounds)
    losses = {name: found[0].losses for name, found in trained.items()}
    found = apart(losses[PUBLISHED], losses[OURS])
    console.print(f"those of the timed steps by {statistics.median(found):.1e}, the median, and up to {found[-1]:.1e}")
    size = f"depth {settings.depth}, width {settings.width:g}, crop {settings.augmentation.geometry.crop}"
    console.print(result_table(trained, f"{size}, batch {settings.batch}, {torch.get_num_threads()} thread(s)"))
    return {
        "settings": settings.model_dump(mode="json"),
        "ratios": {name: ratios(trained, name) for name in trained},
        "losses": {"equal clips": equal, "timed": losses},
        "seconds": {name: [each.seconds for each in found] for name, found in trained.items()},
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a rendered data set (default: that of benchmarks.loading)")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-training"), help="where files are made")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6, help="timed steps a round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--networks", default="18x0.125,50x0.5", help="depth x width of each")
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    arguments = parser.parse_args()
    one_thread(0)
    torch.set_num_threads(arguments.threads)
    data = arguments.data or rendered(Path("runs/bench-loading/data"))
    folders = arguments.folder / "BL30K"
    if not folders.exists():
        publish(data, folders)
    published = PropagationSettings().augmentation
    geometry = published.geometry.model_copy(update={"crop": arguments.crop})
    results = []
    for network in arguments.networks.split(","):
        depth, width = network.split("x")
        settings = PropagationSettings(
            iterations=arguments.steps + 1,
            batch=arguments.batch,
            depth=int(depth),
            width=float(width),
            augmentation=published.model_copy(update={"geometry": geometry}),
            device="cpu",
            workers=0,
        )
        results.append(measure(data, folders, settings, arguments.rounds))
    figures = {"threads": arguments.threads, "torch": torch.__version__, "networks": results}
    (arguments.folder / "figures.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
