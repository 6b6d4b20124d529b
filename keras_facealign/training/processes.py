"""Runs on several devices and in several processes: connecting them, and the files they share."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_facealign.errors import FaceAlignError, check_integer
from keras_facealign.models.devices import process_place
from keras_facealign.storage.atomic import atomic_write
from keras_facealign.training.heartbeat import Heartbeat
from keras_facealign.training.seeds import set_random_seed

BACKENDS = {"mirrored": "tensorflow", "data-parallel": "jax", "ddp": "torch"}
"""Ways of training on several devices, and the Keras backend of each."""


@dataclass(frozen=True)
class DeviceSettings:
    """Which devices train a model together.

    Args:
        distribute: "none"; "mirrored", the devices of one machine by TensorFlow; "data-parallel",
            those of one or several processes by JAX; or "ddp", processes with one device each by
            PyTorch.
        devices: Devices of this process. Default: all GPUs. On a CPU, so many virtual devices.
        coordinator: HOST:PORT of the first process; the port after it is used as well. Not needed
            for "ddp" under `torchrun`.
        processes: Number of processes.
        process: This process's number, from 0.

    Raises:
        FaceAlignError: If they do not fit each other, or the backend.
    """

    distribute: str = "none"
    devices: int | None = None
    coordinator: str | None = None
    processes: int = 1
    process: int = 0

    def __post_init__(self) -> None:
        check_integer("--num-processes", self.processes, 1, 100_000)
        check_integer("--process-id", self.process, 0, self.processes - 1)
        several = self.processes > 1 or self.coordinator is not None
        if self.distribute == "none":
            if several or self.devices is not None:
                raise FaceAlignError(
                    "--devices, --coordinator and --num-processes belong to --distribute; give "
                    f"one of: {', '.join(BACKENDS)}."
                )
            return
        if self.distribute not in BACKENDS:
            raise FaceAlignError(
                f"Unknown --distribute {self.distribute!r}; choose one of: none, "
                f"{', '.join(BACKENDS)}."
            )
        needed, backend = BACKENDS[self.distribute], keras.backend.backend()
        if backend != needed:
            raise FaceAlignError(
                f"--distribute {self.distribute} needs KERAS_BACKEND={needed}, and it is {backend}."
            )
        if several and self.distribute == "mirrored":
            raise FaceAlignError(
                "--distribute mirrored trains in one process; for several use data-parallel with "
                "KERAS_BACKEND=jax, or ddp with KERAS_BACKEND=torch."
            )
        if self.distribute == "ddp" and self.devices not in (None, 1):
            raise FaceAlignError(
                f"--devices is {self.devices}, and with ddp each process has one; give "
                "--num-processes instead."
            )
        if self.processes > 1 and self.coordinator is None:
            raise FaceAlignError("--coordinator is missing; give HOST:PORT of the first process.")
        if self.coordinator is not None:
            self.address()

    def address(self) -> tuple[str, int]:
        """Host and port of the first process."""
        host, _, port = (self.coordinator or "").rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65535:
            raise FaceAlignError(
                f"--coordinator is {self.coordinator!r}; give HOST:PORT, a port from 1 to 65534."
            )
        return host, int(port)


@contextlib.contextmanager
def connected(settings: DeviceSettings, batch_size: int, seed: int) -> Iterator[None]:
    """Connects devices and processes; models are made and trained in the block.

    Call it before anything is computed: backends fix their devices when they first use them.

    Args:
        settings: The devices.
        batch_size: Faces in a step, on all devices together.
        seed: Seed of the random numbers that all processes have in common.

    Raises:
        FaceAlignError: If they cannot be connected, or cannot share a batch equally.
    """
    if settings.distribute == "none":
        yield
        return
    if settings.distribute == "data-parallel":
        keras.utils.set_random_seed(seed)  # without which Keras connects no processes
    else:
        set_random_seed(seed)
    start = {"mirrored": _mirrored, "data-parallel": _data_parallel, "ddp": _ddp}
    with start[settings.distribute](settings) as devices:
        if batch_size % devices:
            raise FaceAlignError(
                f"--batch-size is {batch_size}, the faces of all {devices} devices together; give "
                f"a multiple of {devices}, such as {devices * -(-batch_size // devices)}."
            )
        yield


@contextlib.contextmanager
def _mirrored(settings: DeviceSettings) -> Iterator[int]:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    count = settings.devices or len(gpus)
    if gpus:
        if not 0 < count <= len(gpus):
            raise FaceAlignError(f"--devices is {count}, and there are {len(gpus)} GPUs.")
        names = [f"GPU:{i}" for i in range(count)]
    else:
        if not count:
            raise FaceAlignError("There is no GPU; give --devices to use parts of the CPU.")
        cpu = tf.config.list_physical_devices("CPU")[0]
        virtual = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
        try:
            tf.config.set_logical_device_configuration(cpu, virtual)
        except RuntimeError as error:
            raise FaceAlignError(
                "TensorFlow already runs with other devices; connect them before anything else."
            ) from error
        names = [f"CPU:{i}" for i in range(count)]
    with tf.distribute.MirroredStrategy(names).scope():
        yield count


@contextlib.contextmanager
def _data_parallel(settings: DeviceSettings) -> Iterator[int]:
    import jax

    if settings.devices is not None:
        jax.config.update("jax_num_cpu_devices", settings.devices)
    with _watched(settings):
        if settings.processes > 1:
            keras.distribution.initialize(
                settings.coordinator, settings.processes, settings.process
            )
        names = keras.distribution.list_devices()
        if settings.processes == 1 and settings.devices is not None:
            if settings.devices > len(names):
                raise FaceAlignError(
                    f"--devices is {settings.devices}, and there are {len(names)}."
                )
            names = names[: settings.devices]
        before = keras.distribution.distribution()
        keras.distribution.set_distribution(
            keras.distribution.DataParallel(devices=names, auto_shard_dataset=False)
        )
        try:
            yield len(names)
        finally:
            keras.distribution.set_distribution(before)


@contextlib.contextmanager
def _ddp(settings: DeviceSettings) -> Iterator[int]:
    import torch
    import torch.distributed as dist

    agent = settings.coordinator is None and "RANK" in os.environ
    if settings.processes == 1 and not agent:
        raise FaceAlignError(
            "--distribute ddp needs several processes; give --num-processes, --process-id and "
            "--coordinator, or start the command with torchrun."
        )
    kind = "gloo"
    if torch.cuda.is_available():
        kind = "nccl"
        place = str(settings.process % torch.cuda.device_count())
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", place)))
    # torchrun itself ends all processes when one of them dies.
    with contextlib.nullcontext() if agent else _watched(settings):
        if agent:
            dist.init_process_group(kind)
        else:
            dist.init_process_group(
                kind,
                f"tcp://{settings.coordinator}",
                world_size=settings.processes,
                rank=settings.process,
            )
        yield dist.get_world_size()
        dist.destroy_process_group()


@contextlib.contextmanager
def _watched(settings: DeviceSettings) -> Iterator[None]:
    """Ends the program when another process dies."""
    if settings.processes == 1:
        yield
        return
    host, port = settings.address()
    heartbeat = Heartbeat(host, port + 1, settings.process, settings.processes)
    try:
        yield
    except FaceAlignError:
        raise
    except Exception:
        # Most likely because another process died: the heartbeat says so and ends the program.
        heartbeat.lost.wait(10)
        raise
    heartbeat.close()


@contextlib.contextmanager
def own_devices() -> Iterator[None]:
    """In the block, each process makes and runs networks by itself."""
    if keras.backend.backend() != "jax" or process_place()[1] == 1:
        yield
        return
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


# ---- files --------------------------------------------------------------------------------------


def one_writer(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Lets only the first process of a function write to its argument `output`, a folder.

    The others begin with a copy of that folder, which need not be visible to them, in a temporary
    one, and do the same with it.
    """

    @functools.wraps(fit)
    def run(*args: Any, **kwargs: Any) -> Any:
        index, count = process_place()
        if count == 1:
            return fit(*args, **kwargs)
        call = inspect.signature(fit).bind(*args, **kwargs)
        output = Path(call.arguments["output"])
        with contextlib.ExitStack() as stack:
            own = output
            if index:
                own = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            _copy_files(output if index == 0 else None, own)
            call.arguments["output"] = own
            result = fit(*call.args, **call.kwargs)
            # Nobody leaves before the first process has written everything.
            share_bytes(b"")
            return result

    return run


