"""`keras-facealign video`: tracks the faces of a video."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_facealign.cli import _common as common
from keras_facealign.cli.stopping import delayed
from keras_facealign.errors import FaceAlignError

if TYPE_CHECKING:
    from keras_facealign.inference import FaceAligner
    from keras_facealign.video import FaceTracker, Frame, VideoReader


def video(
    source: Annotated[Path, typer.Argument(metavar="INPUT")],
    output: Annotated[Path | None, typer.Option("--output", "-o")] = None,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv")] = None,
    coco_file: Annotated[Path | None, typer.Option("--coco")] = None,
    preset: common.PresetOrFile = common.DEFAULT_PRESET,
    smooth: bool = True,
    max_faces: common.Count = 8,
    detect_every: common.Count = 15,
    min_face: common.MinFace = None,
    frame_rate: float | None = None,
    runtime: common.Runtime = "auto",
    flip_test: common.FlipTest = False,
    strict: common.Strict = False,
) -> None:
    """Track the faces of a video and write their landmarks, head poses and an annotated video.

    Faces are found by the detector and tracked by their landmarks; each keeps its number while it
    is tracked. Give at least one of --output, --json, --csv and --coco. The files appear at the
    end. A run that is interrupted by Ctrl-C writes them with the frames so far, and "complete" is
    false in JSON; one that is killed leaves none.

    If a video is truncated or damaged, the readable frames are written, with a message; the exit
    code is then 0 (with --strict: 2). A video without a readable frame is an error.

    Args:
        source: Video file, or folder of frames as images.
        output: Video with the landmarks drawn: .mp4, .mov, .mkv or .avi. It has the size of
            the first frame, and the timing and sound of the input; .avi has a constant frame rate.
        json_file: Landmarks as one JSON document (.json) or JSON Lines (.jsonl).
        csv_file: Landmarks as CSV, one line per face and frame.
        coco_file: Landmarks as COCO keypoints, in JSON.
        smooth: Smooth the landmarks over time.
        max_faces: Largest number of faces to track.
        detect_every: Number of frames between searches for new faces.
        frame_rate: Frames per second, if the video has none or a wrong one (default 25); the drawn
            video then has no sound.
    """
    from keras_facealign.video import FaceTracker, Smoothing, VideoReader

    files = {"output": output, "json": json_file, "csv": csv_file, "coco": coco_file}
    targets = {kind: path for kind, path in files.items() if path is not None}
    _check(targets, source)
    with VideoReader(source, frame_rate) as reader:
        run = _Run(reader, targets)
        run.track(
            lambda: common.load_aligner(preset, runtime, flip_test, True, min_face),
            partial(
                FaceTracker,
                max_faces=max_faces,
                detect_every=detect_every,
                smoothing=Smoothing() if smooth else None,
                frame_rate=reader.frame_rate,
            ),
        )
        run.report()
    if strict and reader.cut_off:
        raise typer.Exit(2)


def _check(targets: dict[str, Path], source: Path) -> None:
    """Rejects unusable files before any work is done."""
    from keras_facealign.video import CODECS

    if not targets:
        raise FaceAlignError(
            "video: nothing to write; give --output OUT.mp4, --json, --csv or --coco FILE"
        )
    extensions = {"output": tuple(CODECS), "json": (".json", ".jsonl"), "csv": (".csv",)}
    extensions["coco"] = (".json",)
    seen = {os.path.realpath(source): "the input"}
    for kind, path in targets.items():
        place = os.path.realpath(path)
        if place in seen:
            raise FaceAlignError(f"{path}: is also {seen[place]}; give each file a unique name")
        seen[place] = "another output"
        common.check_output_file(path, *extensions[kind])


@dataclass
class _Outputs:
    """The files that are written; a fault of one does not end the others."""

    open: dict[str, tuple[ExitStack, Any]] = field(default_factory=dict)
    errors: list[FaceAlignError] = field(default_factory=list)

    def add(self, kind: str, context: Any) -> None:
        stack = ExitStack()
        self.open[kind] = stack, stack.enter_context(context)

    def each(self, act: Callable[[str, Any], object], close: bool = False) -> None:
        """Calls a function for each file that is still written, and may close it then."""
        for kind, (stack, writer) in list(self.open.items()):
            try:
                try:
                    act(kind, writer)
                except Exception as error:
                    # The context removes the file, and says why it could not be written.
                    stack.__exit__(type(error), error, error.__traceback__)
                    raise
                if close:
                    stack.close()
            except FaceAlignError as error:
                self.errors.append(error)
                del self.open[kind]

    def discard(self) -> None:
        """Removes all files that are still written."""
        error = KeyboardInterrupt()
        for stack, _ in self.open.values():
            stack.__exit__(type(error), error, None)


@dataclass
class _Run:
    """Reads, tracks and writes the frames of a video, and reports on them."""

    reader: VideoReader
    targets: dict[str, Path]
    outputs: _Outputs = field(default_factory=_Outputs)
    num_done: int = 0
    ids: set[int] = field(default_factory=set)
    without_face: list[int] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    sizes: list[tuple[int, tuple[int, int]]] = field(default_factory=list)
    video: Any = None
    sound: Any = None

    def track(
        self, load: Callable[[], FaceAligner], make_tracker: Callable[[FaceAligner], FaceTracker]
    ) -> None:
        """Processes all frames; networks are loaded when the first one has been read."""
        try:
            self._track(load, make_tracker)
        except BaseException:
            # Whatever ended the run: what is done is kept.
            if self.num_done:
                self._finish(complete=False)
                self.report()
            else:
                self.outputs.discard()
            raise
        self._finish(complete=not self.reader.cut_off)

    def _track(
        self, load: Callable[[], FaceAligner], make_tracker: Callable[[FaceAligner], FaceTracker]
    ) -> None:
        tracker = None
        with common.progress_bar("Tracking", self.reader.num_frames) as advance:
            for frame in self.reader:
                if tracker is None:
                    tracker = make_tracker(load())
                    self._open(frame, tracker.aligner.model.scheme)
                self._process(frame, tracker)
                advance()
        if tracker is None:
            raise FaceAlignError(
                self.reader.fault
                or f"{self.reader.path}: contains no readable frame; check the file"
            )

    def _open(self, frame: Frame, scheme: Any) -> None:
        """Opens the files: the writers of landmarks, and that of the annotated video."""
        from keras_facealign.formats import VideoInfo, coco_writer, frame_writer
        from keras_facealign.video import Sound, video_writer

        self.size = (frame.image.shape[1], frame.image.shape[0])
        self.sizes = [(0, self.size)]
        name, rate = self.reader.path.name, self.reader.frame_rate
        info = VideoInfo(name, rate, self.size, scheme.name, scheme.num_landmarks)
        for kind, path in self.targets.items():
            if kind == "output":
                if self.reader.clock_start is not None:
                    self.sound = Sound(self.reader.path, self.reader.clock_start)
                aspect = self.reader.pixel_aspect
                writer = video_writer(path, rate, self.size, aspect, self.sound)
            elif kind == "coco":
                writer = coco_writer(path, scheme, video=info)
            else:
                writer = frame_writer(path, info)
            self.outputs.add(kind, writer)
        self.video = self.outputs.open["output"][1] if "output" in self.targets else None

    def _process(self, frame: Frame, tracker: FaceTracker) -> None:
        from keras_facealign.inference.drawing import draw_tracked

        faces = tracker.update(frame.image, frame.time, frame.name)
        size = (frame.image.shape[1], frame.image.shape[0])

        def write(kind: str, writer: Any) -> None:
            if kind == "output":
                drawn = draw_tracked(frame.image, faces, tracker.aligner.model.scheme)
                writer.write(drawn, frame.time)
            else:
                writer.write(frame.index, frame.time, size, faces)

        with delayed():
            self.outputs.each(write)
            if not self.outputs.open:
                raise self.outputs.errors[0]
            self.num_done += 1
            self.ids.update(face.id for face in faces)
            if not faces:
                self.without_face.append(frame.index)
            if size != self.sizes[-1][1]:
                self.sizes.append((frame.index, size))

    def _finish(self, complete: bool) -> None:
        """Ends and closes the files."""

        def finish(kind: str, writer: Any) -> None:
            if kind != "output":
                writer.finish(self.num_done, complete)

        with delayed():
            self.outputs.each(finish, close=True)
            if self.sound is not None:
                self.sound.close()

    def report(self) -> None:
        """Prints what was found, and warnings about the video.

        Raises:
            FaceAlignError: If a file could not be written.
        """
        reader = self.reader
        written = ", ".join(str(self.targets[kind]) for kind in self.outputs.open)
        counts = f"{common.count(len(self.ids), 'face')} in {common.count(self.num_done, 'frame')}"
        if written:
            common.say(f"{counts}; written to {written}")
        if self.without_face:
            # Consecutive indices have the same difference from their position.
            groups = groupby(enumerate(self.without_face), lambda pair: pair[1] - pair[0])
            longest = max(([index for _, index in group] for _, group in groups), key=len)
            where = f"frames {longest[0]} to {longest[-1]}"
            if len(longest) == 1:
                where = f"frame {longest[0]}"
            frames = common.count(len(self.without_face), "frame")
            common.say(f"no face in {frames}, the longest time {where}")
        sound = [self.sound.note] if self.sound is not None and self.sound.note else []
        for line in [*reader.notes, *sound, *self._notes()]:
            common.say(line, err=True)
        if reader.fault is not None:
            frames = common.count(self.num_done, "readable frame")
            common.say(f"{reader.fault}; {frames} written", err=True)
        if self.outputs.errors:
            raise self.outputs.errors[0]

    def _notes(self) -> Iterator[str]:
        """Yields what is special about this run's files."""
        if len(self.sizes) > 1:
            index, (width, height) = self.sizes[1]
            more = f" (and {len(self.sizes) - 2} more changes)" if len(self.sizes) > 2 else ""
            drawn = f"; {self.targets['output']} shows them fitted into it" if self.video else ""
            yield (
                f"{self.reader.path}: from frame {index} on, frames are {width}x{height} instead "
                f"of {self.size[0]}x{self.size[1]} pixels{more}; landmarks are in pixels of their "
                f"frame{drawn}"
            )
        if self.video and self.video.largest_shift > 0.5 / self.video.frame_rate:
            yield (
                f"{self.targets['output']}: the frames of .avi have equal distances in time, so "
                f"some are up to {self.video.largest_shift:.2f} s off; write .mp4 or .mkv to keep "
                "their times"
            )
