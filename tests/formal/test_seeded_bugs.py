"""Seeded bugs: the proofs find each of them."""

import pytest
from seeded_bugs import MUTATIONS, survives


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_found(mutation, tmp_path):
    reason, _ = survives(mutation, tmp_path)
    assert not reason, reason
