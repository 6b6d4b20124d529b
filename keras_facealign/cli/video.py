"""`keras-facealign video`: a video in; landmarks, and the video with them drawn, out."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_facealign.cli.align import DEFAULT_PRESET, FlipTest, Runtime
from keras_facealign.errors import FaceAlignError

if TYPE_CHECKING:
    from rich.console import Console

    from keras_facealign.inference import FaceAligner
    from keras_facealign.video import Frame, VideoReader
    from keras_facealign.video.tracking import FaceTracker

__all__ = ["video"]


def video(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="Video file, or folder of frames as pictures.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Video with landmarks drawn: .mp4, .mov, .mkv or .avi; no sound."
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json", help="Landmarks as one JSON document (.json) or as JSON Lines (.jsonl)."
        ),
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Landmarks as CSV, a line for each face and frame.")
    ] = None,
    coco_file: Annotated[
        Path | None, typer.Option("--coco", help="Landmarks as COCO keypoints, in JSON.")
    ] = None,
    preset: Annotated[
        str, typer.Option(help="Name of a preset, folder that holds one, or exported .tflite file.")
    ] = DEFAULT_PRESET,
    smooth: Annotated[
        bool, typer.Option("--smooth/--no-smooth", help="Smooth the landmarks over time.")
    ] = True,
    max_faces: Annotated[int, typer.Option(min=1, help="Most faces to follow.")] = 8,
    detect_every: Annotated[
        int, typer.Option(min=1, help="Frames from one search for new faces to the next.")
    ] = 15,
    min_face: Annotated[
        float, typer.Option(min=4, help="Smallest face to look for, in pixels of the frame.")
    ] = 20,
    frame_rate: Annotated[
        float | None,
        typer.Option(help="Frames a second, where the video tells none or wrongly (default 25)."),
    ] = None,
    runtime: Annotated[
        Runtime, typer.Option(help="What the network runs on; auto: the fastest that is installed.")
    ] = Runtime.AUTO,
    flip_test: FlipTest = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with code 2 if the video is cut off.")
    ] = False,
) -> None:
    """Follow the faces of a video and write their landmarks, head poses and a picture of them.

    Faces are found by the detector and followed by their landmarks; each keeps its number as long
    as it is followed. Give at least one of --output, --json, --csv and --coco. Each file gets its
    name when it is complete; a run that is interrupted leaves none.

    Of a video that is cut off, what there is of it is written, and that is said; the exit code is 0
    then (with --strict: 2). A video without a readable frame is an error.
    """
    from rich.console import Console

    from keras_facealign.video import VideoReader

    targets = _Targets(output, json_file, csv_file, coco_file)
    targets.check(source)
    console = Console()
    with VideoReader(source, frame_rate) as reader:
        run = _Run(reader, targets, console)
        run.go(
            lambda: _tracker(
                _aligner(preset, min_face, runtime, flip_test),
                smooth,
                max_faces,
                detect_every,
                reader,
            )
        )
    if strict and reader.cut_off:
        raise typer.Exit(2)


def _aligner(preset: str, min_face: float, runtime: Runtime, flip_test: bool) -> FaceAligner:
    from keras_facealign.detection import MTCNNDetector
    from keras_facealign.inference import FaceAligner

    detector = MTCNNDetector(min_face_size=min_face)
    detector.load()
    return FaceAligner.from_preset(preset, detector, runtime=runtime.value, flip_test=flip_test)


def _tracker(
    aligner: FaceAligner, smooth: bool, max_faces: int, detect_every: int, reader: VideoReader
) -> FaceTracker:
    from keras_facealign.video import FaceTracker, Smoothing

    return FaceTracker(
        aligner,
        max_faces=max_faces,
        detect_every=detect_every,
        smoothing=Smoothing() if smooth else None,
        frame_rate=reader.frame_rate,
    )


@dataclass(frozen=True)
class _Targets:
    """The files to write."""

    output: Path | None
    json: Path | None
    csv: Path | None
    coco: Path | None

    def paths(self) -> list[Path]:
        """Those that are wanted."""
        return [p for p in (self.output, self.json, self.csv, self.coco) if p is not None]

    def check(self, source: Path) -> None:
        """Refuses what could not be written at the end, before any work is done."""
        from keras_facealign.video import CODECS

        if not self.paths():
            raise FaceAlignError(
                "video: nothing to write; give --output OUT.mp4, --json, --csv or --coco FILE"
            )
        seen = {source.resolve(): "the input"}
        for path in self.paths():
            if path.resolve() in seen:
                raise FaceAlignError(
                    f"{path}: is also {seen[path.resolve()]}; give each file a name of its own"
                )
            seen[path.resolve()] = "another output"
            if not path.parent.is_dir():
                raise FaceAlignError(
                    f"{path}: there is no folder {path.parent}; make it, or choose another one"
                )
        for path, option, endings in (
            (self.output, "--output", tuple(CODECS)),
            (self.json, "--json", (".json", ".jsonl")),
            (self.csv, "--csv", (".csv",)),
            (self.coco, "--coco", (".json",)),
        ):
            if path is not None and path.suffix.lower() not in endings:
                raise FaceAlignError(
                    f"{path}: {option} cannot write the ending {path.suffix!r}; use "
                    + ", ".join(endings)
                )


class _Run:
    """Goes through the frames once, and keeps what the report at the end needs."""

    def __init__(self, reader: VideoReader, targets: _Targets, console: Console) -> None:
        self.reader = reader
        self.targets = targets
        self.console = console
        self.ids: set[int] = set()
        self.without_face = _Gaps()
        self.size = (0, 0)
        self.changed: tuple[int, tuple[int, int]] | None = None
        self.scheme: Any = None
        self.tracker: FaceTracker | None = None
        self._writers: list[Any] = []
        self._picture: Any = None

    def go(self, make_tracker: Any) -> None:
        """Reads, follows and writes; says at the end what there was."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining

        columns = (TextColumn("Following"), BarColumn(), MofNCompleteColumn(), Remaining())
        with ExitStack() as stack:
            # Left before the files are renamed, so that the bar is complete when they are.
            with Progress(*columns, console=self.console) as progress:
                task = progress.add_task("", total=self.reader.num_frames)
                for frame in self.reader:
                    if self.tracker is None:
                        # With a frame in hand: of an unreadable video no network is loaded.
                        self.tracker = make_tracker()
                        self._open(stack, frame)
                    self._step(frame)
                    progress.advance(task)
                progress.update(task, total=self.reader.num_read)
            if self.tracker is None:
                raise FaceAlignError(
                    f"{self.reader.path}: holds no frame that can be read; check the file"
                )
            for writer in self._writers:
                writer.finish(self.reader.num_read, not self.reader.cut_off)
        self._report()

    def _open(self, stack: ExitStack, frame: Frame) -> None:
        from keras_facealign.formats import VideoInfo, coco_writer, frame_writer
        from keras_facealign.video import video_writer

        assert self.tracker is not None
        self.size = (frame.image.shape[1], frame.image.shape[0])
        self.scheme = self.tracker.aligner.model.scheme
        rate = self.reader.frame_rate
        info = VideoInfo(
            self.reader.path.name, rate, self.size, self.scheme.name, self.scheme.num_landmarks
        )
        for path in (self.targets.json, self.targets.csv):
            if path is not None:
                self._writers.append(stack.enter_context(frame_writer(path, info)))
        if self.targets.coco is not None:
            coco = coco_writer(self.targets.coco, self.scheme, video=info)
            self._writers.append(stack.enter_context(coco))
        if self.targets.output is not None:
            self._picture = stack.enter_context(video_writer(self.targets.output, rate, self.size))

    def _step(self, frame: Frame) -> None:
        from keras_facealign.inference.drawing import draw_tracked

        assert self.tracker is not None
        faces = self.tracker.update(frame.image, frame.time, frame.name)
        self.ids.update(face.id for face in faces)
        self.without_face.add(frame.index, not faces)
        size = (frame.image.shape[1], frame.image.shape[0])
        if size != self.size and self.changed is None:
            self.changed = frame.index, size
        for writer in self._writers:
            writer.write(frame.index, frame.time, size, faces)
        if self._picture is not None:
            self._picture.write(draw_tracked(frame.image, faces, self.scheme))

    def _report(self) -> None:
        reader = self.reader
        written = ", ".join(str(path) for path in self.targets.paths())
        counts = f"{_count(len(self.ids), 'face')} in {_count(reader.num_read, 'frame')}"
        self._say(f"{counts}; written to {written}")
        gaps = self.without_face
        if gaps.total:
            first, last = gaps.longest
            where = f"frame {first}" if first == last else f"frames {first} to {last}"
            longest = (
                "" if first == last == 0 and gaps.total == 1 else f", the longest time {where}"
            )
            self._say(f"no face in {_count(gaps.total, 'frame')}{longest}")
        if self.changed is not None:
            index, (width, height) = self.changed
            line = (
                f"{reader.path}: from frame {index} on, frames are {width}x{height} instead of "
                f"{self.size[0]}x{self.size[1]} pixels; landmarks are in pixels of their frame"
            )
            if self._picture is not None:
                line += ", and the drawn video shows such frames scaled"
            typer.echo(line, err=True)
        if reader.fault is not None:
            typer.echo(f"{reader.fault}; the {reader.num_read} frames before are written", err=True)
        elif reader.cut_off:
            typer.echo(
                f"{reader.path}: ends after {reader.num_read} of "
                f"{reader.num_frames} frames, so it is cut off or damaged; what there is of it is "
                "written",
                err=True,
            )

    def _say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


class _Gaps:
    """Counts frames, and remembers their longest run."""

    def __init__(self) -> None:
        self.total = 0
        self.longest = (0, -1)
        self._start: int | None = None

    def add(self, index: int, counts: bool) -> None:
        """Takes the next frame."""
        if not counts:
            self._start = None
            return
        self.total += 1
        if self._start is None:
            self._start = index
        if index - self._start > self.longest[1] - self.longest[0]:
            self.longest = (self._start, index)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
