"""Names of version 0.1 that have moved or changed; they work until version 0.3, with a warning."""

from __future__ import annotations

import functools
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])

_PACKAGE = "keras_facealign"

# Old module: new module, both within the package.
_MODULES = {
    "augmentation": "objective",
    "augmentation.disturbances": "objective.corruptions",
    "augmentation.effects": "objective.corruption_ops",
    "augmentation.paired": "objective.paired_augmentation",
    "augmentation.ranges": "objective.transform_range",
    "averaging": "training.ema",
    "calibration.calibration": "calibration.formula",
    "calibration.observations": "evaluation.collect_predictions",
    "converters.mxnet.recognition": "converters.mxnet.architecture_of",
    "crops": "geometry.crops",
    "data.aflw_3d_crops": "data.readers.aflw_3d_crops",
    "data.catalogue": "data.catalog",
    "data.cofw": "data.readers.cofw",
    "data.face_synthetics": "data.readers.face_synthetics",
    "data.ibug_300w": "data.readers.ibug_300w",
    "data.menpo2d": "data.readers.menpo2d",
    "data.merl_rav": "data.readers.merl_rav",
    "data.face_profiling.arrays": "data.npz",
    "data.pairs": "data.readers.image_pairs",
    "data.reading": "data.files",
    "data.skipping": "data.valid_items",
    "data.samples": "data.examples",
    "data.streams": "data.lazy_batches",
    "data.w300_lp": "data.readers.w300_lp",
    "data.wflw": "data.readers.wflw",
    "device_steps": "training.device_loop",
    "evaluation.foreign": "evaluation.external_predictions",
    "evaluation.sdu_crops": "evaluation.legacy_mxnet.crops",
    "evaluation.sdu_legacy": "evaluation.legacy_mxnet.protocol",
    "export.drawn_faces": "inference.synthetic_faces",
    "export.folding": "networks.tracing.folding",
    "export.graph": "networks.tracing.graph",
    "export.metadata": "runtimes.metadata",
    "export.simplification": "networks.tracing.simplification",
    "files": "storage.atomic",
    "inference.coco": "formats.coco",
    "inference.detectors": "detection",
    "inference.frame_writers": "formats.files",
    "inference.mtcnn": "detection.mtcnn",
    "inference.mtcnn.cascade": "detection.mtcnn.cascade",
    "inference.runtimes": "runtimes",
    "inference.runtimes.choice": "runtimes.choice",
    "inference.runtimes.exported": "runtimes.exported",
    "inference.runtimes.interpreter": "runtimes.litert",
    "inference.runtimes.openvino": "runtimes.openvino",
    "inference.smoothing": "video.smoothing",
    "inference.tracking": "video.tracking",
    "inference.video": "video",
    "inference.writers": "formats.files",
    "losses": "objective.losses",
    "metrics": "objective.metrics",
    "mirroring": "prediction.flip_test",
    "models.architecture": "networks.architecture",
    "models.complexity": "networks.complexity",
    "models.landmark_offset": "training.landmark_offset",
    "models.pairs": "objective.view_pair",
    "models.stacked": "networks.stacked",
    "models.training_settings": "objective.recipes",
    "optimizers": "training.optimizers",
    "presets.card_figure": "evaluation.cards.figure",
    "presets.card_heads": "evaluation.cards.heads",
    "presets.card_markdown": "evaluation.cards.markdown",
    "presets.card_trials": "evaluation.cards.trials",
    "presets.cards": "evaluation.cards.card",
    "presets.folders": "storage.preset_folders",
    "presets.registry": "presets",
    "presets.half_precision": "storage.half_precision",
    "targets": "objective.targets",
}

