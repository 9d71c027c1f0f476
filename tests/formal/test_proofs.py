"""Every proof that is short enough; ``prove.py --all`` runs the long ones, too."""

import pytest
from prove import all_proofs, run

SHORT = [proof for proof in all_proofs() if not proof.long]


@pytest.mark.parametrize("proof", SHORT, ids=lambda proof: proof.name)
def test_proof(proof, tmp_path):
    verdict = run(proof, tmp_path)
    assert verdict.proved, f"{proof.words}\n{verdict.text}"
