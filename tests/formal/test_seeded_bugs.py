"""Seeded bugs: the proofs find each of them."""

import pytest
from seeded_bugs import MUTATIONS, applies, survives

#: The first of each component. All together take as long as the proofs.
FIRST = {mutation.file: mutation for mutation in reversed(MUTATIONS)}.values()


def case(mutation):
    marks = () if mutation in FIRST else pytest.mark.long
    return pytest.param(mutation, id=mutation.name, marks=marks)


@pytest.mark.parametrize("mutation", list(map(case, MUTATIONS)))
def test_found(mutation, tmp_path):
    reason, _ = survives(mutation, tmp_path)
    assert not reason, reason


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_its_place_is_in_the_source(mutation):
    assert applies(mutation)