# Old name: new name, with its module. Names that moved along with their module need no entry.
_NAMES = {
    "presets.folders.replacing": "storage.preset_folders.replace_preset",
    "augmentation.Disturbances": "objective.Corruptions",
    "augmentation.View": "objective.AugmentedView",
    "augmentation.disturbances.Disturbances": "objective.Corruptions",
    "augmentation.effects.turn_colors": "objective.corruption_ops.rotate_hue",
    "averaging.WeightAverage": "training.EMAWeights",
    "converters.load_weights": "converters.load_mxnet_weights",
    "converters.mxnet.load_weights": "converters.mxnet.load_mxnet_weights",
    "converters.mxnet.weights.load_weights": "converters.mxnet.load_mxnet_weights",
    "calibration.calibration.turn_of_faces": "calibration.formula.yaw_asymmetry",
    "calibration.calibration.turn_sides": "calibration.formula.face_sides",
    "calibration.observations.observe": "evaluation.collect_predictions.collect_predictions",
    "crops.predict_faces": "data.labeled_crops.predict_faces",
    "data.Example": "data.FaceExample",
    "data.FaceStream": "data.LazyFaceBatches",
    "data.Sample": "data.ExamplePaths",
    "data.cofw.load_cofw68": "data.readers.cofw68.load_samples",
    "data.cofw.survey_cofw68": "data.readers.cofw68.survey",
    "data.face_profiling.load_model": "data.face_profiling.load_head_model",
    "data.pairs.load_cfp": "data.readers.cfp.load_samples",
    "data.pairs.load_lfw": "data.readers.lfw.load_samples",
    "data.pairs.survey_cfp": "data.readers.cfp.survey",
    "data.pairs.survey_lfw": "data.readers.lfw.survey",
    "data.reading.LabelledFace": "data.FaceExample",
    "data.reading.below": "data.files.resolve_inside",
    "data.reading.make_face": "data.examples.make_example",
    "data.skipping.read_each": "data.valid_items.iter_valid",
    "data.w300_lp.load_aflw2000": "data.readers.aflw2000_3d.load_samples",
    "data.w300_lp.survey_aflw2000": "data.readers.aflw2000_3d.survey",
    "data.samples.Example": "data.FaceExample",
    "data.samples.Sample": "data.ExamplePaths",
    "data.streams.FaceStream": "data.LazyFaceBatches",
    "device_steps.DeviceSteps": "training.device_loop.DeviceTrainingLoop",
    "device_steps.make_steps": "training.device_loop.make_training_loop",
    "evaluation.Published": "evaluation.PublishedResult",
    "evaluation.SduLegacy": "evaluation.MXNetProtocol",
    "export.Graph": "networks.tracing.Graph",
    "export.Node": "networks.tracing.Node",
    "export.UnsupportedLayerError": "networks.tracing.UnsupportedLayerError",
    "export.drawn_faces.draw_faces": "inference.synthetic_faces.render_synthetic_faces",
    "export.fold_batch_norm": "networks.tracing.fold_batch_norm",
    "export.graph.trace": "networks.tracing.trace",
    "export.read_metadata": "runtimes.read_metadata",
    "export.simplify": "networks.tracing.simplify",
    "export.trace": "networks.tracing.trace",
    "files.replacing": "storage.atomic.atomic_path",
    "files.write_whole": "storage.atomic.atomic_write",
    "geometry.CROP_MARGIN": "geometry.CROP_SCALE",
    "inference.Detection": "detection.Detection",
    "inference.Detector": "detection.Detector",
    "inference.FaceTracker": "video.FaceTracker",
    "inference.MTCNNDetector": "detection.MTCNNDetector",
    "inference.OneEuroFilter": "video.OneEuroFilter",
    "inference.Smoothing": "video.Smoothing",
    "inference.TrackedFace": "video.TrackedFace",
    "inference.video.draw_tracked": "inference.drawing.draw_tracked",
    "inference.write_face": "formats.write_face",
    "inference.write_image": "formats.write_image",
    "inference.writers.write_image": "formats.write_image",
    "mirroring.check_mirrors": "prediction.check_flip_pairs",
    "models.Architecture": "networks.Architecture",
    "models.COHERENT_TERMS": "objective.COHERENT_TERMS",
    "models.CoherentTerm": "objective.CoherentTerm",
    "models.Network": "networks.Network",
    "models.Pair": "objective.Pair",
    "models.TRAINING_RECIPES": "objective.TRAINING_RECIPES",
    "models.build_network": "networks.build_network",
    "models.count_macs": "networks.count_macs",
    "models.landmark_offset.check_offset": "prediction.check_offset",
    "models.measure_landmark_offset": "training.measure_landmark_offset",
    "presets.published.Published": "presets.published.PaperNetwork",
    "training.Schedule": "training.TrainingConfig",
}


