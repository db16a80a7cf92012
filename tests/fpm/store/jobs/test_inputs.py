"""What makes a result stale: the code a job reaches, and nothing else of the tree."""

from pathlib import Path

from fpm.store.jobs.inputs import code_digest

JOB = '''"""A job."""
import fpm.features.labels
from fpm.store.jobs.runner import Window


def run(session, stores):
    return 1{change}
'''


def test_the_digest_of_code_follows_formulas_and_not_comments(tmp_path: Path) -> None:
    digests = {}
    for name, change in {"as it was": "", "formula": " + 1", "comment": "  # one"}.items():
        path = tmp_path / f"{name}.py"
        path.write_text(JOB.replace("{change}", change))
        digests[name] = code_digest(str(path))
    assert digests["comment"] == digests["as it was"] != digests["formula"]


def test_the_digest_reaches_what_the_job_imports(tmp_path: Path) -> None:
    alone, with_labels = tmp_path / "alone.py", tmp_path / "with_labels.py"
    alone.write_text("import fpm.store.jobs.runner\n")
    plain = code_digest(str(alone))
    with_labels.write_text("import fpm.store.jobs.runner\nfrom fpm import labels\n")
    assert code_digest(str(with_labels)) != plain
    other = tmp_path / "other.py"
    other.write_text("import fpm.store.jobs.runner\n")
    assert code_digest(str(other)) == plain
    assert code_digest(None) == ""
