import json
from pathlib import Path

from tools.inspect.training_page import write_training_page


def write_history(path: Path, steps: int, every: int) -> None:
    with path.open("w") as file:
        for step in range(1, steps + 1):
            line = {"step": step, "loss": 1 / step, "seconds": step * 0.5, "lr": 1e-4, "waited": 0.25}
            file.write(
                json.dumps(line | ({"validation": {"jf": step / steps / 2}} if step % every == 0 else {})) + "\n"
            )


def test_the_page_shows_curves_and_the_best_score_and_is_rewritten(tmp_path: Path) -> None:
    assert "Nothing is trained yet" in write_training_page(tmp_path).read_text()
    write_history(tmp_path / "propagation.jsonl", 40, 20)
    page = write_training_page(tmp_path).read_text()
    assert page.count("<svg") == 2
    assert "best J&amp;F, step 40" in page and ">50.0<" in page and ">25 %<" in page
    with (tmp_path / "propagation.jsonl").open("a") as file:
        file.write('{"step": 4')  # being written
    write_history(tmp_path / "s2m.jsonl", 5000, 10_000)
    page = write_training_page(tmp_path).read_text()
    assert page.count("<svg") == 3 and "5,000" in page and len(page) < 400_000
