"""Gradient tests in pytest: a fixture, a marker and an option.

    def test_mine(gradients):
        gradients(fused_loss, Spec((4, 10)), Spec((4,), "integers", below=10))

pytest loads this wherever manualbp is installed, so that it imports neither JAX nor the judge
until a test asks for the fixture.
"""

import datetime
from collections.abc import Callable, Generator, Sequence
from typing import Any

import pytest

_LEVELS = ("quick", "standard", "full")
_MARKER = (
    "gradients(level=None, seed=None, strict=None): how the fixture `gradients` judges in this "
    "test: level 'quick', 'standard' or 'full', the seed of its inputs, and whether it fails where "
    "digits are lost."
)
# Under this name the lines about waivers travel with a test's report, from other processes too
_WAIVER = "manualbp waiver"


class WrongGradient(AssertionError):
    """A gradient that was not judged PASS; the text is the report, and all that pytest shows."""

    def __init__(self, report: str, summary: str):
        super().__init__(report)
        self.summary = summary  # a line


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("manualbp", "gradients by hand")
    group.addoption(
        "--manualbp-level",
        choices=_LEVELS,
        default="standard",
        help="how many inputs the fixture `gradients` tries (default: standard)",
    )
    group.addoption(
        "--manualbp-strict",
        action="store_true",
        help="the fixture `gradients` fails, too, where floats lose digits",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, for --strict-markers."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture(scope="session")
def _gradient_waivers(request: pytest.FixtureRequest) -> Sequence[Any]:
    """The waivers in the pyproject.toml of the root directory, or above."""
    from manualbp.verify.verdict import waivers as _waivers

    try:
        return _waivers.load(request.config.rootpath)
    except ValueError as problem:
        pytest.fail(str(problem), pytrace=False)


@pytest.fixture
def gradients(
    request: pytest.FixtureRequest, _gradient_waivers: Sequence[Any]
) -> Callable[..., Any]:
    """A function that judges a gradient as `manualbp.verify.assert_correct` does.

    `gradients(rule, *args, definition=..., **options)` takes what `check` takes. Level, seed and
    strict are those of the call, else of the marker `gradients`, else of the options
    --manualbp-level and --manualbp-strict. It returns the Report. What it found goes into
    --junitxml as properties of the test.
    """
    from manualbp.verify import check
    from manualbp.verify.verdict import waivers as _waivers

    options = {
        "level": request.config.getoption("--manualbp-level"),
        "strict": request.config.getoption("--manualbp-strict"),
        **_marked(request.node),
    }

    def judge(rule: Any, *args: Any, **given: Any) -> Any:
        __tracebackhide__ = True
        chosen = {**options, **given}
        report = check(rule, *args, **chosen)
        names = _waivers.names_of(rule, report.name)
        outcome = _waivers.apply(_gradient_waivers, names, report.verdict, datetime.date.today())
        found = "; ".join(report.diagnosis)
        # what the fixture record_property does, without its warning about the newer JUnit family
        request.node.user_properties += [
            ("rule", report.name),
            ("verdict", report.verdict),
            ("seed", report.seed),
            ("level", chosen["level"]),
            *([("diagnosis", found)] if found else []),
            *((_WAIVER, line) for line in outcome.lines),
        ]
        if report.verdict != "PASS" and not outcome.waived:
            summary = f"{report.verdict} {report.name}: {found or report.evidence[-1].text}"
            raise WrongGradient("\n".join([str(report), *outcome.lines]), summary)
        return report

    return judge


def _marked(node: pytest.Item) -> dict[str, Any]:
    """What the nearest marker sets."""
    marker = node.get_closest_marker("gradients")
    if marker is None:
        return {}
    known = ("level", "seed", "strict")
    unknown = [*map(repr, marker.args), *(k for k in marker.kwargs if k not in known)]
    if unknown:
        pytest.fail(
            f"marker gradients: expected level=, seed= and strict=, got {unknown[0]}: write "
            '@pytest.mark.gradients(level="quick", seed=1)',
            pytrace=False,
        )
    return {k: v for k, v in marker.kwargs.items() if v is not None}


@pytest.hookimpl(hookwrapper=True)  # the older kind, so that no pytest refuses to start
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """Show a wrong gradient as its report alone: a traceback through the judge says nothing."""
    report = (yield).get_result()
    if report.failed and call.excinfo and isinstance(call.excinfo.value, WrongGradient):
        report.longrepr = call.excinfo.getrepr(style="value")
        if report.longrepr.reprcrash is not None:
            report.longrepr.reprcrash.message = call.excinfo.value.summary


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """One line for each waiver that was met."""
    reports = [r for key in ("passed", "failed") for r in terminalreporter.stats.get(key, ())]
    found = [pair for r in reports for pair in getattr(r, "user_properties", ())]
    lines = dict.fromkeys(str(value) for name, value in found if name == _WAIVER)
    if lines:
        terminalreporter.section("gradient waivers")
        for line in lines:
            terminalreporter.line(line)
