"""Adaptation of step sizes to a target acceptance rate."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

# Hoffman and Gelman's constants: shrinkage, early damping, forgetting.
_GAMMA, _T0, _KAPPA = 0.05, 10.0, 0.75


@dataclass(frozen=True)
class DualAveraging:
    r"""Dual averaging of the logarithm of the step size.

    .. math::
        \log s_{t+1} &= \log s_0 - \frac{\sqrt t}{\gamma\,(t + t_0)}
            \sum_{i \le t} (a^* - a_i) \\
        \log \bar s_{t+1} &= t^{-\kappa} \log s_{t+1} + (1 - t^{-\kappa}) \log \bar s_t

    with a_i the mean acceptance probability of step i over all chains. Everything is a
    tensor on the chains' device, so that tuning never waits for the device.

    Attributes
    ----------
    log_start, log_step, log_average, error_sum : Tensor of shape ()
    target : float
        a*, the target acceptance rate.
    count : int
        t, the number of updates so far.

    References
    ----------
    M. D. Hoffman and A. Gelman, "The No-U-Turn Sampler", JMLR 15 (2014), section 3.2.
    There s_0 is ten times the first step size; here, where thousands of chains make a_i
    exact, it is the first.
    """

    log_start: Tensor
    log_step: Tensor
    log_average: Tensor
    error_sum: Tensor
    target: float
    count: int = 0

    @classmethod
    def start(cls, step_size: Tensor, target: float) -> DualAveraging:
        """Return the initial state at `step_size`, shape ()."""
        log_step = step_size.log()
        return cls(log_step, log_step, log_step, log_step.new_zeros(()), target)

    def update(self, acceptance: Tensor) -> DualAveraging:
        """Return the state after one more step of mean acceptance rate `acceptance`."""
        t = self.count + 1
        error_sum = self.error_sum + (self.target - acceptance)
        log_step = self.log_start - t**0.5 / (_GAMMA * (t + _T0)) * error_sum
        log_average = self.log_average.lerp(log_step, t**-_KAPPA)
        return replace(
            self,
            log_step=log_step,
            log_average=log_average,
            error_sum=error_sum,
            count=t,
        )