def _copy_files(source: Path | None, target: Path) -> None:
    """Copies a run's files from the first process, whose folder is `source`, to all others."""
    paths = [] if source is None else sorted(p for p in source.rglob("*") if p.is_file())
    paths = [p for p in paths if source is None or p.relative_to(source).parts[0] != "tensorboard"]
    names = [str(p.relative_to(source).as_posix()) for p in paths] if source is not None else []
    for i, name in enumerate(share_bytes("\n".join(names).encode()).decode().split("\n")):
        if not name:
            continue
        content = share_bytes(paths[i].read_bytes() if source is not None else b"")
        if source is None:
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, lambda file, content=content: file.write(content))


def share_bytes(content: bytes) -> bytes:
    """Returns the first process's bytes, in all processes; all have to call it."""
    size = _from_first(np.array([len(content)], np.int32))
    data = np.zeros(int(size[0]), np.uint8)
    if process_place()[0] == 0:
        data = np.frombuffer(content, np.uint8)
    return _from_first(data).tobytes() if len(data) else b""


def _from_first(array: np.ndarray) -> np.ndarray:
    if process_place()[1] == 1:
        return array
    if keras.backend.backend() == "jax":
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.broadcast_one_to_all(array))
    import torch
    import torch.distributed as dist

    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    tensor = torch.from_numpy(array.copy()).to(device)
    dist.broadcast(tensor, src=0)
    return tensor.cpu().numpy()