def _find(old: str) -> Any:
    """The object that now goes by another name, with a warning; raises `KeyError` for other names.

    Args:
        old: Full old name within the package, `module.name`.
    """
    new = _NAMES[old]
    warnings.warn(
        f"{_PACKAGE}.{old} is now {_PACKAGE}.{new}; the old name goes in version 0.3.",
        DeprecationWarning,
        stacklevel=3,
    )
    module, _, name = new.rpartition(".")
    return getattr(importlib.import_module(f"{_PACKAGE}.{module}"), name)


def deprecated_names(module: str) -> Callable[[str], Any]:
    """Makes a `__getattr__` for a module some of whose names have moved or changed.

    Args:
        module: Full name of the module, its `__name__`.
    """
    inside = module.partition(".")[2]

    def __getattr__(name: str) -> Any:
        try:
            return _find(f"{inside}.{name}".lstrip("."))
        except KeyError:
            raise AttributeError(f"module {module!r} has no attribute {name!r}") from None

    return __getattr__


def renamed_arguments(
    convert: Mapping[str, Callable[[Any], Any]] | None = None, **names: str
) -> Callable[[_Decorated], _Decorated]:
    """Makes a decorator by which a function or class still accepts old keyword arguments.

    Not for Keras layers and models, which inspect their constructor.

    Args:
        convert: By old name, what turns an old value into the new one, where it changed as well.
        **names: The new name of each old one.
    """

    def decorate(decorated: Any) -> Any:
        function = decorated.__init__ if isinstance(decorated, type) else decorated

        @functools.wraps(function)
        def accept(*args: Any, **kwargs: Any) -> Any:
            for old in names.keys() & kwargs.keys():
                value = kwargs.pop(old)
                kwargs[names[old]] = convert[old](value) if convert and old in convert else value
                warnings.warn(
                    f"{decorated.__name__}: {old} is now {names[old]}; the old name goes in "
                    "version 0.3.",
                    DeprecationWarning,
                    stacklevel=2,
                )
            return function(*args, **kwargs)

        if isinstance(decorated, type):
            decorated.__init__ = accept
            return decorated
        return accept

    return decorate


class _MovedModule(types.ModuleType):
    """Stands at a module's old place and passes names on from the new one."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        old = self.__name__.partition(".")[2]
        if f"{old}.{name}" in _NAMES:
            return _find(f"{old}.{name}")
        return getattr(importlib.import_module(f"{_PACKAGE}.{_MODULES[old]}"), name)


class _MovedModuleFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, inside = fullname.partition(".")
        if package != _PACKAGE or inside not in _MODULES:
            return None
        is_package = any(name.startswith(f"{inside}.") for name in _MODULES)
        return importlib.util.spec_from_loader(fullname, self, is_package=is_package)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _MovedModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        new = _MODULES[module.__name__.partition(".")[2]]
        warnings.warn(
            f"{module.__name__} is now {_PACKAGE}.{new}; the old module goes in version 0.3.",
            DeprecationWarning,
            stacklevel=2,
        )


def install() -> None:
    """Lets old modules be imported. Called once, when the package is."""
    if not any(type(finder).__name__ == _MovedModuleFinder.__name__ for finder in sys.meta_path):
        sys.meta_path.append(_MovedModuleFinder())
