"""`keras-facealign video`: tracks the faces of a video."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_facealign.cli import _common as common
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
    min_face: common.MinFace = 20,
    frame_rate: float | None = None,
    runtime: common.Runtime = "auto",
    flip_test: common.FlipTest = False,
    strict: common.Strict = False,
) -> None:
    """Track the faces of a video and write their landmarks, head poses and an annotated video.

    Faces are found by the detector and tracked by their landmarks; each keeps its number while it
    is tracked. Give at least one of --output, --json, --csv and --coco. A file appears only when it
    is complete; an interrupted run leaves none.

    If a video is truncated, the frames before that point are written, with a message; the exit code
    is then 0 (with --strict: 2). A video without a readable frame is an error.

    Args:
        source: Video file, or folder of frames as images.
        output: Video with the landmarks drawn: .mp4, .mov, .mkv or .avi; no sound.
        json_file: Landmarks as one JSON document (.json) or JSON Lines (.jsonl).
        csv_file: Landmarks as CSV, one line per face and frame.
        coco_file: Landmarks as COCO keypoints, in JSON.
        smooth: Smooth the landmarks over time.
        max_faces: Largest number of faces to track.
        detect_every: Number of frames between searches for new faces.
        frame_rate: Frames per second, if the video has none or a wrong one (default 25).
    """
    from keras_facealign.video import FaceTracker, Smoothing, VideoReader

    files = {"output": output, "json": json_file, "csv": csv_file, "coco": coco_file}
    targets = {kind: path for kind, path in files.items() if path is not None}
    _check(targets, source)
    with VideoReader(source, frame_rate) as reader:
        run = _Run(reader, targets)
        run.track(
            lambda: common.load_aligner(preset, runtime, flip_test, min_face),
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
    seen = {source.resolve(): "the input"}
    for kind, path in targets.items():
        if path.resolve() in seen:
            raise FaceAlignError(
                f"{path}: is also {seen[path.resolve()]}; give each file a unique name"
            )
        seen[path.resolve()] = "another output"
        common.check_output_file(path, *extensions[kind])


@dataclass
class _Run:
    """Reads, tracks and writes the frames of a video, and reports on them."""

    reader: VideoReader
    targets: dict[str, Path]
    ids: set[int] = field(default_factory=set)
    without_face: list[int] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    changed: tuple[int, tuple[int, int]] | None = None

    def track(
        self, load: Callable[[], FaceAligner], make_tracker: Callable[[FaceAligner], FaceTracker]
    ) -> None:
        """Processes all frames; networks are loaded when the first one has been read."""
        tracker, writers, drawing = None, [], None
        with ExitStack() as stack:
            # Closed before the files are renamed, so that the bar is complete when they are.
            with common.progress_bar("Tracking", self.reader.num_frames) as advance:
                for frame in self.reader:
                    if tracker is None:
                        tracker = make_tracker(load())
                        writers, drawing = self._open(stack, frame, tracker.aligner.model.scheme)
                    self._process(frame, tracker, writers, drawing)
                    advance()
            if tracker is None:
                raise FaceAlignError(
                    f"{self.reader.path}: contains no readable frame; check the file"
                )
            for writer in writers:
                writer.finish(self.reader.num_read, not self.reader.cut_off)

    def _open(self, stack: ExitStack, frame: Frame, scheme: Any) -> tuple[list[Any], Any]:
        """Opens the files: the writers of landmarks, and that of the annotated video."""
        from keras_facealign.formats import VideoInfo, coco_writer, frame_writer
        from keras_facealign.video import video_writer

        self.size = (frame.image.shape[1], frame.image.shape[0])
        name, rate = self.reader.path.name, self.reader.frame_rate
        info = VideoInfo(name, rate, self.size, scheme.name, scheme.num_landmarks)
        writers: list[Any] = []
        drawing = None
        for kind, path in self.targets.items():
            if kind == "output":
                drawing = stack.enter_context(video_writer(path, rate, self.size))
            elif kind == "coco":
                writers.append(stack.enter_context(coco_writer(path, scheme, video=info)))
            else:
                writers.append(stack.enter_context(frame_writer(path, info)))
        return writers, drawing

    def _process(
        self, frame: Frame, tracker: FaceTracker, writers: list[Any], drawing: Any
    ) -> None:
        from keras_facealign.inference.drawing import draw_tracked

        faces = tracker.update(frame.image, frame.time, frame.name)
        self.ids.update(face.id for face in faces)
        if not faces:
            self.without_face.append(frame.index)
        size = (frame.image.shape[1], frame.image.shape[0])
        if size != self.size and self.changed is None:
            self.changed = frame.index, size
        for writer in writers:
            writer.write(frame.index, frame.time, size, faces)
        if drawing is not None:
            drawing.write(draw_tracked(frame.image, faces, tracker.aligner.model.scheme))

    def report(self) -> None:
        """Prints what was found, and warnings about the video."""
        reader = self.reader
        written = ", ".join(map(str, self.targets.values()))
        counts = (
            f"{common.count(len(self.ids), 'face')} in {common.count(reader.num_read, 'frame')}"
        )
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
        if self.changed is not None:
            index, (width, height) = self.changed
            drawn = ", and the annotated video shows such frames scaled"
            typer.echo(
                f"{reader.path}: from frame {index} on, frames are {width}x{height} instead of "
                f"{self.size[0]}x{self.size[1]} pixels; landmarks are in pixels of their frame"
                + (drawn if "output" in self.targets else ""),
                err=True,
            )
        if reader.fault is not None:
            typer.echo(f"{reader.fault}; the {reader.num_read} frames before are written", err=True)
        elif reader.cut_off:
            typer.echo(
                f"{reader.path}: ends after {reader.num_read} of {reader.num_frames} frames, so it "
                "is truncated or damaged; the frames before are written",
                err=True,
            )
