"""Temporal back-propagation against finite differences, brute force and the golden model."""

import numpy as np
import pytest
from firstspike.firmware.formats import NEVER
from firstspike.firmware.network import Layer, Network
from firstspike.sim import golden

torch = pytest.importorskip("torch")

from firstspike import temporal  # noqa: E402


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the limit off the derivatives, which finite differences do not know."""
    monkeypatch.setattr(temporal, "FLOOR", 1e-9)


def crossing(times: np.ndarray, weights: np.ndarray, horizon: float) -> float:
    """First threshold crossing of one neuron by trying every prefix of spikes as causal set."""
    order = np.argsort(times)
    z = np.exp(times[order])
    w = weights[order]
    for count in range(1, len(z) + 1):
        if not np.isfinite(z[count - 1]) or w[:count].sum() <= 1:
            continue
        out = (w[:count] * z[:count]).sum() / (w[:count].sum() - 1)
        later = z[count] if count < len(z) else np.inf
        if z[count - 1] <= out <= later and out < np.exp(horizon):
            return float(np.log(out))
    return np.inf


def spikes(seed: int, batch: int, inputs: int, silent: float = 0.2) -> torch.Tensor:
    random = np.random.default_rng(seed)
    times = random.uniform(0, 1.5, (batch, inputs))
    times[random.random((batch, inputs)) < silent] = np.inf
    return torch.from_numpy(times)


@pytest.mark.parametrize("seed", range(4))
def test_closed_form_finds_the_first_crossing(seed):
    times = spikes(seed, 6, 15)
    weights = torch.from_numpy(np.random.default_rng(seed).normal(0.15, 0.3, (15, 8)))
    found, _ = temporal.causal_layer(times, weights, 2.5, silent=False)
    expected = [
        [crossing(sample, column, 2.5) for column in weights.numpy().T] for sample in times.numpy()
    ]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)
    assert np.isfinite(expected).any()
    assert np.isinf(expected).any()


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("seed", range(3))
def test_causal_gradient(seed):
    # Every input spikes: finite differences cannot move an infinite time.
    times = spikes(seed, 4, 12, silent=0).requires_grad_()
    weights = torch.from_numpy(np.random.default_rng(seed).normal(0.3, 0.3, (12, 5)))
    weights.requires_grad_()
    output, drive = temporal.causal_layer(times, weights, 4.0, silent=False)
    finite = torch.isfinite(output)
    assert finite.sum() > 10

    def fired(t: torch.Tensor, w: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        output, drive = temporal.causal_layer(t, w, 4.0, silent=False)
        return output[finite], drive[finite]

    assert torch.autograd.gradcheck(fired, (times, weights))
    assert drive.shape == output.shape


@pytest.mark.parametrize("seed", range(3))
def test_gradient_of_silent_neurons(seed):
    times = spikes(seed, 4, 12, silent=0).requires_grad_()
    weights = torch.from_numpy(np.random.default_rng(seed).normal(0.0, 0.1, (12, 5)))
    weights.requires_grad_()

    def layer(t: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return temporal.causal_layer(t, w, 2.0, silent=True)[0]

    assert (layer(times, weights) > 2.0).all()
    assert torch.autograd.gradcheck(layer, (times, weights))
    hidden, _ = temporal.causal_layer(times, weights, 2.0, silent=False)
    assert torch.isinf(hidden).all()
    torch.nan_to_num(hidden, posinf=0.0).sum().backward()
    assert not weights.grad.any()


@pytest.mark.usefixtures("exact")
def test_simultaneous_gradient_and_agreement_with_the_general_layer():
    random = np.random.default_rng(2)
    inputs = torch.from_numpy((random.random((5, 20)) < 0.6).astype(float))
    weights = torch.from_numpy(random.normal(0.2, 0.15, (20, 6))).requires_grad_()
    times, drive = temporal.simultaneous_layer(inputs, weights)
    general, _ = temporal.causal_layer(
        torch.where(inputs > 0, 0.0, torch.inf).double(), weights, 100.0, silent=False
    )
    torch.testing.assert_close(times, general)
    torch.testing.assert_close(drive, inputs @ weights)
    finite = torch.isfinite(times)
    assert finite.any()
    assert torch.autograd.gradcheck(
        lambda w: temporal.simultaneous_layer(inputs, w)[0][finite], (weights,)
    )
    gradients = [
        torch.autograd.grad(output[finite].sum(), weights)[0] for output in (times, general)
    ]
    torch.testing.assert_close(*gradients)


def test_derivative_is_bounded_at_a_barely_sufficient_drive():
    weights = torch.full((1, 1), 1.0001, requires_grad=True)
    temporal.simultaneous_layer(torch.ones(1, 1), weights)[0].sum().backward()
    assert abs(weights.grad.item()) < 1 / temporal.FLOOR


def to_steps(times: torch.Tensor, clock: temporal.Clock) -> np.ndarray:
    steps = (times.detach().double() * clock.tau).round()
    return torch.nan_to_num(steps, posinf=NEVER).int().numpy()


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("k", [2, 4, 6])
@pytest.mark.parametrize("simultaneous", [True, False])
def test_clock_agrees_with_the_golden_model(bits, k, simultaneous):
    """Every spike up to the decision, and the decision step, of random two-layer networks."""
    random = np.random.default_rng((bits, k))
    limit = (1 << (bits - 1)) - 1
    shape, steps = (30, 24, 5), 4 << k
    layers = [
        Layer(
            np.clip(np.rint(random.normal(0.2, 0.6, size) * limit), -limit, limit).astype(np.int8),
            k,
            max(1, int(limit * 2**k * scale)),
            bits,
        )
        for size, scale in zip((shape[:2], shape[1:]), (4, 2), strict=True)
    ]
    network = Network(layers, steps)
    samples = np.where(
        random.random((50, 30)) < 0.6,
        0 if simultaneous else random.integers(0, 1 << k, (50, 30)),
        NEVER,
    ).astype(np.int32)
    clocks = [temporal.Clock(layer.k, layer.threshold, steps) for layer in layers]
    weights = [torch.from_numpy(layer.weights.astype(np.float32)) for layer in layers]
    inputs = torch.from_numpy(samples)
    if simultaneous:
        hidden, _ = temporal.simultaneous_layer((inputs >= 0).float(), weights[0], clocks[0])
    else:
        times = torch.where(inputs >= 0, inputs / clocks[0].tau, torch.inf)
        hidden, _ = temporal.causal_layer(times, weights[0], clocks[0], silent=False)
    output, _ = temporal.causal_layer(hidden, weights[1], clocks[1], silent=True)
    result = golden.infer(network, samples)
    steps_hidden = to_steps(hidden, clocks[0])
    steps_hidden[steps_hidden > result.step[:, None]] = NEVER
    np.testing.assert_array_equal(steps_hidden, result.spikes[0])
    first = output.double().amin(dim=1).numpy() * clocks[1].tau
    fired = first <= steps + 1e-3
    np.testing.assert_array_equal(fired, result.fired)
    np.testing.assert_array_equal(np.ceil(first[fired] - 1e-3) - 1, result.step[fired])
    assert result.fired.any()


def test_table_is_the_clocked_layer():
    clock = temporal.Clock(4, 300, 64)
    sums = torch.arange(-5.0, 310.0)[:, None]
    table, _ = temporal.simultaneous_layer(sums, torch.ones(1, 1), clock)
    # The general layer gets the same charge as one weight that arrives in step 0.
    for charge, time in zip(sums[:, 0], table[:, 0], strict=True):
        general, _ = temporal.causal_layer(
            torch.zeros(1, 1), charge.reshape(1, 1), clock, silent=False
        )
        assert general.item() == pytest.approx(time.item(), abs=1e-6)
