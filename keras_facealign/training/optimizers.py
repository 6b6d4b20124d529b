"""The optimizers and learning rates that the training recipes name.

Keras has what the paper asks for: Nadam, and a piecewise constant rate. The original code ran on
MXNet's Nadam, which is another rule; it is here as `SharedScheduleNadam`. `QuickAdamW` is Keras's
AdamW, which starts sooner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import ops

from keras_facealign.errors import FaceAlignError
from keras_facealign.objective.recipes import RENAMED_RECIPES


class _TwoMoments(keras.optimizers.Optimizer):
    """Keeps the mean of each variable's gradient, and that of its square."""

    def build(self, variables: Sequence[Any]) -> None:
        """Makes the moments of each variable."""
        if self.built:
            return
        super().build(variables)
        self._momentums = [self.add_variable_from_reference(v, "momentum") for v in variables]
        self._velocities = [self.add_variable_from_reference(v, "velocity") for v in variables]


@keras.saving.register_keras_serializable(package="keras_facealign")
class SharedScheduleNadam(_TwoMoments):
    """MXNet's Nadam: one momentum schedule for all weight arrays, advanced by each of them.

    Nadam divides by 1 - M, where M is the product of the momentum over the steps. MXNet keeps a
    single M and multiplies it at the update of every *array*, so that with hundreds of arrays it is
    almost 0 before the first step ends: the correction of the first moment's start vanishes, where
    Keras's Nadam keeps it. Arrays are updated in the order in which they are given; the order
    matters in the first step or two, until M is nothing.

    With the gradient g, the step t from 1, mu(t) = beta_1 (1 - 0.5 * 0.96^(schedule_decay * t)):

        g = clip(rescale_gradient * g + wd * w)
        M = M * mu(t)
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * g^2
        step = (1 - mu(t)) * g / (1 - M) + mu(t + 1) * m / (1 - M * mu(t + 1))
        w = w - learning_rate * step / (sqrt(v / (1 - beta_2^t)) + epsilon)

    Source: `mxnet.optimizer.Nadam`, versions 1.3.0 and 1.9.1.

    Args:
        learning_rate: Number, schedule or callable; the original's 2.5e-4.
        beta_1: Decay of the first moment.
        beta_2: Decay of the second moment.
        epsilon: Added to the root of the second moment.
        schedule_decay: How fast the momentum grows towards beta_1.
        rescale_gradient: Factor of the gradient before anything else.
        wd: Weight decay as MXNet understands it: added to the gradient, for every array. (Keras's
            own argument `weight_decay` is decoupled from the gradient.)
        clip_gradient: Largest magnitude of an element of the gradient, weight decay included.
        name: Name of the optimizer.
        **kwargs: Further arguments of `keras.optimizers.Optimizer`.

    Example:
        >>> w = keras.Variable([1.0])
        >>> SharedScheduleNadam(0.1).apply([ops.array([2.0])], [w])
        >>> round(float(w[0]), 4)
        0.8944
    """

    def __init__(
        self,
        learning_rate: Any = 2.5e-4,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        schedule_decay: float = 0.004,
        rescale_gradient: float = 1.0,
        wd: float = 0.0,
        clip_gradient: float | None = None,
        name: str = "shared_schedule_nadam",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        for key, value in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= value < 1:
                raise FaceAlignError(f"{key} is {value}; it must be at least 0 and below 1.")
        if not wd >= 0:
            raise FaceAlignError(f"wd is {wd}; it must not be negative.")
        if clip_gradient is not None and not clip_gradient > 0:
            raise FaceAlignError(f"clip_gradient is {clip_gradient}; give a positive one or None.")
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.schedule_decay = schedule_decay
        self.rescale_gradient = rescale_gradient
        self.wd = wd
        self.clip_gradient = clip_gradient

    def build(self, variables: Sequence[Any]) -> None:
        """Makes the moments of each variable, and the schedule that they share."""
        if self.built:
            return
        super().build(variables)
        # Products of hundreds of factors are no place for reduced precision.
        self._schedule = self.add_variable(
            shape=(), initializer="ones", dtype="float32", name="momentum_schedule"
        )

    def _momentum(self, step: Any) -> Any:
        return self.beta_1 * (1.0 - 0.5 * ops.power(0.96, step * self.schedule_decay))

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable, its moments, and the schedule that the next variable goes on with.

        Args:
            gradient: Of the loss with respect to the variable, of its shape.
            variable: What to update.
            learning_rate: Scalar.
        """
        dtype = variable.dtype
        step = ops.cast(self.iterations, "float32") + 1.0
        now, then = self._momentum(step), self._momentum(step + 1.0)
        self.assign(self._schedule, self._schedule * now)
        # float32 scalars up to here: bfloat16 cannot represent 1 - 0.999^t accurately.
        plain = ops.cast((1.0 - now) / (1.0 - self._schedule), dtype)
        averaged = ops.cast(then / (1.0 - self._schedule * then), dtype)
        correction = ops.cast(1.0 / (1.0 - ops.power(self.beta_2, step)), dtype)
        rate = ops.cast(learning_rate, dtype)

        gradient = ops.cast(gradient, dtype) * self.rescale_gradient
        if self.wd:
            gradient = gradient + self.wd * variable
        if self.clip_gradient is not None:
            gradient = ops.clip(gradient, -self.clip_gradient, self.clip_gradient)
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        self.assign_add(m, (gradient - m) * (1.0 - self.beta_1))
        self.assign_add(v, (ops.square(gradient) - v) * (1.0 - self.beta_2))
        change = plain * gradient + averaged * m
        self.assign_sub(variable, rate * change / (ops.sqrt(v * correction) + self.epsilon))

    def get_config(self) -> dict[str, Any]:
        names = ("beta_1", "beta_2", "epsilon", "schedule_decay", "rescale_gradient", "wd")
        own = {name: getattr(self, name) for name in (*names, "clip_gradient")}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="keras_facealign")
class QuickAdamW(_TwoMoments):
    """Keras's AdamW, with the same steps, and what all weights share once in the graph.

    Keras computes the learning rate and the corrections of the moments' start again for each of the
    weights, of which a network has hundreds.

    Args:
        learning_rate: Number, schedule or callable.
        weight_decay: What each step takes away of a weight, times the learning rate.
        beta_1: Decay of the first moment.
        beta_2: Decay of the second moment.
        epsilon: Added to the root of the second moment.
        name: Name of the optimizer.
        **kwargs: Further arguments of `keras.optimizers.Optimizer`.

    Example:
        >>> w = keras.Variable([1.0])
        >>> QuickAdamW(0.1, weight_decay=0.5).apply([ops.array([2.0])], [w])
        >>> round(float(w[0]), 4)
        0.85
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        name: str = "quick_adamw",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        if not weight_decay >= 0:
            raise FaceAlignError(f"weight_decay is {weight_decay}; it must not be negative.")
        self.decay = weight_decay  # `weight_decay` would make Keras do it too
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self._correction: Any = None

    def apply(self, grads: Sequence[Any], trainable_variables: Any = None) -> None:
        """Updates all variables, as every Keras optimizer does."""
        step = ops.cast(self.iterations + 1, "float32")
        first, second = ops.power(self.beta_1, step), ops.power(self.beta_2, step)
        self._correction = ops.sqrt(1 - second) / (1 - first)
        try:
            super().apply(grads, trainable_variables)
        finally:
            self._correction = None

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable and its moments.

        Args:
            gradient: Of the loss with respect to the variable, of its shape.
            variable: What to update.
            learning_rate: Scalar.
        """
        rate, correction = (
            ops.cast(value, variable.dtype) for value in (learning_rate, self._correction)
        )
        gradient = ops.cast(gradient, variable.dtype)
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        self.assign_add(m, (gradient - m) * (1 - self.beta_1))
        self.assign_add(v, (ops.square(gradient) - v) * (1 - self.beta_2))
        change = variable * self.decay + m * correction / (ops.sqrt(v) + self.epsilon)
        self.assign_sub(variable, rate * change)

    def get_config(self) -> dict[str, Any]:
        names = ("beta_1", "beta_2", "epsilon")
        own = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **own, "weight_decay": self.decay}


def adamw(learning_rate: Any, **kwargs: Any) -> keras.optimizers.Optimizer:
    """AdamW as it is quickest: `QuickAdamW`, on PyTorch Keras's own, which updates all at once.

    Args:
        learning_rate: Number, schedule or callable.
        **kwargs: Further arguments of `keras.optimizers.AdamW`.

    Example:
        >>> adamw(1e-3, weight_decay=1e-4).decay
        0.0001
    """
    torch = keras.backend.backend() == "torch"
    return (keras.optimizers.AdamW if torch else QuickAdamW)(learning_rate, **kwargs)


def step_decay(
    learning_rate: float, drops: Sequence[int], factor: float = 0.2
) -> keras.optimizers.schedules.PiecewiseConstantDecay:
    """A rate that falls by a factor at each of some steps.

    Args:
        learning_rate: Rate of the first steps.
        drops: Steps after which the rate falls, ascending.
        factor: What each drop multiplies the rate by.

    Returns:
        A Keras schedule.

    Raises:
        FaceAlignError: If the steps do not ascend, or the rate is not positive.

    Example:
        >>> rate = step_decay(2.5e-4, [16000, 24000])
        >>> [round(float(rate(step)), 8) for step in (0, 16001, 24001)]
        [0.00025, 5e-05, 1e-05]
    """
    if not learning_rate > 0:
        raise FaceAlignError(f"learning_rate is {learning_rate}; it must be positive.")
    steps = [int(step) for step in drops]
    if steps != sorted(set(steps)) or (steps and steps[0] < 1):
        raise FaceAlignError(f"drops are {list(drops)}; give ascending steps from 1 on.")
    rates = [learning_rate * factor**i for i in range(len(steps) + 1)]
    return keras.optimizers.schedules.PiecewiseConstantDecay(steps, rates)


@dataclass(frozen=True)
class RecipeOptimizer:
    """How a recipe updates the weights.

    Attributes:
        shared_schedule: Whether by `SharedScheduleNadam`; else by Keras's Nadam.
        learning_rate: Rate of the first steps.
        drops: Parts of the run after which the rate falls to a fifth.
        options: Further arguments of `SharedScheduleNadam`.
    """

    shared_schedule: bool
    learning_rate: float = 2.5e-4
    drops: tuple[float, ...] = (16 / 30, 24 / 30)
    options: dict[str, Any] = field(default_factory=dict)


RECIPE_OPTIMIZERS: dict[str, RecipeOptimizer] = {
    # 30 000 steps of 40 images, drops at 16 000 and 24 000; so too for both InsightFace codes.
    "paper": RecipeOptimizer(False),
    # 45 epochs in steps of 16 images, drops at 20 and 35; the rate is that of its README.
    "dfa": RecipeOptimizer(True, 1e-4, (20 / 45, 35 / 45)),
    "insightface": RecipeOptimizer(True),
    "insightface_2018": RecipeOptimizer(True, options={"wd": 5e-4, "clip_gradient": 5.0}),
}


def recipe_optimizer(
    recipe: str = "paper",
    steps: int = 30_000,
    learning_rate: float | None = None,
    shared_schedule: bool | None = None,
) -> keras.optimizers.Optimizer:
    """The optimizer of a training recipe.

    Args:
        recipe: A key of `RECIPE_OPTIMIZERS`; `compile(recipe=...)` takes the same names.
        steps: Length of the run. The rate falls where the original's would, as a part of it.
        learning_rate: Rate of the first steps. Default: the recipe's.
        shared_schedule: MXNet's Nadam (True) or Keras's (False). Default: the recipe's.

    Returns:
        A Keras optimizer.

    Raises:
        FaceAlignError: If the recipe is unknown, or a number not positive.

    Example:
        >>> recipe_optimizer("insightface_2018").wd
        0.0005
    """
    recipe = RENAMED_RECIPES.get(recipe, recipe)
    if recipe not in RECIPE_OPTIMIZERS:
        raise FaceAlignError(
            f"Unknown recipe {recipe!r}; choose one of: {', '.join(RECIPE_OPTIMIZERS)}."
        )
    if steps < 1:
        raise FaceAlignError(f"steps is {steps}; a run has at least one.")
    chosen = RECIPE_OPTIMIZERS[recipe]
    # In a run of a few steps drops may coincide, or fall before the first.
    drops = sorted({max(round(part * steps), 1) for part in chosen.drops})
    rate = step_decay(chosen.learning_rate if learning_rate is None else learning_rate, drops)
    if chosen.shared_schedule if shared_schedule is None else shared_schedule:
        return SharedScheduleNadam(rate, **chosen.options)
    return keras.optimizers.Nadam(rate)
