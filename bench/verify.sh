#!/bin/sh
# Everything that is claimed to be bit-exact, at full length: golden model, cycle model and compiled
# gateware on all 10,000 MNIST test images, for every shipped network, for lanes that divide the
# layers and lanes that do not, for every weight width, and on a thousand random networks. About
# half an hour on two cores. Stops at the first divergence.
#
#     PATH=.venv/bin:$PATH sh bench/verify.sh
#
# The networks of every weight width are trained for an epoch, which needs the train extra.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

verify() {
    echo "\$ firstspike verify $*"
    firstspike verify "$@" -q
}

verify mnist-784-600-10 -n 10000 --lanes 100,10
verify mnist-784-600-10 -n 10000 --lanes 64,7
verify mnist-784-600-10 -n 10000 --lanes 600,10
verify mnist-784-600-10-fast -n 10000 --lanes 600,10 --neuron sum --ways 8
verify mnist-784-600-10 -n 10000 --lanes 100,10 --neuron sum --ways 4
verify mnist-784-128-10 -n 10000 --lanes 8,5 --neuron sum
verify mnist-784-600-10-4bit -n 10000 --lanes 50,10
verify mnist-784-600-10-ternary -n 10000 --lanes 120,3
verify mnist-784-400-400-10 -n 10000 --lanes 100,48,10
verify mnist-784-128-10 -n 10000 --lanes 8,10
verify mnist-784-128-10-grey -n 10000 --lanes 32,4
verify mnist-784-600-10-sparse -n 10000 --lanes 75,5
verify digits-64-32-10 -n 359 --lanes 5,10
for bits in 2 3 4 5 6 7 8; do
    network=$folder/$bits-bit.npz
    firstspike train mnist-784-128-10 --set bits=$bits --epochs 1 -o "$network" -q
    verify "$network" -n 10000 --lanes 33,10
done
verify --random 1000
