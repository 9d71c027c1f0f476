"""The golden learner: the rule by hand on small networks, and the compiled one against it."""

from dataclasses import fields, replace

import numpy as np
import pytest
from firstspike import Layer, Network
from firstspike.firmware.errors import DataError
from firstspike.firmware.formats import NEVER
from firstspike.firmware.learning import ALWAYS, Progress, Rule
from firstspike.sim import fast_learner, learner
from firstspike.sim.random_networks import random_case

EVER = Rule([ALWAYS, ALWAYS], margin=1, activity=0, step=2)
START = Progress(update=1, dropout=[1])


def two_layers(first, second, thresholds=(8, 8), steps=8, **kwargs):
    layers = [
        Layer(np.array(weights), 2, threshold, membrane_bits=20, **kwargs)
        for weights, threshold in zip((first, second), thresholds, strict=True)
    ]
    return Network(layers, steps)


def learn(network, sample, label, rule=EVER, start=START):
    pupil = learner.Learner(network, rule, start)
    learned = pupil.learn(np.array([sample]), np.array([label]))
    weights = [layer.weights.tolist() for layer in pupil.network.layers]
    return learned, weights, pupil


def test_the_labelled_output_is_pulled_and_the_other_pushed():
    # Hidden neuron 0 spikes at once; output 1 wins, output 0 was meant. Hidden 0 helps output 1 and
    # not output 0: both votes are against it. Hidden 1 is silent and stays as it is.
    network = two_layers([[9, -1], [0, 3]], [[-3, 9], [5, 5]])
    learned, (first, second), _ = learn(network, [0, NEVER], 0)
    assert (learned.label[0], learned.step[0], learned.fired[0]) == (1, 0, True)
    assert learned.erred[0]
    assert learned.stop[0] == 7
    assert second == [[-1, 7], [5, 5]]
    assert first == [[8, -1], [0, 3]]
    assert learned.rows.tolist() == [[1, 1]]
    assert learned.updated.tolist() == [[1, 1]]


def test_votes_that_cancel_move_nothing():
    network = two_layers([[9]], [[3, 9]])
    _, (first, second), _ = learn(network, [0], 0)
    assert first == [[9]]
    assert second == [[5, 7]]


def test_a_weight_of_zero_does_not_vote():
    network = two_layers([[9]], [[0, 9]])
    _, (first, second), _ = learn(network, [0], 0)
    assert first == [[8]]
    assert second == [[2, 7]]


@pytest.mark.parametrize(("margin", "erred"), [(0, False), (1, True)])
def test_the_margin(margin, erred):
    # Output 0 fires in step 0 and output 1 in step 1.
    network = two_layers([[9]], [[9, 7]])
    rule = replace(EVER, margin=margin)
    learned, (_, second), pupil = learn(network, [0], 0, rule)
    assert learned.stop[0] == margin
    assert learned.erred[0] == erred
    assert second == ([[11, 5]] if erred else [[9, 7]])
    assert pupil.progress.learned == 1
    assert (pupil.progress.update == START.update) == (not erred)


def test_inputs_after_the_spike_are_not_concerned():
    # Input 1 comes when the hidden neuron has spiked; input 2 spikes in the same step as it does.
    network = two_layers([[7], [5], [1]], [[-9, 9]])
    learned, (first, _), _ = learn(network, [0, 4, 1], 0)
    assert learned.rows[0, 0] == 3
    assert first == [[6], [5], [0]]


@pytest.mark.parametrize(("activity", "moved"), [(1, False), (2, True)])
def test_homeostasis(activity, moved):
    # Hidden 0 spikes, hidden 1 does not, and neither does the output.
    network = two_layers([[9, 1]], [[1, 0], [1, 0]], thresholds=(9, 20))
    _, (first, _), _ = learn(network, [0], 1, replace(EVER, activity=activity))
    assert first == [[9, 2 if moved else 1]]


