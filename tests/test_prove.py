"""prove.py: a proof is found by its name, run, and told as it ended."""

from pathlib import Path
from textwrap import dedent

import prove
import pytest


@pytest.fixture
def proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> prove.Proof:
    """A proof of four tests: two pass, one fails, one is skipped."""
    text = '''
        """Numbers are odd."""

        import pytest


        @pytest.mark.parametrize("n", [1, 2, 3])
        def test_odd(n, record_property):
            record_property("sum", n)
            record_property("most of all", n)
            record_property("end", "odd" if n % 2 else "even")
            assert n % 2, f"{n} is | even"


        def test_prime():
            pytest.skip("no time")
    '''
    (tmp_path / "test_odd.py").write_text(dedent(text))
    (tmp_path / "test_late.py").write_text('"""Not today."""\nALONE = True\n')
    monkeypatch.setattr(prove, "PROOFS", tmp_path)
    late, odd = prove.read_proofs(tmp_path)
    assert (late.kind, late.done, late.alone) == ("late", "Not today.", True)
    assert (odd.kind, odd.done, odd.alone) == ("odd", "Numbers are odd.", False)
    return odd


def test_a_proof_is_told_with_its_figures_and_failures(proof: prove.Proof) -> None:
    outcome = prove.run(proof, workers=1)
    assert (outcome.cases, outcome.skipped, outcome.code) == (4, 1, 1)
    assert outcome.failures == [("test_odd[2]", "AssertionError: 2 is | even")]
    assert prove.figures(outcome.properties) == [
        *("sum 6", "most of all 3", "end: odd 2, even 1")
    ]
    page = prove.page(prove.read_proofs(prove.PROOFS), [outcome])
    lines = page.splitlines()
    [late] = [line for line in lines if line.startswith("| late")]
    assert "not run" in late
    [odd] = [line for line in lines if line.startswith("| odd")]
    assert "2 passed, **1 failed**, 1 skipped" in odd
    assert "`python tests/prove.py odd`" in odd
    assert "- `odd`: test_odd[2]: AssertionError: 2 is \\| even" in lines


def test_a_proof_that_breaks_off_is_no_success(proof: prove.Proof) -> None:
    proof.path.write_text(
        '"""Numbers."""\nimport os\n\n\ndef test_x():\n    os._exit(9)\n'
    )
    outcome = prove.run(proof, workers=1)
    assert outcome.code == 9
    assert "did not run to its end" in prove.verdict(outcome)


def test_every_proof_of_the_kit_can_be_run() -> None:
    kinds = {proof.kind for proof in prove.read_proofs()}
    assert "damages" in kinds
    for proof in prove.read_proofs():
        text = proof.path.read_text(encoding="utf-8")
        assert "pytest.mark.trust" in text, f"`make test` would run {proof.kind}"
