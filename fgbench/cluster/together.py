"""One training by several processes, which Ray Train starts on accelerators of the cluster, with Accelerate inside."""

from __future__ import annotations

import importlib
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fgbench.errors import FgbenchError
from fgbench.results.records import Status
from fgbench.workers.messages import Message
from fgbench.workers.pool import WorkerFailed, failure_of

LOOK_S = 1.0  # between looks at what the processes have said


class Mailbox:
    """What the main process of a training says, for whoever has started it."""

    def __init__(self) -> None:
        self._said: list[Message] = []

    def put(self, message: Message) -> None:
        """Say something."""
        self._said.append(message)

    def take(self) -> list[Message]:
        """Everything that was said since the last time."""
        said, self._said = self._said, []
        return said


def train_together(
    tell: Callable[[Message], None], processes: int, by_gpu: bool, config: Message, needs: dict[str, float]
) -> Message:
    """Have several processes answer a request of trainings.

    Args:
        tell: Receives what the main process tells.
        processes: Their number.
        by_gpu: Whether each has a GPU.
        config: ``module``, ``do``, ``request``, ``files``, ``known`` and the other fields of the request.
        needs: Ray's resources of each.

    Returns:
        The answer of the main process, with the content of its store.

    Raises:
        WorkerFailed: A process has failed.

    """
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    start: Any = ray.remote(num_cpus=0)(Mailbox)
    mailbox = start.remote()
    failed: list[BaseException] = []
    with tempfile.TemporaryDirectory(prefix="fgbench-train-") as folder:
        trainer = TorchTrainer(
            _process,
            train_loop_config={**config, "mailbox": mailbox, "by_gpu": by_gpu},
            torch_config=TorchConfig(backend="nccl" if by_gpu else "gloo"),
            scaling_config=ScalingConfig(num_workers=processes, use_gpu=by_gpu, resources_per_worker=needs),
            run_config=RunConfig(storage_path=folder),
        )

        def fit() -> None:
            try:
                trainer.fit()
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=fit, daemon=True)
        thread.start()
        answer: Message | None = None
        ended = False
        while not ended:
            ended = not thread.is_alive()  # asked before the last look
            for message in ray.get(mailbox.take.remote()):
                if "now" in message:
                    tell(message["now"])
                elif answer is None or "done" in answer:  # the first refusal counts
                    answer = message
            thread.join(LOOK_S)
    if answer is None:
        why = str(failed[0]).strip().splitlines()[-1][:300] if failed else "it has no result"
        raise WorkerFailed(Status.CRASHED, f"the processes of a training ended: {why}")
    if "done" not in answer:
        raise failure_of(answer)
    done: Message = answer["done"]
    return done


def _process(config: Message) -> None:
    """What each process does."""
    import os

    import ray.train

    from fgbench.cluster.travel import content_of, unpack_message

    if not config.pop("by_gpu"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    main = ray.train.get_context().get_world_rank() == 0
    mailbox, known = config.pop("mailbox"), config.pop("known")
    module, do = config.pop("module"), config.pop("do")
    request = unpack_message(config.pop("request"), config.pop("files"))

    def say(message: Message) -> None:
        if main or "failed" in message:
            ray.get(mailbox.put.remote(message))

    with tempfile.TemporaryDirectory(prefix="fgbench-store-") as folder:
        store = Path(folder) / "rows.db"
        if known is not None:
            store.write_bytes(known)

        def tell(now: Message) -> None:
            say({"now": {**now, **({"store": content_of(store)} if main and "epoch" in now else {})}})

        try:
            answer: Message = importlib.import_module(module).REQUESTS[do](
                tell, request=request, store=str(store) if main else None, **config
            )
        except FgbenchError as error:
            say({"failed": Status.ERROR, "reason": str(error), "refused": True})
            raise  # the others would wait for this one
        if main:
            say({"done": {**answer, "store": content_of(store)}})
