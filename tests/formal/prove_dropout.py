"""Which hidden neurons are left out: the draws and comparisons of ``docs/learning.md``."""

from amaranth.hdl import Module, Signal
from firstspike.firmware.config import DROPOUT_DRAWS, Config, LayerConfig
from firstspike.hdl.dropout import Dropout
from prove import Method, prove
from watch import any_constant, assume, claim, free, given, past, reached


def _config(neurons: int, lanes: int) -> Config:
    layers = [LayerConfig(2, neurons, lanes), LayerConfig(neurons, 2, 2)]
    return Config(layers, 4, learning=True)


@prove(
    Method.BOUNDED,
    10,
    cover=10,
    sizes={
        "6 neurons, 4 lanes": {"config": _config(6, 4)},
        "7 neurons, 7 lanes": {"config": _config(7, 7)},
    },
)
def mask(m: Module, config: Config) -> None:
    """A mask leaves out neuron j if and only if number j mod 4 of draw j / 4 after its start is
    less than the probability; and the generator makes one draw for every four neurons, no more."""
    layer = config.layers[0]
    m.submodules.dut = dut = Dropout(config, 0)
    free(m, dut, "random", "probability")
    probability = any_constant(m, 16, "probability")
    seed = any_constant(m, 64, "seed")
    state = Signal(64)
    first = past(m, 1) == 0
    m.d.comb += [dut.probability.eq(probability), dut.random.eq(state)]
    assume(m, dut.start == first)
    assume(m, dut.group < layer.groups)
    with m.If(first):
        m.d.sync += state.eq(seed)
    with m.Elif(dut.random_load):
        m.d.sync += state.eq(dut.random_next)

    draws = -(-layer.neurons // DROPOUT_DRAWS)
    numbers = []
    drawn = seed
    for draw in range(draws):
        for shift, left in ((13, True), (7, False), (17, True)):
            following = Signal(64, name=f"draw_{draw}")
            m.d.comb += following.eq(drawn ^ (drawn << shift if left else drawn >> shift))
            drawn = following
        numbers += [drawn.word_select(number, 16) for number in range(DROPOUT_DRAWS)]

    ready = ~first & ~dut.busy
    claim(m, given(ready, state == drawn), "the generator is where so many draws leave it")
    for group in range(layer.groups):
        read = past(m, ready & (dut.group == group)) & ready
        for lane in range(layer.lanes):
            neuron = group * layer.lanes + lane
            if neuron < layer.neurons:
                out = numbers[neuron] < probability
                claim(m, given(read, dut.mask[lane] == out), "a neuron is left out by its number")
    reached(m, ready & (dut.mask == 0b101), "some are left out")