def test_weights_stop_at_their_ends():
    network = two_layers([[126, 4]], [[-3, 3], [-3, -2]], thresholds=(4, 4), weight_bits=8)
    rule = replace(EVER, step=7)
    pupil = learner.Learner(network, rule, START)
    for _ in range(40):
        pupil.learn(np.array([[0]]), np.array([0]))
        pupil.learn(np.array([[0]]), np.array([1]))
    assert all(np.abs(layer.weights).max() <= 127 for layer in pupil.network.layers)
    narrow = two_layers([[1]], [[1, -1]], thresholds=(1, 1), weight_bits=2)
    _, (_, second), _ = learn(narrow, [0], 1, replace(rule, activity=1))
    assert second == [[-1, 1]]


def test_rate_and_generator():
    # The first numbers of the generator started at 1, by hand: 1 → 270369 → 67634689.
    network = two_layers([[9]], [[0, 9]])
    draws = (270_369 >> 16, 67_634_689 >> 16)
    for rate, moved in ((draws[0], False), (draws[0] + 1, True)):
        rule = replace(EVER, rates=[0, rate])
        _, (first, second), pupil = learn(network, [0], 0, rule)
        assert first == [[9]]
        assert (second == [[2, 7]]) == moved
        assert pupil.progress.update == 67_634_689


def test_dropout_by_an_own_generator():
    def numbers(state):
        while True:
            state ^= state << 13 & (1 << 64) - 1
            state ^= state >> 7
            state ^= state << 17 & (1 << 64) - 1
            for place in range(4):
                yield state >> 16 * place & 0xFFFF, state

    network = two_layers([[9] * 6], [[1, 0]] * 6, thresholds=(8, 100))
    drawn = numbers(1)
    own = [next(drawn)[0] for _ in range(6)]
    cut = sorted(own)[2]
    learned, _, pupil = learn(network, [0], 0, replace(EVER, dropout=cut))
    assert learned.rows[0, 1] == sum(number >= cut for number in own) == 4
    assert pupil.progress.dropout[0] == next(numbers(next(numbers(1))[1]))[1]


