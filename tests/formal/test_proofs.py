"""Every proof that is short enough; ``prove.py --all`` runs the long ones, too."""

import pytest
from prove import Method, all_proofs, prepare, prove, run

SHORT = [proof for proof in all_proofs() if not proof.long]


@pytest.mark.parametrize("proof", SHORT, ids=lambda proof: proof.name)
def test_proof(proof, tmp_path):
    verdict = run(prepare(proof, tmp_path))
    assert verdict.proved, f"{proof.words}\n{verdict.text}"


def test_covers_beyond_the_claims():
    with pytest.raises(ValueError, match="within 12 cycles, claims are proved for 11 only"):
        prove(Method.BOUNDED, 11, cover=12)
