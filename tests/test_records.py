"""What was measured is read back, and measured again where anything has changed."""

import json

import pytest

from manualbp.verify.floats import records as _records
from manualbp.verify.floats.sampled import Accuracy, Error

ERRORS = {
    "float32": Accuracy(Error(1.5, "-0.5"), Error(float("inf"), "0"), Error(), 65536),
    "float64": Accuracy(Error(), Error(0.5, "1, 2"), Error(2e7, "19"), 256),
}


@pytest.fixture
def ask(tmp_path):
    """A function: the errors of a rule, their date, and whether they were measured."""

    def call(name="relu", seed=0, **how):
        measured = []
        errors, date = _records.recorded(
            tmp_path / "errors", name, seed, lambda: measured.append(name) or ERRORS, **how
        )
        assert errors == ERRORS
        assert bool(date) != bool(measured)
        return bool(measured)

    return call


def test_a_record_is_read(ask):
    assert ask()
    assert not ask()
    assert ask("leaky_relu(slope=0.01)")  # another rule
    assert ask(seed=1)  # other inputs
    assert not ask("leaky_relu(slope=0.01)")
    assert not ask()
    assert ask(again=True)


@pytest.mark.parametrize("what", ["code", "python", "packages", "machine", "devices", "settings"])
def test_a_record_of_anything_else_is_none(ask, monkeypatch, what):
    ask()
    now = _records._measured_with()
    assert what in now
    monkeypatch.setattr(_records, "_measured_with", lambda: {**now, what: "other"})
    assert ask()
    assert not ask()


def test_the_code_is_that_of_rules_definitions_and_judge(monkeypatch):
    def code():
        _records._measured_with.cache_clear()
        return _records._measured_with()["code"]

    before, read = code(), []
    as_usual = _records.Path.read_bytes
    monkeypatch.setattr(_records.Path, "read_bytes", lambda f: read.append(f) or as_usual(f))
    assert code() == before
    assert {"activations.py", "sweep.py", "scalar_backprop.py"} <= {f.name for f in read}
    monkeypatch.setattr(_records.Path, "read_bytes", lambda f: as_usual(f) + b"#")
    assert code() != before
    monkeypatch.undo()
    assert code() == before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"measured with": 1}', None])
def test_a_damaged_record_is_measured_again(ask, tmp_path, text):
    ask()
    (file,) = (tmp_path / "errors").iterdir()
    if text is None:  # of an older form
        record = json.loads(file.read_text())
        del record["errors"]["float32"]["gradient"]
        text = json.dumps(record)
    file.write_text(text)
    assert ask()
    assert not ask()


def test_where_nothing_can_be_written_it_is_measured(ask, tmp_path):
    (tmp_path / "errors").write_text("a file where the folder should be")
    assert ask()
    assert ask()


def test_without_a_folder():
    assert _records.recorded(None, "relu", 0, lambda: ERRORS) == (ERRORS, "")