def test_resumed_equals_uninterrupted():
    case = random_case(3)
    rule = Rule([ALWAYS // 2] * len(case.network.layers), dropout=10_000)
    labels = np.arange(len(case.samples)) % case.network.outputs
    start = Progress.start(len(case.network.layers), seed=5)
    whole = learner.Learner(case.network, rule, start)
    whole.learn(case.samples, labels)
    first = learner.Learner(case.network, rule, start)
    first.learn(case.samples[:3], labels[:3])
    has_row = case.network.layers[0].weights.any(axis=1)
    second = learner.Learner(first.network, rule, first.progress, has_row=has_row)
    second.learn(case.samples[3:], labels[3:])
    assert second.progress == whole.progress
    for mine, theirs in zip(second.network.layers, whole.network.layers, strict=True):
        assert (mine.weights == theirs.weights).all()


def random_rule(draw, network):
    return Rule(
        [int(draw.choice([0, 1, 700, ALWAYS // 2, ALWAYS])) for _ in network.layers],
        margin=min(int(draw.choice([0, 1, 2, 5, 100])), network.steps - 1),
        dropout=int(draw.choice([0, 0, 13_107, 40_000, ALWAYS - 1])),
        activity=int(draw.choice([0, 1, 4, 10_000])),
        step=int(draw.integers(1, 8)),
        input_dropout=int(draw.choice([0, 0, 6554, ALWAYS // 2])),
        dead_zone=int(draw.choice([0, 0, 1, 12, 127])),
    )


def check_compiled(draw, network, samples, has_row=None):
    """The compiled learner does all that the golden one does; return what it has learned."""
    start = Progress.start(len(network.layers), int(draw.integers(1 << 32)))
    rule = random_rule(draw, network)
    pupils = [
        kind.Learner(network, rule, start, has_row=has_row) for kind in (learner, fast_learner)
    ]
    for _ in range(3):
        rule = random_rule(draw, network)
        labels = draw.integers(0, network.outputs, len(samples))
        results = []
        for pupil in pupils:
            pupil.rule = rule
            results.append(pupil.learn(samples, labels))
        for entry in fields(learner.Learned):
            mine, theirs = (getattr(result, entry.name) for result in results)
            assert np.array_equal(mine, theirs), entry.name
        assert pupils[0].progress == pupils[1].progress
        networks = [pupil.network for pupil in pupils]
        for mine, theirs in zip(*(network.layers for network in networks), strict=True):
            assert np.array_equal(mine.weights, theirs.weights)
    return networks[0]


@pytest.mark.parametrize("seed", range(150))
def test_compiled_equals_golden(seed):
    case = random_case(seed, batch=12)
    check_compiled(np.random.default_rng(seed), case.network, case.samples)


@pytest.mark.parametrize("seed", range(8))
def test_sums_of_more_than_16_bits(seed):
    """Hundreds of inputs that spike together, with weights near their ends."""
    draw = np.random.default_rng(seed)
    inputs = int(draw.integers(300, 600))
    weights = draw.integers(90, 128, (inputs, 9))
    weights[:, ::3] *= -1
    samples = np.full((6, inputs), draw.integers(4))
    samples[draw.random(samples.shape) < 0.03] = NEVER
    assert np.abs(weights.sum(axis=0)).min() > 1 << 14
    layers = [
        Layer(weights, 4, 80_000, membrane_bits=24),
        Layer(draw.integers(-60, 90, (9, 4)), 3, 300, membrane_bits=20),
    ]
    check_compiled(draw, Network(layers, steps=20), samples)


@pytest.mark.parametrize("seed", range(20))
def test_compiled_equals_golden_whichever_inputs_have_rows(seed):
    """Rows without weights learn; inputs without a row do not."""
    case = random_case(seed, batch=12)
    draw = np.random.default_rng(seed)
    first, *others = case.network.layers
    weights = first.weights.copy()
    weights[draw.random(len(weights)) < 0.5] = 0
    has_row = weights.any(axis=1) | (draw.random(len(weights)) < 0.5)
    network = Network([replace(first, weights=weights), *others], case.network.steps)
    learned = check_compiled(draw, network, case.samples, has_row)
    assert not learned.layers[0].weights[~has_row].any()


def test_a_row_without_weights_learns():
    network = two_layers([[9, 9], [0, 0], [0, 0]], [[9, 0], [9, 0]])
    has_row = np.array([True, True, False])
    for kind in (learner, fast_learner):
        pupil = kind.Learner(network, EVER, START, has_row=has_row)
        pupil.learn(np.zeros((1, 3), int), np.array([1]))
        assert pupil.network.layers[0].weights.tolist() == [[8, 8], [-1, -1], [0, 0]]


def test_what_does_not_fit_is_refused():
    network = two_layers([[9]], [[3, 9]])
    pupil = fast_learner.Learner(network, EVER, START)
    with pytest.raises(DataError, match="3 rates, but the network has 2 layers"):
        pupil.rule = Rule([1, 2, 3])
    with pytest.raises(DataError, match="a label is 2, but the outputs are 0 to 1"):
        pupil.learn(np.array([[0]]), np.array([2]))
    with pytest.raises(DataError, match=r"labels have shape \(2,\)"):
        pupil.learn(np.array([[0]]), np.array([0, 1]))
    with pytest.raises(DataError, match="progress is of a network with 2 hidden layers"):
        learner.Learner(network, EVER, Progress(1, [1, 1]))
    with pytest.raises(DataError, match=r"has_row has shape \(3,\)"):
        learner.Learner(network, EVER, START, has_row=np.ones(3, dtype=bool))
    with pytest.raises(
        DataError, match=r"margin is 8 steps, but .* for 8; give a margin of 0 to 7"
    ):
        pupil.rule = replace(EVER, margin=8)
    with pytest.raises(DataError, match="the seed is -1, but it is at least 0"):
        Progress.start(2, seed=-1)
    with pytest.raises(DataError, match="margin of the learning rule is -1"):
        Rule([1], margin=-1)
    with pytest.raises(DataError, match="update of the learning progress is 0"):
        Progress(0, [1])
